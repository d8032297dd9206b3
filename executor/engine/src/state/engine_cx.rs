//! Access of the tree of steps to everything outside the tree, while one input passes through it.

use std::time::Duration;

use orchid_plan::Value;

use crate::attempt::{CursorKey, CursorKind};
use crate::input::{CurrentTime, TimerId, TryId};
use crate::message::envelope::{self, ErrorReport, PageLocation};
use crate::message::{Message, Topic};
use crate::output::{CursorChange, Output};
use crate::request::Request;
use crate::state::ack_tracker::{AckTracker, MessageSource};
use crate::state::cursor_store::CursorValues;
use crate::state::execution::ExecutionState;
use crate::state::exit::StepError;
use crate::state::location::StepLocation;
use crate::state::step_env::StepEnv;

/// The time, the shared state and the outputs of one input, with the route to the step that handles
/// it.
pub(crate) struct EngineCx<'a> {
    pub(crate) now: CurrentTime,
    pub(crate) run: &'a mut ExecutionState,
    pub(crate) acks: &'a mut AckTracker,
    pub(crate) out: &'a mut Vec<Output>,
    /// Numbers of the rows and items from the root down to the current step. Tries and timers are
    /// registered under it, so that their results find the way back.
    pub(crate) route: Vec<u64>,
}

impl EngineCx<'_> {
    /// Runs `work` one level down, in the row or item with this number.
    pub(crate) fn at<T>(&mut self, number: u64, work: impl FnOnce(&mut Self) -> T) -> T {
        self.route.push(number);
        let done = work(self);
        self.route.pop();
        done
    }

    /// Sends a request for the current step.
    pub(crate) fn fetch(&mut self, request: Request) -> TryId {
        let try_id = self.run.next_try(&self.route);
        self.out.push(Output::Fetch { try_id, request });
        try_id
    }

    /// Starts a timer for the current step.
    pub(crate) fn start_timer(&mut self, delay: Duration) -> TimerId {
        let timer_id = self.run.next_timer(&self.route);
        self.out.push(Output::StartTimer { timer_id, delay });
        timer_id
    }

    /// Lets the current step receive [`StepEvent::RoomAvailable`] once enough messages are
    /// acknowledged.
    ///
    /// [`StepEvent::RoomAvailable`]: crate::state::event::StepEvent::RoomAvailable
    pub(crate) fn wait_for_room(&mut self) {
        self.run.wait_for_room(&self.route);
    }

    /// Gives up everything that still runs below the row or item with this number: it has failed,
    /// and nothing below it can receive a result any more.
    pub(crate) fn abandon(&mut self, number: u64) {
        self.at(number, |cx| {
            for try_id in cx.run.end_below(&cx.route) {
                cx.out.push(Output::Discard { try_id });
            }
        });
    }

    /// Gives up a try whose body is still streaming.
    pub(crate) fn discard(&mut self, try_id: TryId) {
        self.run.try_ended(try_id);
        self.out.push(Output::Discard { try_id });
    }

    /// Emits a message, and counts it.
    pub(crate) fn emit(&mut self, location: &StepLocation, message: Message) {
        let progress = &mut self.run.progress;
        match message.topic {
            Topic::Responses => {
                progress.counts.messages += 1;
                let step = &self.run.program.nodes[location.node].path;
                match progress.positions.get_mut(step) {
                    Some(count) => *count += 1,
                    None => {
                        progress.positions.insert(step.clone(), 1);
                    }
                }
            }
            Topic::Errors => progress.counts.errors += 1,
            Topic::Events => {}
        }
        let emit_id = self.acks.emit(MessageSource { location: location.clone(), size: message.size() });
        self.out.push(Output::Emit { emit_id, message });
    }

    /// Emits the message of an error, unless it was emitted before.
    pub(crate) fn emit_error(&mut self, error: StepError, ignored: bool) {
        let StepError { location, error, exchange, body, is_reported, .. } = error;
        if is_reported {
            return;
        }
        let step = &self.run.program.nodes[location.node].path;
        let at = PageLocation { step, step_path: &location.path, page: location.page, time: self.now.wall };
        // One page can report two errors, e.g. an ignored response whose `while` then fails. The
        // chunk number is part of the message id: without it, the second message would be taken for
        // a repetition of the first.
        let chunk = match &mut self.run.last_error {
            Some((path, chunk)) if *path == location.path => {
                *chunk += 1;
                *chunk
            }
            last => {
                *last = Some((location.path.clone(), 0));
                0
            }
        };
        let report = ErrorReport { error: &error, retries: location.retries, ignored, chunk };
        let max = self.run.message_limits.batch_bytes();
        let message = envelope::error_message(&self.run.origin, at, &exchange, body, report, max);
        self.emit(&location, message);
    }

    /// Takes a new cursor value: to be saved with the next checkpoint, with the enclosing row, or,
    /// if several rows share the cursor, once the steps around them have ended.
    pub(crate) fn save_cursor(&mut self, env: &mut StepEnv, change: CursorChange) {
        let is_shared = self.run.program.is_shared(&change.key);
        if self.run.held.holds(&change.key) && (is_shared || !self.is_ordered(&change.key)) {
            return;
        }
        if self.goes_back(&env.cursors, &change) {
            return;
        }
        if env.durable && (env.is_root || !is_shared) {
            let pointer = || self.run.program.pointer_of(change.key.kind, &change.key.step);
            if let Err(detail) = self.run.cursors.insert(&change.key, &change.json, pointer) {
                self.run.cursor_overflow.get_or_insert_with(|| Box::new(detail));
                return;
            }
            let changes = match change.key.kind {
                CursorKind::Cursor => &mut self.run.cursor_changes,
                CursorKind::Validator => &mut self.run.validators,
            };
            changes.insert(change.key, change.json);
        } else {
            env.cursors.insert(change.key, change.json);
        }
    }

    /// Adds the cursor values of a row or item to those of the rows before it. Returns the values
    /// that belong to this row alone: they are saved at once.
    pub(crate) fn collect_shared(
        &self,
        shared: &mut CursorValues,
        of_row: impl IntoIterator<Item = CursorChange>,
    ) -> Vec<CursorChange> {
        let mut own = Vec::new();
        for change in of_row {
            if !self.run.program.is_shared(&change.key) {
                own.push(change);
            } else if !self.goes_back(shared, &change) {
                shared.insert(change.key, change.json);
            }
        }
        own
    }

    /// Returns whether the rows of the cursor's step come oldest first.
    fn is_ordered(&self, key: &CursorKey) -> bool {
        let node = self.run.program.of_id(&key.step);
        node.and_then(|node| node.step.cursor.as_ref()).is_some_and(|cursor| cursor.ordered)
    }

    /// Returns whether a value is not later than the newest one. Rows that run side by side may
    /// reach different values of the same cursor, which never goes back.
    fn goes_back(&self, newest: &CursorValues, change: &CursorChange) -> bool {
        let node = self.run.program.of_id(&change.key.step);
        let rules = node.and_then(|node| node.step.cursor.as_ref());
        let before = newest.get(&change.key).or_else(|| self.run.cursors.now(&change.key));
        let (Some(rules), Some(before), CursorKind::Cursor) = (rules, before, change.key.kind) else {
            return false;
        };
        match (Value::parse(&change.json), Value::parse(before)) {
            (Ok(value), Ok(before)) => rules.is_later(&value, &before) == Ok(false),
            (Ok(_) | Err(_), _) => false,
        }
    }
}
