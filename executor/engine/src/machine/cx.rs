//! What the tree of steps works with while one input goes through it: the run, the ledger, the outputs so far, and the
//! way down to whoever is asked.

use std::time::Duration;

use orchid_plan::Value;

use super::env::Env;
use super::halt::Fault;
use super::ledger::{Ledger, Sender};
use super::run::Run;
use crate::attempt::CursorKind;
use crate::input::{CurrentTime, TimerId, TryId};
use crate::message::envelope::{self, ErrorReport, PageLocation};
use crate::message::{Message, Topic};
use crate::output::{CursorChange, Output};
use crate::request::Request;

pub(super) struct Cx<'a> {
    pub(super) now: CurrentTime,
    pub(super) run: &'a mut Run,
    pub(super) ledger: &'a mut Ledger,
    pub(super) out: &'a mut Vec<Output>,
    /// Numbers of the rows and items on the way down.
    pub(super) route: Vec<u64>,
}

/// Where something happened, as messages and errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// Index of the step.
    pub(super) node: usize,
    /// `issues#2[17].comments#0`.
    pub(super) path: String,
    /// The step's passes before.
    pub(super) page: u64,
    /// Tries before.
    pub(super) retries: u32,
}

impl Cx<'_> {
    /// Goes one row or item down, does something there, and comes back.
    pub(super) fn at<T>(&mut self, number: u64, work: impl FnOnce(&mut Self) -> T) -> T {
        self.route.push(number);
        let done = work(self);
        self.route.pop();
        done
    }

    pub(super) fn fetch(&mut self, request: Request) -> TryId {
        let try_id = self.run.next_try(&self.route);
        self.out.push(Output::Fetch { try_id, request });
        try_id
    }

    pub(super) fn wait(&mut self, delay: Duration) -> TimerId {
        let timer_id = self.run.next_wait(&self.route);
        self.out.push(Output::StartTimer { timer_id, delay });
        timer_id
    }

    /// Gives up a try whose body still comes.
    pub(super) fn discard(&mut self, try_id: TryId) {
        self.run.try_ended(try_id);
        self.out.push(Output::Discard { try_id });
    }

    pub(super) fn emit(&mut self, spot: &Spot, message: Message) {
        let progress = &mut self.run.progress;
        match message.topic {
            Topic::Responses => {
                progress.counts.messages += 1;
                let step = &self.run.program.nodes[spot.node].path;
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
        let emit_id = self.ledger.emit(Sender { spot: spot.clone() });
        self.out.push(Output::Emit { emit_id, message });
    }

    /// Emits the message of an error.
    pub(super) fn emit_error(&mut self, fault: Fault, ignored: bool) {
        let Fault { spot, error, exchange, body, .. } = fault;
        let step = &self.run.program.nodes[spot.node].path;
        let at = PageLocation { step, step_path: &spot.path, page: spot.page, time: self.now.wall };
        // An ignored answer whose `while` fails is two errors of one pass: each has a place of its own.
        let chunk = match &mut self.run.last_error {
            Some((path, chunk)) if *path == spot.path => {
                *chunk += 1;
                *chunk
            }
            last => {
                *last = Some((spot.path.clone(), 0));
                0
            }
        };
        let facts = ErrorReport { error: &error, retries: spot.retries, ignored, chunk };
        let max = self.run.limits.message_max_bytes;
        let message = envelope::error_message(&self.run.origin, at, &exchange, body, facts, max);
        self.emit(&spot, message);
    }

    /// Takes a cursor's new value: to be saved with the next place, or with the row around it. Rows that ran side by side may
    /// have reached different values of the same cursor: it never goes back.
    pub(super) fn save_cursor(&mut self, env: &mut Env, change: CursorChange) {
        if self.goes_back(env, &change) {
            return;
        }
        if env.durable {
            let pointer = || self.run.program.pointer_of(&change.key);
            if let Err(what) = self.run.cursors.insert(&change.key, &change.json, pointer) {
                self.run.not_kept.get_or_insert_with(|| Box::new(what));
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

    fn goes_back(&self, env: &Env, change: &CursorChange) -> bool {
        let node = self.run.program.of_id(&change.key.step);
        let rules = node.and_then(|node| node.step.cursor.as_ref());
        let before = env.cursors.get(&change.key).or_else(|| self.run.cursors.now(&change.key));
        let (Some(rules), Some(before), CursorKind::Cursor) = (rules, before, change.key.kind) else {
            return false;
        };
        match (Value::parse(&change.json), Value::parse(before)) {
            (Ok(value), Ok(before)) => rules.is_later(&value, &before) == Ok(false),
            (Ok(_) | Err(_), _) => false,
        }
    }
}
