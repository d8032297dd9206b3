//! The plan machine: takes one input at a time, answers with what to do next.

use crate::error::StartError;
use crate::input::{Input, Now};
use crate::job::Job;
use crate::output::{Checkpoint, Output};

/// One run.
pub struct Machine {
    _job: Job,
}

impl Machine {
    /// A machine at the run's beginning, or at its checkpoint. Do nothing with it before `Input::Begin`.
    pub fn new(job: Job) -> Result<Machine, StartError> {
        Ok(Machine { _job: job })
    }

    /// Takes what happened, answers with what to do, in order.
    pub fn step(&mut self, _now: Now, _input: Input) -> Vec<Output> {
        Vec::new()
    }

    /// The newest place whose messages are all acknowledged, unless it was handed out before.
    pub fn checkpoint(&mut self) -> Option<Checkpoint> {
        None
    }
}
