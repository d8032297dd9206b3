//! The phases of an async job.

use std::collections::BTreeMap;
use std::sync::Arc;

use orchid_plan::Value;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::{AsyncJobPhase, LoopState, SequenceState};
use crate::input::TimerId;
use crate::page::sub_steps::SubSteps;
use crate::program::node::{AsyncJobNodes, StepNode};
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::tree::job_parts;

/// Phase of an async job.
pub(crate) enum JobPhase<S> {
    Submit(Box<StepExecution<S>>),
    /// Parked until the next poll.
    Wait,
    /// Waiting for the next poll by a timer.
    Waiting(TimerId),
    Poll(Box<StepExecution<S>>),
    /// The response to the last poll is the result, and its rows are in progress.
    Result(Box<StepExecution<S>>),
    Download(Box<S>),
    /// The job took too long: it is cancelled, then the step fails.
    GiveUp(Box<StepExecution<S>>),
    Over,
}

/// The part of a job's state that depends on its phase.
pub(crate) struct JobPhaseState {
    pub(crate) phase: AsyncJobPhase,
    /// Position of the submit or the poll.
    pub(crate) step: Option<Box<LoopState>>,
    pub(crate) download: Option<Box<SequenceState>>,
}

impl<S: SubSteps> JobPhase<S> {
    /// Restores a phase from a checkpoint. `polls` is the number of polls so far, `inner` the
    /// environment of the job's steps.
    ///
    /// # Errors
    /// Fails if the state does not fit the plan.
    pub(crate) fn resume(
        nodes: &AsyncJobNodes,
        state: JobPhaseState,
        polls: u64,
        inner: &StepEnv,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError> {
        let JobPhaseState { phase, step, download } = state;
        let step = |node: &Arc<StepNode>, page: u64| match step {
            Some(step) => StepExecution::resume(node, None, *step).map(Box::new),
            None => Ok(Box::new(StepExecution::at_page(node, page))),
        };
        Ok(match phase {
            AsyncJobPhase::Submit => Self::Submit(step(&nodes.submit, 0)?),
            AsyncJobPhase::Wait => Self::Wait,
            AsyncJobPhase::Poll => Self::Poll(step(&nodes.poll, polls)?),
            AsyncJobPhase::Download => match download {
                Some(download) => {
                    let env = job_parts::download_env(inner);
                    Self::Download(Box::new(S::resume(&nodes.download, env, *download, lists)?))
                }
                None => return Err(CheckpointError::invalid("its download has no state")),
            },
        })
    }

    /// Returns the phase for a checkpoint. A result out of a poll counts as a poll: the response is
    /// fetched again, and its settled rows are skipped. `whole` includes the rows in flight.
    pub(crate) fn state(&self, whole: bool) -> Result<JobPhaseState, CheckpointError> {
        let (phase, step, download) = match self {
            Self::Submit(step) => (AsyncJobPhase::Submit, Some(step), None),
            Self::Poll(step) | Self::Result(step) => (AsyncJobPhase::Poll, Some(step), None),
            Self::Wait | Self::Waiting(_) | Self::GiveUp(_) | Self::Over => (AsyncJobPhase::Wait, None, None),
            Self::Download(downloads) => (AsyncJobPhase::Download, None, Some(downloads)),
        };
        Ok(JobPhaseState {
            phase,
            step: step.map(|step| step.state(whole)).transpose()?.map(Box::new),
            download: download.map(|downloads| downloads.state(whole)).transpose()?.map(Box::new),
        })
    }
}
