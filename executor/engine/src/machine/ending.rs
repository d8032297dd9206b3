//! The ends: of a step, of the run by itself, by an error or a limit, and by being told to stop.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_plan::OnLimit;

use super::halt::{About, Fault, Halt, Limit, What};
use super::ledger::Mark;
use super::run::Run;
use super::step_run::StepRun;
use super::{Machine, Phase};
use crate::checkpoint::{Finished, Place, PlaceError, prune};
use crate::error::ErrorClass;
use crate::input::{EmitId, Now, StopReason};
use crate::output::{EndStatus, Ending, Finish, Output};
use crate::progress::Warning;

/// How long a run stays away from a Kafka that takes nothing.
const SINK_RETRY: TimeDelta = TimeDelta::seconds(30);

impl Run {
    /// The place of a run that is at this step, or past all of them.
    pub(super) fn place(&self, step: Option<&StepRun>) -> Result<bytes::Bytes, PlaceError> {
        let execution_id = self.origin.identity().execution_id;
        let step = step.map(StepRun::place).transpose()?;
        Place::new(execution_id, self.partial, self.complete, step).encode()
    }
}

impl Machine {
    /// Marks the place between two passes, with what changed up to it.
    pub(super) fn mark(&mut self, step: &StepRun) -> Result<(), Halt> {
        self.mark_place(Some(step)).map_err(|error| {
            Fault::new(&self.run, step, What::place(&step.step().pointer, &error), About::default()).into()
        })
    }

    fn mark_place(&mut self, step: Option<&StepRun>) -> Result<(), PlaceError> {
        let place = self.run.place(step)?;
        let finished =
            if self.run.finished.changed { Some(Finished::encode(&self.run.finished.values)?) } else { None };
        self.run.finished.changed = false;
        let context_changes = std::mem::take(&mut self.run.changes);
        self.last_place.clone_from(&place);
        self.ledger.mark(Mark { place, finished, context_changes, progress: self.run.progress.clone() });
        Ok(())
    }

    /// Marks the last place of an attempt that does not reach the run's own end, with the counts as they stand. Context
    /// changes since the place before it are of a pass that is given up, and not made.
    fn mark_last(&mut self, place: bytes::Bytes) {
        let progress = self.run.progress.clone();
        self.ledger.mark(Mark { place, finished: None, context_changes: Vec::new(), progress });
    }

    /// Ends a step after its last pass: keeps what later steps read of it, and says what it has to warn of.
    pub(super) fn leave(&mut self, step: &StepRun) -> Result<Option<Box<StepRun>>, Halt> {
        let paths = step.needs.finished.as_deref();
        if paths.is_none_or(|paths| !paths.is_empty()) {
            self.run.finished.insert(&step.step().id, prune(&step.latest, paths));
        }
        let single = step.page == 1 && step.step().loops();
        for warning in step.watch.warnings(single) {
            self.run.warn(warning);
        }
        let passes = step.page - step.base;
        if step.step().loops() {
            self.warn_if_near(Limit::Loops, passes, self.run.definition.max_loops);
        }
        self.next_step(step)
    }

    /// The step after this one, marked as the run's place; none after the last.
    pub(super) fn next_step(&mut self, step: &StepRun) -> Result<Option<Box<StepRun>>, Halt> {
        let next = StepRun::new(&self.run.definition, step.index + 1);
        let marked = match &next {
            Some(next) => self.mark_place(Some(next)),
            None => Ok(()),
        };
        marked.map_err(|error| {
            Fault::new(&self.run, step, What::place(&step.step().pointer, &error), About::default())
        })?;
        Ok(next.map(Box::new))
    }

    /// The run's own end.
    pub(super) fn succeed(&mut self, now: Now, out: &mut Vec<Output>) -> Phase {
        self.warn_of_limits(now);
        if self.mark_place(None).is_err() {
            self.mark_last(self.last_place.clone());
        }
        let ending = Ending {
            status: EndStatus::Succeeded,
            partial: self.run.partial,
            complete: self.run.complete,
            error: None,
        };
        self.end(ending, out);
        Phase::Over
    }

    /// An error's end, or a limit's.
    pub(super) fn halt(&mut self, now: Now, step: &StepRun, halt: Halt, out: &mut Vec<Output>) -> Phase {
        let fault = match (halt, self.run.definition.on_limit) {
            (Halt::Limit(limit), OnLimit::Continue) => return self.limited(limit, out),
            (Halt::Limit(limit), OnLimit::Fail) => self.limit_fault(step, limit),
            (Halt::Fault(fault), OnLimit::Continue | OnLimit::Fail) => *fault,
        };
        self.fail(now, step, fault, self.last_place.clone(), out);
        Phase::Over
    }

    /// Ends the run with an error, at a place that a later run can begin from.
    fn fail(&mut self, now: Now, step: &StepRun, fault: Fault, place: bytes::Bytes, out: &mut Vec<Output>) {
        let (status, error) = (fault.status, fault.error.clone());
        self.emit_error(now, step, fault, false, out);
        self.mark_last(place);
        self.end(Ending { status, partial: self.run.partial, complete: false, error: Some(error) }, out);
    }

    /// Ends the run at a limit that the plan lets pass; the next run begins at its place.
    fn limited(&mut self, limit: Limit, out: &mut Vec<Output>) -> Phase {
        self.run.warn(Warning {
            code: "LIMIT_REACHED".to_owned(),
            pointer: limit.pointer().to_owned(),
            message: format!("{}; the next run goes on from here", self.limit_words(limit)),
        });
        self.mark_last(self.last_place.clone());
        self.end(Ending { status: EndStatus::Succeeded, partial: true, complete: false, error: None }, out);
        Phase::Over
    }

    fn limit_fault(&self, step: &StepRun, limit: Limit) -> Fault {
        let what = What {
            class: ErrorClass::Limit,
            code: limit.code(),
            pointer: limit.pointer().to_owned(),
            message: self.limit_words(limit),
        };
        Fault::new(&self.run, step, what, About::default())
    }

    fn limit_words(&self, limit: Limit) -> String {
        let definition = &self.run.definition;
        match limit {
            Limit::Loops => format!("the loop made all its {} passes", definition.max_loops),
            Limit::Requests => {
                format!("all {} requests were made", definition.max_requests.unwrap_or_default())
            }
            Limit::ExecutionTime => {
                format!("the {} s of execution are over", definition.max_execution.as_secs())
            }
        }
    }

    /// Hands the run back until a time.
    pub(super) fn park(
        &mut self,
        step: &StepRun,
        not_before: DateTime<Utc>,
        reason: String,
        out: &mut Vec<Output>,
    ) -> Phase {
        let place = self.run.place(Some(step)).unwrap_or_else(|_| self.last_place.clone());
        self.mark_last(place);
        out.push(Output::Park { not_before, reason, must_cancel: false });
        Phase::Over
    }

    /// Does what it was told; `step` is none where all steps are done.
    pub(super) fn stop(
        &mut self,
        now: Now,
        step: Option<&StepRun>,
        reason: StopReason,
        out: &mut Vec<Output>,
    ) -> Phase {
        let Some(step) = step else { return self.succeed(now, out) };
        match reason {
            StopReason::TimeLimit => return self.halt(now, step, Halt::Limit(Limit::ExecutionTime), out),
            StopReason::SinkStalled => {
                return self.park(step, now.wall + SINK_RETRY, "kafka takes no messages".to_owned(), out);
            }
            StopReason::Cancel => {
                self.mark_last(self.last_place.clone());
                let partial = self.run.partial;
                self.end(Ending { status: EndStatus::Cancelled, partial, complete: false, error: None }, out);
            }
            StopReason::Drain => {
                let place = self.run.place(Some(step)).unwrap_or_else(|_| self.last_place.clone());
                self.mark_last(place);
                out.push(Output::Finished(Finish::Released));
            }
        }
        Phase::Over
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<Output>) {
        self.succeeded = ending.status == EndStatus::Succeeded;
        out.push(Output::Finished(Finish::Ended(ending)));
    }

    /// A message that the broker will never take: the run fails, also where it seemed to have succeeded.
    pub(super) fn refused(&mut self, now: Now, emit_id: EmitId, size: usize, out: &mut Vec<Output>) {
        let Some((sender, place)) = self.ledger.refused(emit_id) else { return };
        let over = matches!(self.phase, Phase::Over);
        let Some(mut step) = StepRun::new(&self.run.definition, sender.step) else { return };
        if over && !self.succeeded {
            return;
        }
        step.page = sender.page;
        let what = What {
            class: ErrorClass::Limit,
            code: "MESSAGE_TOO_LARGE",
            pointer: step.step().pointer.clone(),
            message: format!("the broker refused a message of {size} bytes"),
        };
        self.phase = Phase::Over;
        let fault = Fault::new(&self.run, &step, what, About::default());
        self.fail(now, &step, fault, place, out);
    }

    fn warn_of_limits(&mut self, now: Now) {
        if let Some(max) = self.run.definition.max_requests {
            self.warn_if_near(Limit::Requests, self.run.progress.counts.requests, max);
        }
        let max = self.run.definition.max_execution;
        let used = max.saturating_sub(self.run.time_left(now));
        self.warn_if_near(Limit::ExecutionTime, used.as_secs(), max.as_secs());
    }

    /// From 80 % of a limit on.
    fn warn_if_near(&mut self, limit: Limit, used: u64, max: u64) {
        if u128::from(used) * 5 >= u128::from(max) * 4 {
            self.run.warn(Warning {
                code: "LIMIT_NEAR".to_owned(),
                pointer: limit.pointer().to_owned(),
                message: format!("{} of {max} were used ({})", used, limit.code()),
            });
        }
    }
}
