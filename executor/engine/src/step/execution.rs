//! One step of a run, from its `execute_if` to its last pass: where it is, and what it waits for.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use orchid_plan::{EvalEnv, Scope, Step, Value};
use url::Url;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{decode_value, encode_value, raw_json};
use crate::checkpoint::loop_parts::PageTarget;
use crate::checkpoint::prune::prune;
use crate::checkpoint::step_state::{LoopState, RowsState};
use crate::input::{Response, TimerId, TryId};
use crate::message::body::MessageBody;
use crate::message::exchange::{ReceivedResponse, SentRequest};
use crate::page::rows::PageRun;
use crate::program::node::StepNode;
use crate::rules::conditional::Revalidation;
use crate::rules::repeat_guard::RepeatGuard;
use crate::rules::watermark::Watermark;
use crate::rules::window::WindowSlices;
use crate::state::location::StepLocation;
use crate::state::status::DeferredWait;
use crate::state::step_env::StepEnv;

/// A step being run: its loop, in one place.
pub(crate) struct StepExecution {
    pub(crate) node: Arc<StepNode>,
    /// Number of the `for_each` item that it is run for.
    pub(crate) item: Option<u64>,
    /// `execute_if` was asked, and said yes.
    pub(crate) asked: bool,
    /// Passes before this one.
    pub(crate) page: u64,
    /// Passes before this one that no longer count: an earlier execution's, or an earlier slice's.
    pub(crate) base: u64,
    /// Passes before this slice.
    pub(crate) slice_base: u64,
    /// Tries before the next or running one of this pass.
    pub(crate) retry: u32,
    /// When the next try is due.
    pub(crate) due: Option<DateTime<Utc>>,
    pub(crate) pointer: PageTarget,
    /// The step's own url; from a checkpoint only its scheme, host and port.
    pub(crate) home: Option<Url>,
    pub(crate) guard: RepeatGuard,
    /// The loop's latest response; null before the first.
    pub(crate) latest: Value,
    /// It was passed over.
    pub(crate) ignored: bool,
    /// The whole of it, with its request, where a job judges it.
    pub(crate) judged: Option<Box<(SentRequest, ReceivedResponse, MessageBody)>>,
    pub(crate) slices: Option<WindowSlices>,
    pub(crate) reach: Option<Watermark>,
    /// Rows of this pass that are done, when it is begun again.
    pub(crate) rows_done: Option<RowsState>,
    /// Rows that go into the row around.
    pub(crate) gathered: Vec<Bytes>,
    pub(crate) doing: StepPhase,
}

/// What a step waits for.
pub(crate) enum StepPhase {
    /// Nothing: it is about to do something.
    Idle,
    /// The answer to a try.
    AwaitingResponse(Box<InFlightTry>),
    /// The rest of an answer that comes in pieces, and is to be read whole.
    BufferingBody(Box<BufferedBody>),
    /// The rows of an answer.
    Page(Box<PageRun>),
    /// The time of its next try.
    AwaitingRetry(TimerId),
    /// The same, for longer than an executor holds a run; or for the next run.
    Deferred(DeferredWait),
}

/// An answer that comes in pieces although only the whole of it can be read.
pub(crate) struct BufferedBody {
    pub(crate) sent: InFlightTry,
    pub(crate) head: Response,
    pub(crate) body: BytesMut,
}

/// A try under way, with everything its answer is judged by.
pub(crate) struct InFlightTry {
    pub(crate) try_id: TryId,
    pub(crate) env: EvalEnv,
    pub(crate) scope: Scope,
    pub(crate) url: Url,
    pub(crate) facts: SentRequest,
    /// Of method, url and body, where pagination looks out for repeats.
    pub(crate) fingerprint: Option<u64>,
    /// Of a conditional step.
    pub(crate) conditional: Option<Revalidation>,
}

impl StepExecution {
    /// A step at its beginning.
    pub(crate) fn new(node: &Arc<StepNode>, item: Option<u64>) -> StepExecution {
        StepExecution {
            node: node.clone(),
            item,
            asked: false,
            page: 0,
            base: 0,
            slice_base: 0,
            retry: 0,
            due: None,
            pointer: PageTarget::First,
            home: None,
            guard: RepeatGuard::default(),
            latest: Value::null(),
            ignored: false,
            judged: None,
            slices: None,
            reach: None,
            rows_done: None,
            gathered: Vec::new(),
            doing: StepPhase::Idle,
        }
    }

    /// A step where a checkpoint says.
    pub(crate) fn at(
        node: &Arc<StepNode>,
        item: Option<u64>,
        place: LoopState,
    ) -> Result<StepExecution, CheckpointError> {
        let bad = |what: &str| CheckpointError::Json(what.to_owned());
        let home =
            place.home_origin.as_deref().map(Url::parse).transpose().map_err(|_| bad("home is no url"))?;
        let due = place
            .due_ms
            .map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| bad("due_ms is no time")));
        let gathered = place.gathered.iter().map(|row| Bytes::copy_from_slice(row.get().as_bytes()));
        Ok(StepExecution {
            asked: place.entered,
            page: place.page,
            base: place.uncounted_pages,
            slice_base: place.pages_before_slice,
            retry: place.retry,
            due: due.transpose()?,
            pointer: place.target,
            home,
            guard: RepeatGuard::decode(&place.repeat_guard).ok_or_else(|| bad("guard does not read"))?,
            latest: place
                .latest_response
                .as_deref()
                .map(decode_value)
                .transpose()?
                .unwrap_or_else(Value::null),
            slices: place.window.map(WindowSlices::at).transpose()?,
            reach: place.watermark.map(|cursor| Watermark::at(&node.step.id, cursor)).transpose()?,
            rows_done: place.rows,
            gathered: gathered.collect(),
            ..StepExecution::new(node, item)
        })
    }

    /// Where the step is. A running try counts as not yet made. `whole`: with the rows under way.
    pub(crate) fn place(&self, whole: bool) -> Result<LoopState, CheckpointError> {
        let rows = match &self.doing {
            StepPhase::Page(pass) => pass.place(whole || self.node.jobs_below)?,
            StepPhase::Idle
            | StepPhase::AwaitingResponse(_)
            | StepPhase::BufferingBody(_)
            | StepPhase::AwaitingRetry(_)
            | StepPhase::Deferred(_) => self.rows_done.clone(),
        };
        let latest = prune(&self.latest, self.node.needs.carried.as_deref());
        Ok(LoopState {
            entered: self.asked,
            page: self.page,
            uncounted_pages: self.base,
            pages_before_slice: self.slice_base,
            retry: self.retry,
            due_ms: self.due.map(|due| due.timestamp_millis()),
            target: self.pointer.clone(),
            home_origin: self.home.as_ref().map(|url| url.origin().ascii_serialization()),
            repeat_guard: self.guard.encode(),
            latest_response: if latest.is_null() { None } else { Some(encode_value(&latest)?) },
            window: self.slices.map(WindowSlices::place),
            watermark: self.reach.as_ref().map(Watermark::place).transpose()?,
            rows,
            gathered: self.gathered.iter().map(|row| raw_json(row)).collect::<Result<_, _>>()?,
        })
    }

    /// The compiled step.
    pub(crate) fn step(&self) -> &Step {
        &self.node.step
    }

    /// `issues#2[17].comments#0`.
    pub(crate) fn path(&self, env: &StepEnv) -> String {
        let (prefix, id, page) = (&env.prefix, &self.step().id, self.page);
        match self.item {
            Some(item) => format!("{prefix}{id}[{item}]#{page}"),
            None => format!("{prefix}{id}#{page}"),
        }
    }

    /// Where its present pass is.
    pub(crate) fn location(&self, env: &StepEnv) -> StepLocation {
        StepLocation { node: self.node.index, path: self.path(env), page: self.page, retries: self.retry }
    }

    /// Passes of this slice before the present one.
    pub(crate) fn pass(&self) -> u64 {
        self.page - self.slice_base
    }
}
