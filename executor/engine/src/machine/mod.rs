//! The plan machine: takes one input at a time, answers with what to do next.
//!
//! In: what happened ([`Input`]), with the time. Out: requests, messages, waits, and the run's end ([`Output`]). This
//! file only says which station an input goes to; a step's way is `start` → `send` → `answered` → `finish_pass`, and again.
//! It never waits, reads a clock, or forgets what a message needs before it is acknowledged.

mod answer;
mod context;
mod emit;
mod ending;
mod exact;
mod halt;
mod ledger;
mod needs;
mod outcome;
mod paginate;
mod pass;
mod retry;
mod run;
mod scope;
mod send;
mod step_run;
mod watch;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use self::halt::{Halt, Limit};
use self::ledger::Ledger;
use self::run::Run;
use self::step_run::{Doing, StepRun};
use crate::checkpoint::{Place, PlaceError};
use crate::error::StartError;
use crate::input::{Input, Now, WaitId};
use crate::job::Job;
use crate::output::{Checkpoint, Output};

pub(crate) use self::paginate::Pointer;
pub(crate) use self::watch::Seen;

/// One run. See [`Machine::step`].
pub struct Machine {
    run: Run,
    ledger: Ledger,
    phase: Phase,
    /// The wait that ends with the run's time.
    deadline: Option<WaitId>,
    /// The place that was marked last, or began with.
    last_place: Bytes,
    /// The run came to its own end, should nothing be refused.
    succeeded: bool,
}

/// How far a run is.
enum Phase {
    /// Before `Begin`; no step where all are done already.
    Fresh(Option<Box<StepRun>>),
    /// At a step.
    Running(Box<StepRun>),
    /// Ended, parked or released: acknowledgements are all that is still taken.
    Over,
}

/// What a step came to.
enum Flow {
    /// It waits for an answer or for a time.
    Busy,
    /// Its last pass is done.
    Done,
    /// Its `execute_if` said no.
    Skipped,
    /// It waits longer than an executor holds a run for.
    Park { not_before: DateTime<Utc>, reason: String },
}

impl Machine {
    /// A machine at the run's beginning, or at its checkpoint. It does nothing before [`Input::Begin`].
    pub fn new(job: Job) -> Result<Machine, StartError> {
        let execution_id = job.identity.execution_id;
        let saved = job.resume.as_ref().map(|saved| Place::decode(&saved.place));
        let mut run = Run::new(job)?;
        let place = saved.transpose().map_err(start_error)?;
        let step = match place {
            None => StepRun::new(&run.definition, 0),
            Some(place) => {
                let same = place.execution_id == execution_id;
                if same {
                    (run.partial, run.complete) = (place.partial, place.complete);
                } else {
                    // Another execution goes on here: its counts and limits are its own, and it lists only the rest.
                    run.progress = Default::default();
                    run.complete = false;
                }
                let step = place.step.map(|step| StepRun::at(&run.definition, step));
                let mut step = step.transpose().map_err(start_error)?;
                if let Some(step) = &mut step
                    && !same
                {
                    (step.base, step.retry, step.due) = (step.page, 0, None);
                }
                step
            }
        };
        let place = run.place(step.as_ref()).map_err(start_error)?;
        Ok(Machine {
            run,
            ledger: Ledger::new(place.clone()),
            phase: Phase::Fresh(step.map(Box::new)),
            deadline: None,
            last_place: place,
            succeeded: false,
        })
    }

    /// Takes what happened, answers with what to do, in order.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Acked { emit_id } => self.ledger.acked(emit_id),
            Input::Refused { emit_id, size } => self.refused(now, emit_id, size, &mut out),
            Input::Head { .. } | Input::Piece { .. } => {}
            Input::Begin | Input::Answer { .. } | Input::Woke { .. } | Input::Stop(_) => {
                self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
                    Phase::Fresh(step) => self.before_begin(now, step, input, &mut out),
                    Phase::Running(step) => self.while_running(now, step, input, &mut out),
                    Phase::Over => Phase::Over,
                };
            }
        }
        out
    }

    /// The newest place whose messages are all acknowledged, unless it was handed out before.
    pub fn checkpoint(&mut self) -> Option<Checkpoint> {
        self.ledger.take()
    }

    fn before_begin(
        &mut self,
        now: Now,
        step: Option<Box<StepRun>>,
        input: Input,
        out: &mut Vec<Output>,
    ) -> Phase {
        match input {
            Input::Begin => {
                self.run.begin(now);
                let Some(mut step) = step else { return self.succeed(now, out) };
                let wait_id = self.run.next_wait();
                self.deadline = Some(wait_id);
                out.push(Output::Wait { wait_id, delay: self.run.time_left(now) });
                let flow = self.start(now, &mut step, out);
                self.proceed(now, step, flow, out)
            }
            Input::Stop(reason) => self.stop(now, step.as_deref(), reason, out),
            Input::Answer { .. }
            | Input::Head { .. }
            | Input::Piece { .. }
            | Input::Woke { .. }
            | Input::Acked { .. }
            | Input::Refused { .. } => Phase::Fresh(step),
        }
    }

    fn while_running(
        &mut self,
        now: Now,
        mut step: Box<StepRun>,
        input: Input,
        out: &mut Vec<Output>,
    ) -> Phase {
        match input {
            Input::Answer { try_id, result, duration } => {
                match std::mem::replace(&mut step.doing, Doing::Nothing) {
                    Doing::Asking(sent) if sent.try_id == try_id => {
                        let flow = self.answered(now, &mut step, *sent, result, duration, out);
                        self.proceed(now, step, flow, out)
                    }
                    doing @ (Doing::Asking(_) | Doing::Waiting(_) | Doing::Nothing) => {
                        step.doing = doing;
                        Phase::Running(step)
                    }
                }
            }
            Input::Woke { wait_id } if self.deadline == Some(wait_id) => {
                self.proceed(now, step, Err(Halt::Limit(Limit::ExecutionTime)), out)
            }
            Input::Woke { wait_id } => match step.doing {
                Doing::Waiting(waiting) if waiting == wait_id => {
                    let flow = self.send(now, &mut step, out);
                    self.proceed(now, step, flow, out)
                }
                Doing::Waiting(_) | Doing::Asking(_) | Doing::Nothing => Phase::Running(step),
            },
            Input::Stop(reason) => self.stop(now, Some(&step), reason, out),
            Input::Begin
            | Input::Head { .. }
            | Input::Piece { .. }
            | Input::Acked { .. }
            | Input::Refused { .. } => Phase::Running(step),
        }
    }

    /// Goes on from what a step came to, over steps that are done or skipped, until something has to be waited for.
    fn proceed(
        &mut self,
        now: Now,
        mut step: Box<StepRun>,
        mut flow: Result<Flow, Halt>,
        out: &mut Vec<Output>,
    ) -> Phase {
        loop {
            let next = match flow {
                Ok(Flow::Busy) => return Phase::Running(step),
                Ok(Flow::Park { not_before, reason }) => return self.park(&step, not_before, reason, out),
                Ok(Flow::Done) => self.leave(&step),
                Ok(Flow::Skipped) => self.next_step(&step),
                Err(halt) => return self.halt(now, &step, halt, out),
            };
            match next {
                Ok(Some(following)) => step = following,
                Ok(None) => return self.succeed(now, out),
                Err(halt) => return self.halt(now, &step, halt, out),
            }
            flow = self.start(now, &mut step, out);
        }
    }
}

fn start_error(error: PlaceError) -> StartError {
    StartError::Checkpoint(error.to_string())
}
