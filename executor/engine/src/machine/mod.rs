//! The plan machine: takes one input at a time, answers with what to do next.
//!
//! In: what happened ([`Input`]), with the time. Out: requests, messages, waits, and the run's end ([`Output`]). A run is a
//! tree: a [`Sequence`] of steps, each a loop ([`StepRun`]), a `for_each` of loops or an async job, and below each row of a
//! loop's answer a sequence again. An input goes down to whoever waits for it; how far that came goes up. A loop's way is
//! `start` → `send` → `deliver` → `take_rows` → `finish_pass`, and again.
//! It never waits, reads a clock, or forgets what a message needs before it is acknowledged.

mod answer;
mod around;
mod carried;
mod conditional;
mod context;
mod cx;
mod each;
mod emit;
mod ending;
mod env;
mod exact;
mod flight;
mod flow;
mod halt;
mod job_run;
mod kept;
mod ledger;
mod needs;
mod outcome;
mod paginate;
mod pass;
mod place;
mod program;
mod reach;
mod retry;
mod rows;
mod run;
mod scope;
mod send;
mod sequence;
mod shown;
mod slices;
mod step_run;
mod stop;
mod watch;

use self::answer::Event;
use self::cx::Cx;
use self::flow::{Flow, Idle};
use self::halt::{About, Fault, Halt, Limit};
use self::ledger::{Ledger, Stand};
use self::run::Run;
use self::sequence::Sequence;
use self::stop::Farewell;
use crate::input::{CurrentTime, Input, TimerId};
use crate::output::{Checkpoint, Output};

pub(crate) use self::paginate::Pointer;
pub(crate) use self::watch::Seen;

/// One run. See [`Machine::step`].
pub struct Machine {
    run: Run,
    ledger: Ledger,
    phase: Phase,
    /// The wait that ends with the run's time.
    deadline: Option<TimerId>,
    /// The place that was marked last, or began with.
    last_stand: Stand,
    /// When that was, on the monotonic clock.
    last_mark: Option<std::time::Duration>,
    /// The run came to its own end, should nothing be refused.
    succeeded: bool,
}

/// How far a run is.
enum Phase {
    /// Before `Begin`; no steps where all are done already.
    Fresh(Option<Box<Sequence>>),
    /// At its steps.
    Running(Box<Sequence>),
    /// Ended but for the jobs whose upstreams are told.
    Leaving(Box<Farewell>),
    /// Ended, parked or released: acknowledgements are all that is still taken.
    Over,
}

impl Machine {
    /// Takes what happened, answers with what to do, in order.
    pub fn step(&mut self, now: CurrentTime, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::MessageAcked { emit_id } => self.ledger.acked(emit_id),
            Input::MessageRefused { emit_id, size } => self.refused(now, emit_id, size, &mut out),
            Input::Begin => self.begin(now, &mut out),
            Input::Response { try_id, result, duration } => {
                let route = self.run.route_of_try(try_id);
                self.run.try_ended(try_id);
                self.deliver(now, route, Event::Answer { try_id, result, duration }, &mut out);
            }
            Input::ResponseHead { try_id, response, duration } => {
                let route = self.run.route_of_try(try_id);
                self.deliver(now, route, Event::Head { try_id, response, duration }, &mut out);
            }
            Input::BodyPiece { try_id, piece, duration } => {
                let route = self.run.route_of_try(try_id);
                self.deliver(now, route, Event::Piece { try_id, piece, duration }, &mut out);
            }
            Input::TimerFired { timer_id } if self.deadline == Some(timer_id) => {
                self.time_is_over(now, &mut out)
            }
            Input::TimerFired { timer_id } => {
                let route = self.run.route_of_wait(timer_id);
                self.deliver(now, route, Event::Woke { timer_id }, &mut out);
            }
            Input::Stop(reason) => self.stop(now, reason, &mut out),
        }
        self.mark_if_due(now, &mut out);
        out
    }

    /// The newest place whose messages are all acknowledged, unless it was handed out before.
    pub fn checkpoint(&mut self) -> Option<Checkpoint> {
        if self.run.moved && self.ledger.is_settled() {
            self.mark_quietly();
        }
        self.ledger.take()
    }

    fn begin(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Fresh(None) => {
                self.run.begin(now);
                self.succeed(now, None, out);
            }
            Phase::Fresh(Some(mut root)) => {
                self.run.begin(now);
                self.set_deadline(now, out);
                let flow = self.cx(now, out, |cx| root.start(cx));
                self.proceed(now, root, flow, out);
            }
            phase @ (Phase::Running(_) | Phase::Leaving(_) | Phase::Over) => self.phase = phase,
        }
    }

    /// Brings what came to whoever waits for it; what nobody waits for any more changes nothing.
    fn deliver(&mut self, now: CurrentTime, route: Option<Box<[u64]>>, event: Event, out: &mut Vec<Output>) {
        let Some(route) = route else { return };
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Running(mut root) => {
                let flow = self.cx(now, out, |cx| root.deliver(cx, &route, event));
                self.proceed(now, root, flow, out);
            }
            Phase::Leaving(mut farewell) => {
                self.cx(now, out, |cx| farewell.deliver(cx, &route, event));
                self.leave_when_told(farewell, out);
            }
            phase @ (Phase::Fresh(_) | Phase::Over) => self.phase = phase,
        }
    }

    fn proceed(
        &mut self,
        now: CurrentTime,
        root: Box<Sequence>,
        flow: Result<Flow, Halt>,
        out: &mut Vec<Output>,
    ) {
        let flow = match self.run.not_kept.take() {
            Some(what) => flow
                .and_then(|_| Err(Halt::from(Fault::new(&self.run, root.spot(), *what, About::default())))),
            None => flow,
        };
        match flow {
            Ok(Flow::Busy) => self.phase = Phase::Running(root),
            Ok(Flow::Idle(Idle { limit: Some(limit), .. })) => self.limited(now, root, limit, out),
            Ok(Flow::Idle(idle)) => self.park(now, root, idle, out),
            Ok(Flow::Done | Flow::Skipped) => {
                self.succeed(now, Some(root.env), out);
            }
            Err(halt) => self.halt(now, root, halt, out),
        }
    }

    fn time_is_over(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Running(root) if self.run.time_left(now).is_zero() => {
                self.halt(now, root, Halt::Limit(Limit::ExecutionTime, None), out);
            }
            Phase::Running(root) => {
                // Some of it was no execution time.
                self.phase = Phase::Running(root);
                self.set_deadline(now, out);
            }
            Phase::Leaving(farewell) => self.leave(*farewell, out),
            phase @ (Phase::Fresh(_) | Phase::Over) => self.phase = phase,
        }
    }

    fn set_deadline(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        let timer_id = self.run.next_wait(&[]);
        self.deadline = Some(timer_id);
        out.push(Output::StartTimer { timer_id, delay: self.run.time_left(now) });
    }

    /// Does something with all parts of the run but the tree itself.
    fn cx<T>(&mut self, now: CurrentTime, out: &mut Vec<Output>, work: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let mut cx = Cx { now, run: &mut self.run, ledger: &mut self.ledger, out, route: Vec::new() };
        work(&mut cx)
    }
}
