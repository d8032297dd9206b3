//! One step of a run, from its `execute_if` to its last pass: where it is, and what it waits for.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use orchid_plan::{Definition, EvalEnv, Scope, Step, Value};
use url::Url;

use super::needs::Needs;
use super::paginate::{Guard, Pointer};
use super::watch::Watch;
use crate::checkpoint::{PlaceError, StepPlace, prune, raw, unraw};
use crate::input::{TryId, WaitId};
use crate::message::exchange::SentFacts;

/// A step being run.
pub(super) struct StepRun {
    pub(super) index: usize,
    definition: Arc<Definition>,
    pub(super) needs: Needs,
    /// `execute_if` was asked, and said yes.
    pub(super) asked: bool,
    /// Passes before this one.
    pub(super) page: u64,
    /// Passes before this one that an earlier execution made.
    pub(super) base: u64,
    /// Tries before the next or running one of this pass.
    pub(super) retry: u32,
    /// When the next try is due.
    pub(super) due: Option<DateTime<Utc>>,
    pub(super) pointer: Pointer,
    /// The step's own url; from a checkpoint only its scheme, host and port.
    pub(super) home: Option<Url>,
    pub(super) guard: Guard,
    /// The loop's latest response; null before the first.
    pub(super) latest: Value,
    pub(super) watch: Watch,
    pub(super) doing: Doing,
}

/// What a step waits for.
pub(super) enum Doing {
    /// Nothing: it is about to do something.
    Nothing,
    /// The answer to a try.
    Asking(Box<Sent>),
    /// The time of its next try.
    Waiting(WaitId),
}

/// A try under way, with everything its answer is judged by.
pub(super) struct Sent {
    pub(super) try_id: TryId,
    pub(super) env: EvalEnv,
    pub(super) scope: Scope,
    pub(super) url: Url,
    pub(super) facts: SentFacts,
    /// Of method, url and body, where pagination looks out for repeats.
    pub(super) fingerprint: Option<u64>,
}

impl StepRun {
    /// A step at its beginning.
    pub(super) fn new(definition: &Arc<Definition>, index: usize) -> Option<StepRun> {
        let step = definition.steps.get(index)?;
        Some(StepRun {
            index,
            definition: definition.clone(),
            needs: Needs::of(step, definition),
            asked: false,
            page: 0,
            base: 0,
            retry: 0,
            due: None,
            pointer: Pointer::Start,
            home: None,
            guard: Guard::default(),
            latest: Value::null(),
            watch: Watch::new(step, Vec::new()),
            doing: Doing::Nothing,
        })
    }

    /// A step where a checkpoint says.
    pub(super) fn at(definition: &Arc<Definition>, place: StepPlace) -> Result<StepRun, PlaceError> {
        let bad = |what: &str| PlaceError::Json(what.to_owned());
        let fresh =
            StepRun::new(definition, place.index).ok_or_else(|| bad("its step is not in the plan"))?;
        if *fresh.step().id != *place.id {
            return Err(bad("its step has another id in the plan"));
        }
        let home = place.home.as_deref().map(Url::parse).transpose().map_err(|_| bad("home is no url"))?;
        let due = place
            .due_ms
            .map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| bad("due_ms is no time")));
        Ok(StepRun {
            asked: place.asked,
            page: place.page,
            base: place.base,
            retry: place.retry,
            due: due.transpose()?,
            pointer: place.pointer,
            home,
            guard: Guard::decode(&place.guard).ok_or_else(|| bad("guard does not read"))?,
            latest: unraw(&place.latest)?,
            watch: Watch::new(fresh.step(), place.seen),
            ..fresh
        })
    }

    /// Where the step is. A running try counts as not yet made.
    pub(super) fn place(&self) -> Result<StepPlace, PlaceError> {
        Ok(StepPlace {
            index: self.index,
            id: self.step().id.to_string(),
            asked: self.asked,
            page: self.page,
            base: self.base,
            retry: self.retry,
            due_ms: self.due.map(|due| due.timestamp_millis()),
            pointer: self.pointer.clone(),
            home: self.home.as_ref().map(|url| url.origin().ascii_serialization()),
            guard: self.guard.encode(),
            latest: raw(&prune(&self.latest, self.needs.carried.as_deref()))?,
            seen: self.watch.seen().to_vec(),
        })
    }

    /// The compiled step.
    pub(super) fn step(&self) -> &Step {
        &self.definition.steps[self.index]
    }

    /// `orders#2`.
    pub(super) fn path(&self) -> String {
        format!("{}#{}", self.step().id, self.page)
    }
}
