//! `async_job`: submit, poll and download as one step.

use std::sync::Arc;
use std::time::Duration;

use super::Step;
use crate::Expr;

/// A job that the upstream does in its own time. Its steps see what the job's step sees, `parent` and `item` included, and
/// those of them that are finished; their ids are names of the job's own, so that two jobs can both have a `submit`.
#[derive(Clone, Debug)]
pub struct AsyncJob {
    /// Asks for the job, once. In scope as `steps.submit`; its id is `submit`.
    pub submit: Arc<Step>,
    /// Asks how it goes, again and again. In scope as `steps.poll`; its id is `poll`.
    pub poll: Arc<Step>,
    /// Asked after each poll, with `response` the poll's: the job is done.
    pub done_when: Expr,
    /// Asked before `done_when`: the job failed.
    pub failed_when: Option<Expr>,
    /// Run in order once it is done; only the last emits.
    pub download: Vec<Arc<Step>>,
    /// Tells the upstream that nobody waits any more, where the execution is cancelled or times out; its id is `cancel`.
    pub cancel: Option<Arc<Step>>,
    /// Between polls.
    pub poll_wait: Duration,
    /// From the submit's answer on; longer fails the step.
    pub max_wait: Duration,
    /// Pointer of the object: `/definition/step/async_job`.
    pub pointer: String,
}
