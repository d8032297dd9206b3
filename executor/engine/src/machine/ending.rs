//! The ends: of the run by itself, by an error or by a limit.

use orchid_plan::OnLimit;

use super::cx::Spot;
use super::emit;
use super::env::Env;
use super::halt::{About, Fault, Halt, Limit, What};
use super::ledger::Stand;
use super::run::Run;
use super::sequence::Sequence;
use super::{Machine, Phase};
use crate::error::ErrorClass;
use crate::input::{CurrentTime, EmitId};
use crate::output::{EndStatus, ExecutionEnd, ExecutionFinish, Output};
use crate::progress::Warning;

impl Machine {
    /// The run's own end. `env`: what the steps leave; none where all were done before.
    pub(super) fn succeed(&mut self, now: CurrentTime, env: Option<Env>, out: &mut Vec<Output>) {
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
    pub(super) fn halt(
        &mut self,
        now: CurrentTime,
        mut root: Box<Sequence>,
        halt: Halt,
        out: &mut Vec<Output>,
    ) {
        let fault = match (halt, self.run.definition.on_limit) {
            (Halt::Limit(limit, _), OnLimit::Continue) => {
                self.limited(now, root, limit, out);
                return;
            }
            (Halt::Limit(limit, at), OnLimit::Fail) => self.limit_fault(&root, limit, at),
            (Halt::Fault(fault), OnLimit::Continue | OnLimit::Fail) => *fault,
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
    pub(super) fn limited(
        &mut self,
        now: CurrentTime,
        mut root: Box<Sequence>,
        limit: Limit,
        out: &mut Vec<Output>,
    ) {
        self.run.warn(Warning {
            code: "LIMIT_REACHED".to_owned(),
            pointer: limit.pointer().to_owned(),
            message: format!("{}; the next run goes on from here", self.run.limit_words(limit)),
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

    fn limit_fault(&self, root: &Sequence, limit: Limit, at: Option<Box<Spot>>) -> Fault {
        let what = What {
            class: ErrorClass::Limit,
            code: limit.code(),
            pointer: limit.pointer().to_owned(),
            message: self.run.limit_words(limit),
        };
        match at {
            Some(at) => Fault::new(&self.run, *at, what, About::default()),
            None => {
                let about = About { sent: root.active.under_way(), ..About::default() };
                Fault::new(&self.run, root.spot(), what, about)
            }
        }
    }

    pub(super) fn end(&mut self, ending: ExecutionEnd, out: &mut Vec<Output>) {
        self.phase = Phase::Over;
        self.succeeded = ending.status == EndStatus::Succeeded;
        out.push(Output::Finished(ExecutionFinish::Ended(ending)));
    }

    /// A message that the broker will never take: the run fails, also where it seemed to have succeeded.
    pub(super) fn refused(&mut self, now: CurrentTime, emit_id: EmitId, size: usize, out: &mut Vec<Output>) {
        let Some((sender, stand)) = self.ledger.refused(emit_id) else { return };
        if matches!(self.phase, Phase::Over) && !self.succeeded {
            return;
        }
        self.phase = Phase::Over;
        let fault = emit::refused(&self.run, sender.spot, size);
        self.fail_at(now, fault, stand, out);
    }

    /// Ends the run with an error, at a place that a later run can begin from.
    fn fail_at(&mut self, now: CurrentTime, fault: Fault, stand: Stand, out: &mut Vec<Output>) {
        let (status, error) = (fault.status, fault.error.clone());
        self.cx(now, out, |cx| cx.emit_error(fault, false));
        self.mark_last(stand);
        let partial = self.run.partial;
        self.end(ExecutionEnd { status, partial, complete: false, error: Some(error) }, out);
    }

    fn warn_of_paths(&mut self) {
        let warnings: Vec<Warning> =
            self.run.watches.iter().flat_map(super::watch::Watch::warnings).collect();
        warnings.into_iter().for_each(|warning| self.run.warn(warning));
    }

    fn warn_of_limits(&mut self, now: CurrentTime) {
        if let Some(max) = self.run.definition.max_requests {
            self.run.warn_if_near(Limit::Requests, self.run.progress.counts.requests, max);
        }
        let max = self.run.definition.max_execution;
        let used = max.saturating_sub(self.run.time_left(now));
        self.run.warn_if_near(Limit::ExecutionTime, used.as_secs(), max.as_secs());
    }
}

impl Run {
    pub(super) fn limit_words(&self, limit: Limit) -> String {
        let definition = &self.definition;
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

    /// From 80 % of a limit on.
    pub(super) fn warn_if_near(&mut self, limit: Limit, used: u64, max: u64) {
        if u128::from(used) * 5 >= u128::from(max) * 4 {
            self.warn(Warning {
                code: "LIMIT_NEAR".to_owned(),
                pointer: limit.pointer().to_owned(),
                message: format!("{} of {max} were used ({})", used, limit.code()),
            });
        }
    }
}
