//! One step of a run, from its `execute_if` to its last pass: where it is, and what it waits for.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use orchid_plan::{EvalEnv, Scope, Step, Value};
use url::Url;

use super::conditional::Asked;
use super::cx::Spot;
use super::env::Env;
use super::flow::Idle;
use super::paginate::{Guard, Pointer};
use super::program::Node;
use super::reach::Reach;
use super::rows::Pass;
use super::slices::Slices;
use crate::checkpoint::{PlaceError, RowsPlace, StepPlace, json, prune, raw, unraw};
use crate::input::{Response, TimerId, TryId};
use crate::message::body::MessageBody;
use crate::message::exchange::{ReceivedResponse, SentRequest};

/// A step being run: its loop, in one place.
pub(super) struct StepRun {
    pub(super) node: Arc<Node>,
    /// Number of the `for_each` item that it is run for.
    pub(super) item: Option<u64>,
    /// `execute_if` was asked, and said yes.
    pub(super) asked: bool,
    /// Passes before this one.
    pub(super) page: u64,
    /// Passes before this one that no longer count: an earlier execution's, or an earlier slice's.
    pub(super) base: u64,
    /// Passes before this slice.
    pub(super) slice_base: u64,
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
    /// It was passed over.
    pub(super) ignored: bool,
    /// The whole of it, with its request, where a job judges it.
    pub(super) judged: Option<Box<(SentRequest, ReceivedResponse, MessageBody)>>,
    pub(super) slices: Option<Slices>,
    pub(super) reach: Option<Reach>,
    /// Rows of this pass that are done, when it is begun again.
    pub(super) rows_done: Option<RowsPlace>,
    /// Rows that go into the row around.
    pub(super) gathered: Vec<Bytes>,
    pub(super) doing: Doing,
}

/// What a step waits for.
pub(super) enum Doing {
    /// Nothing: it is about to do something.
    Nothing,
    /// The answer to a try.
    Asking(Box<Sent>),
    /// The rest of an answer that comes in pieces, and is to be read whole.
    Gathering(Box<Gathering>),
    /// The rows of an answer.
    Rows(Box<Pass>),
    /// The time of its next try.
    Waiting(TimerId),
    /// The same, for longer than an executor holds a run; or for the next run.
    Parked(Idle),
}

/// An answer that comes in pieces although only the whole of it can be read.
pub(super) struct Gathering {
    pub(super) sent: Sent,
    pub(super) head: Response,
    pub(super) body: BytesMut,
}

/// A try under way, with everything its answer is judged by.
pub(super) struct Sent {
    pub(super) try_id: TryId,
    pub(super) env: EvalEnv,
    pub(super) scope: Scope,
    pub(super) url: Url,
    pub(super) facts: SentRequest,
    /// Of method, url and body, where pagination looks out for repeats.
    pub(super) fingerprint: Option<u64>,
    /// Of a conditional step.
    pub(super) conditional: Option<Asked>,
}

impl StepRun {
    /// A step at its beginning.
    pub(super) fn new(node: &Arc<Node>, item: Option<u64>) -> StepRun {
        StepRun {
            node: node.clone(),
            item,
            asked: false,
            page: 0,
            base: 0,
            slice_base: 0,
            retry: 0,
            due: None,
            pointer: Pointer::Start,
            home: None,
            guard: Guard::default(),
            latest: Value::null(),
            ignored: false,
            judged: None,
            slices: None,
            reach: None,
            rows_done: None,
            gathered: Vec::new(),
            doing: Doing::Nothing,
        }
    }

    /// A step where a checkpoint says.
    pub(super) fn at(node: &Arc<Node>, item: Option<u64>, place: StepPlace) -> Result<StepRun, PlaceError> {
        let bad = |what: &str| PlaceError::Json(what.to_owned());
        let home = place.home.as_deref().map(Url::parse).transpose().map_err(|_| bad("home is no url"))?;
        let due = place
            .due_ms
            .map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| bad("due_ms is no time")));
        let gathered = place.gathered.iter().map(|row| Bytes::copy_from_slice(row.get().as_bytes()));
        Ok(StepRun {
            asked: place.asked,
            page: place.page,
            base: place.base,
            slice_base: place.slice_base,
            retry: place.retry,
            due: due.transpose()?,
            pointer: place.pointer,
            home,
            guard: Guard::decode(&place.guard).ok_or_else(|| bad("guard does not read"))?,
            latest: place.latest.as_deref().map(unraw).transpose()?.unwrap_or_else(Value::null),
            slices: place.window.map(Slices::at).transpose()?,
            reach: place.cursor.map(|cursor| Reach::at(&node.step.id, cursor)).transpose()?,
            rows_done: place.rows,
            gathered: gathered.collect(),
            ..StepRun::new(node, item)
        })
    }

    /// Where the step is. A running try counts as not yet made. `whole`: with the rows under way.
    pub(super) fn place(&self, whole: bool) -> Result<StepPlace, PlaceError> {
        let rows = match &self.doing {
            Doing::Rows(pass) => pass.place(whole || self.node.jobs_below)?,
            Doing::Nothing
            | Doing::Asking(_)
            | Doing::Gathering(_)
            | Doing::Waiting(_)
            | Doing::Parked(_) => self.rows_done.clone(),
        };
        let latest = prune(&self.latest, self.node.needs.carried.as_deref());
        Ok(StepPlace {
            asked: self.asked,
            page: self.page,
            base: self.base,
            slice_base: self.slice_base,
            retry: self.retry,
            due_ms: self.due.map(|due| due.timestamp_millis()),
            pointer: self.pointer.clone(),
            home: self.home.as_ref().map(|url| url.origin().ascii_serialization()),
            guard: self.guard.encode(),
            latest: if latest.is_null() { None } else { Some(raw(&latest)?) },
            window: self.slices.map(Slices::place),
            cursor: self.reach.as_ref().map(Reach::place).transpose()?,
            rows,
            gathered: self.gathered.iter().map(|row| json(row)).collect::<Result<_, _>>()?,
        })
    }

    /// The compiled step.
    pub(super) fn step(&self) -> &Step {
        &self.node.step
    }

    /// `issues#2[17].comments#0`.
    pub(super) fn path(&self, env: &Env) -> String {
        let (prefix, id, page) = (&env.prefix, &self.step().id, self.page);
        match self.item {
            Some(item) => format!("{prefix}{id}[{item}]#{page}"),
            None => format!("{prefix}{id}#{page}"),
        }
    }

    /// Where its present pass is.
    pub(super) fn spot(&self, env: &Env) -> Spot {
        Spot { node: self.node.index, path: self.path(env), page: self.page, retries: self.retry }
    }

    /// Passes of this slice before the present one.
    pub(super) fn pass(&self) -> u64 {
        self.page - self.slice_base
    }
}
