//! Cancels the async jobs that upstreams still work on, after an execution has ended early.

use crate::output::ExecutionEnd;
use crate::page::sub_steps::PendingCancel;
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::exit::StepExit;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::tree::sequence::StepSequence;

/// An execution that has ended, except for the cancel requests that it sends.
pub(crate) struct UpstreamCancellation {
    end: ExecutionEnd,
    requests: Vec<CancelRequest>,
}

/// The `cancel` step of one job.
struct CancelRequest {
    env: StepEnv,
    /// `None` once the step has ended, successfully or not.
    step: Option<StepExecution<StepSequence>>,
}

impl UpstreamCancellation {
    /// Starts all cancel requests. `end` is how the execution ends afterwards.
    pub(crate) fn start(cx: &mut EngineCx<'_>, end: ExecutionEnd, pending: Vec<PendingCancel>) -> Self {
        let requests = pending.into_iter().map(|PendingCancel { env, node }| CancelRequest {
            step: Some(StepExecution::new(&node, None)),
            env,
        });
        let mut cancellation = Self { end, requests: requests.collect() };
        for (number, request) in (0..).zip(&mut cancellation.requests) {
            let CancelRequest { env, step: Some(step) } = request else { continue };
            let status = cx.at(number, |cx| step.start(cx, env));
            request.came_to(cx, status);
        }
        cancellation
    }

    /// Passes an event to one of the requests.
    pub(crate) fn deliver(&mut self, cx: &mut EngineCx<'_>, route: &[u64], event: StepEvent) {
        let Some((number, rest)) = route.split_first() else { return };
        let request = usize::try_from(*number).ok().and_then(|number| self.requests.get_mut(number));
        let Some(request) = request else { return };
        let CancelRequest { env, step: Some(step) } = request else { return };
        let status = cx.at(*number, |cx| step.deliver(cx, env, rest, event));
        request.came_to(cx, status);
    }

    /// Returns whether all requests have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.requests.iter().all(|request| request.step.is_none())
    }

    /// Returns how the execution ends.
    pub(crate) fn into_end(self) -> ExecutionEnd {
        self.end
    }
}

impl CancelRequest {
    /// An error is reported, but does not change how the execution ends. A retry that would park it
    /// is not waited for.
    fn came_to(&mut self, cx: &mut EngineCx<'_>, status: Result<StepStatus, StepExit>) {
        match status {
            Ok(StepStatus::InFlight) => return,
            Ok(StepStatus::Done | StepStatus::Skipped | StepStatus::Deferred(_))
            | Err(StepExit::Limit(..)) => {}
            Err(StepExit::Error(error)) => cx.emit_error(*error, true),
        }
        self.step = None;
    }
}
