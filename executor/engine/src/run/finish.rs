//! The ends: of the run by itself, by an error or by a limit.

use orchid_plan::OnLimit;

use super::machine::{Machine, MachinePhase};
use crate::error::ErrorClass;
use crate::input::{CurrentTime, EmitId};
use crate::output::{EndStatus, ExecutionEnd, ExecutionFinish, Output};
use crate::page::writer as emit;
use crate::progress::Warning;
use crate::state::ack_tracker::EncodedState;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::location::StepLocation;
use crate::state::plan_limit::PlanLimit;
use crate::state::step_env::StepEnv;
use crate::tree::sequence::StepSequence;

impl Machine {
    /// The run's own end. `env`: what the steps leave; none where all were done before.
    pub(crate) fn succeed(&mut self, now: CurrentTime, env: Option<StepEnv>, out: &mut Vec<Output>) {
        self.warn_of_paths();
        self.warn_of_limits(now);
        self.keep_validators();
        if self.mark_end(env).is_err() {
            self.mark_last(self.last_stand.clone());
        }
        let ending = ExecutionEnd {
            status: EndStatus::Succeeded,
            partial: self.run.partial,
            complete: self.run.complete,
            error: None,
        };
        self.end(ending, out);
    }

    /// An error's end, or a limit's.
    pub(crate) fn halt(
        &mut self,
        now: CurrentTime,
        mut root: Box<StepSequence>,
        halt: StepExit,
        out: &mut Vec<Output>,
    ) {
        let fault = match (halt, self.run.definition.on_limit) {
            (StepExit::Limit(limit, _), OnLimit::Continue) => {
                self.limited(now, root, limit, out);
                return;
            }
            (StepExit::Limit(limit, at), OnLimit::Fail) => self.limit_fault(&root, limit, at),
            (StepExit::Error(fault), OnLimit::Continue | OnLimit::Fail) => *fault,
        };
        let (status, error) = (fault.status, fault.error.clone());
        self.warn_of_paths();
        self.cx(now, out, |cx| {
            root.flush(cx);
            cx.emit_error(fault, false);
        });
        self.settle(now, &mut root, false, out);
        let ending = ExecutionEnd { status, partial: self.run.partial, complete: false, error: Some(error) };
        self.say_farewell(now, root, ending, out);
    }

    /// Ends the run at a limit that the plan lets pass; the next run begins at its place.
    pub(crate) fn limited(
        &mut self,
        now: CurrentTime,
        mut root: Box<StepSequence>,
        limit: PlanLimit,
        out: &mut Vec<Output>,
    ) {
        self.run.warn(Warning {
            code: "LIMIT_REACHED".to_owned(),
            pointer: limit.pointer().to_owned(),
            message: format!("{}; the next run goes on from here", limit.message(&self.run.definition)),
        });
        self.warn_of_paths();
        self.keep_validators();
        self.settle(now, &mut root, true, out);
        self.run.partial = true;
        self.end(
            ExecutionEnd { status: EndStatus::Succeeded, partial: true, complete: false, error: None },
            out,
        );
    }

    fn keep_validators(&mut self) {
        self.run.cursor_changes.append(&mut self.run.validators);
    }

    fn limit_fault(&self, root: &StepSequence, limit: PlanLimit, at: Option<Box<StepLocation>>) -> StepError {
        let what = ErrorDetail {
            class: ErrorClass::Limit,
            code: limit.code(),
            pointer: limit.pointer().to_owned(),
            message: limit.message(&self.run.definition),
        };
        match at {
            Some(at) => StepError::new(&self.run.redactor, *at, what, ErrorContext::default()),
            None => {
                let about = ErrorContext { sent: root.active.under_way(), ..ErrorContext::default() };
                StepError::new(&self.run.redactor, root.location(), what, about)
            }
        }
    }

    pub(crate) fn end(&mut self, ending: ExecutionEnd, out: &mut Vec<Output>) {
        self.phase = MachinePhase::Over;
        self.succeeded = ending.status == EndStatus::Succeeded;
        out.push(Output::Finished(ExecutionFinish::Ended(ending)));
    }

    /// A message that the broker will never take: the run fails, also where it seemed to have succeeded.
    pub(crate) fn refused(&mut self, now: CurrentTime, emit_id: EmitId, size: usize, out: &mut Vec<Output>) {
        let Some((sender, stand)) = self.acks.refused(emit_id) else { return };
        if matches!(self.phase, MachinePhase::Over) && !self.succeeded {
            return;
        }
        self.phase = MachinePhase::Over;
        let fault = emit::refused(&self.run, sender.location, size);
        self.fail_at(now, fault, stand, out);
    }

    /// Ends the run with an error, at a place that a later run can begin from.
    fn fail_at(&mut self, now: CurrentTime, fault: StepError, stand: EncodedState, out: &mut Vec<Output>) {
        let (status, error) = (fault.status, fault.error.clone());
        self.cx(now, out, |cx| cx.emit_error(fault, false));
        self.mark_last(stand);
        let partial = self.run.partial;
        self.end(ExecutionEnd { status, partial, complete: false, error: Some(error) }, out);
    }

    fn warn_of_paths(&mut self) {
        let warnings: Vec<Warning> =
            self.run.watches.iter().flat_map(crate::state::path_check::PathCheck::warnings).collect();
        warnings.into_iter().for_each(|warning| self.run.warn(warning));
    }

    fn warn_of_limits(&mut self, now: CurrentTime) {
        if let Some(max) = self.run.definition.max_requests {
            self.run.warn_if_near(PlanLimit::Requests, self.run.progress.counts.requests, max);
        }
        let max = self.run.definition.max_execution;
        let used = max.saturating_sub(self.run.time_left(now));
        self.run.warn_if_near(PlanLimit::ExecutionTime, used.as_secs(), max.as_secs());
    }
}

impl ExecutionState {
    /// From 80 % of a limit on.
    pub(crate) fn warn_if_near(&mut self, limit: PlanLimit, used: u64, max: u64) {
        if u128::from(used) * 5 >= u128::from(max) * 4 {
            self.warn(Warning {
                code: "LIMIT_NEAR".to_owned(),
                pointer: limit.pointer().to_owned(),
                message: format!("{} of {max} were used ({})", used, limit.code()),
            });
        }
    }
}
