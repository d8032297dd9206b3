//! `for_each`: runs a whole step, including its loop, once per item of a list.
//!
//! Items run concurrently, and every checkpoint records where each of them is. Their context writes
//! are merged in item order, so that the result does not depend on the order of responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::{EvalEnv, Value};

use crate::attempt::CursorKey;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::finished_values::ItemAnswers;
use crate::checkpoint::json::{decode_or_null, encode_value, raw_json};
use crate::checkpoint::prune::{element_paths, prune};
use crate::checkpoint::step_state::{ForEachState, ItemState};
use crate::error::ErrorClass;
use crate::output::CursorChange;
use crate::page::in_flight::InFlightWindow;
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::program::node::StepNode;
use crate::state::context::{self, ContextChanges};
use crate::state::cursor_store::CursorValues;
use crate::state::deferred_writes;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::failed_row;
use crate::state::location::StepLocation;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;
use crate::step::variables;
use crate::tree::single_step::SingleStep;

/// Bytes of answers in a resume state, from which on they are saved apart.
const ANSWERS_MAX: usize = 32 * 1024;
/// Bytes of writes by items that ended before an earlier one, from which on no further item starts.
const ENDED_WRITES_MAX: usize = 64 * 1024;

/// The items of a `for_each`.
pub(crate) struct ForEach<S> {
    node: Arc<StepNode>,
    /// The list; `None` before its expression is evaluated.
    list: Option<Value>,
    window: InFlightWindow<ItemExecution<S>, ItemWrites>,
    /// Merged context writes of finished items, in item order.
    writes: ContextChanges,
    /// Cursors that items share, until all of them have ended.
    shared_cursors: CursorValues,
    /// Size of the writes in `window`.
    ended_bytes: usize,
    /// Last responses of finished items, as far as later steps read them. Earlier ones are among
    /// the execution's answers.
    answers: ItemAnswers,
    answers_bytes: usize,
    /// Rows of finished items, to be attached to the enclosing row.
    gathered: BTreeMap<u64, Vec<Bytes>>,
    /// Items restored from a checkpoint that are not started yet.
    resumed: BTreeMap<u64, ItemState>,
}

/// An item in flight.
struct ItemExecution<S> {
    active: SingleStep<S>,
    env: StepEnv,
}

/// The writes of a finished item.
#[derive(Default)]
struct ItemWrites {
    writes: ContextChanges,
    cursors: CursorValues,
}

impl ItemWrites {
    fn size(&self) -> usize {
        let field = |(name, json): &(String, Option<Bytes>)| name.len() + json.as_ref().map_or(0, Bytes::len);
        let cursor = |(key, json): (&CursorKey, &Bytes)| key.step.len() + key.item.len() + json.len();
        let cursors: usize = self.cursors.iter().map(cursor).sum();
        self.writes.iter().map(field).sum::<usize>() + cursors
    }

    /// Removes the fields that a later item writes, too: its writes win once all are merged, and
    /// nothing reads the others before.
    fn superseded_by(&mut self, later: &Self) {
        self.writes.retain(|(name, _)| later.writes.iter().all(|(written, _)| written != name));
    }
}

impl<S: SubSteps> ForEach<S> {
    pub(crate) fn new(node: &Arc<StepNode>) -> Self {
        Self {
            node: node.clone(),
            list: None,
            window: InFlightWindow::after(0),
            writes: ContextChanges::new(),
            shared_cursors: CursorValues::new(),
            ended_bytes: 0,
            answers: ItemAnswers::new(),
            answers_bytes: 0,
            gathered: BTreeMap::new(),
            resumed: BTreeMap::new(),
        }
    }

    pub(crate) fn resume(
        node: &Arc<StepNode>,
        env: &StepEnv,
        state: ForEachState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError> {
        let (mut window, mut ended_bytes) = (InFlightWindow::after(state.done), 0);
        for (number, deferred) in state.ended {
            let (writes, cursors) = deferred_writes::decode(deferred);
            let ended = ItemWrites { writes, cursors };
            ended_bytes += ended.size();
            window.end(number, ended);
        }
        let bytes = |rows: Vec<crate::checkpoint::json::RawJson>| {
            rows.iter().map(|row| Bytes::copy_from_slice(row.get().as_bytes())).collect()
        };
        let (writes, shared_cursors) = deferred_writes::decode(state.deferred);
        Ok(Self {
            list: lists.get(&list_key(env, node)).cloned(),
            window,
            writes,
            shared_cursors,
            ended_bytes,
            answers_bytes: state.responses.values().map(|answer| answer.get().len()).sum(),
            answers: state.responses,
            gathered: state.gathered.into_iter().map(|(number, rows)| (number, bytes(rows))).collect(),
            resumed: state.in_flight,
            ..Self::new(node)
        })
    }

    /// Converts the items to their checkpoint form. `whole` includes the rows in flight of each
    /// item.
    pub(crate) fn state(&self, whole: bool) -> Result<ForEachState, CheckpointError> {
        let mut in_flight = BTreeMap::new();
        for (number, item) in self.window.in_flight() {
            let step = item.active.state(whole)?;
            let deferred = deferred_writes::encode(&item.env.writes, &item.env.cursors)?;
            in_flight.insert(number, ItemState { step, deferred });
        }
        for (number, state) in &self.resumed {
            in_flight.insert(*number, state.clone());
        }
        let ended = self
            .window
            .ended()
            .map(|(number, end)| Ok((number, deferred_writes::encode(&end.writes, &end.cursors)?)));
        let list = |rows: &Vec<Bytes>| rows.iter().map(|row| raw_json(row)).collect::<Result<Vec<_>, _>>();
        Ok(ForEachState {
            done: self.window.oldest(),
            deferred: deferred_writes::encode(&self.writes, &self.shared_cursors)?,
            ended: ended.collect::<Result<_, CheckpointError>>()?,
            in_flight,
            responses: self.answers.clone(),
            gathered: self
                .gathered
                .iter()
                .map(|(number, rows)| Ok((*number, list(rows)?)))
                .collect::<Result<_, CheckpointError>>()?,
        })
    }

    /// Evaluates the list if needed, then starts restored and new items.
    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if self.list.is_none() {
            let list = self.evaluate_list(cx, env)?;
            // A resumed attempt must see the same list, even if the context it came from has
            // changed. Below a row, the row is started again and evaluates it again.
            if env.durable {
                cx.run.lists.insert(list_key(env, &self.node), list.clone());
                cx.run.finished_changed = true;
                cx.run.moved = true;
            }
            self.list = Some(list);
        }
        for (number, state) in std::mem::take(&mut self.resumed) {
            let mut item_env = self.item_env(env, number);
            let (writes, cursors) = deferred_writes::decode(state.deferred);
            item_env.merge(writes).map_err(|error| self.state_error(cx, env, &error.to_string()))?;
            item_env.cursors = cursors;
            let active = SingleStep::resume(&self.node, Some(number), &item_env, state.step, &cx.run.lists)
                .map_err(|error| self.state_error(cx, env, &error.to_string()))?;
            // New items continue after the restored ones.
            self.window.pass_over_to(number + 1);
            self.begin(cx, env, number, ItemExecution { active, env: item_env })?;
        }
        // Items that finished out of order are not started again either.
        let ended = self.window.ended().map(|(number, _)| number + 1).max().unwrap_or_default();
        self.window.pass_over_to(ended);
        self.fill(cx, env)
    }

    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        let Some((number, rest)) = route.split_first() else { return Ok(self.window.status()) };
        // An item may have ended before a late event for it arrives, e.g. an expired timer.
        let Some(mut item) = self.window.take(*number) else { return Ok(self.window.status()) };
        let status = cx.at(*number, |cx| item.active.deliver(cx, &mut item.env, rest, event));
        self.handle_status(cx, env, *number, item, status)?;
        self.fill(cx, env)
    }

    /// Evaluates the list with the variables around the step.
    fn evaluate_list(&self, cx: &EngineCx<'_>, env: &StepEnv) -> Result<Value, StepExit> {
        let step = &self.node.step;
        let Some(expr) = &step.for_each else { return Ok(Value::list([])) };
        let pointer = || format!("{}/for_each", step.pointer);
        let exit = |detail| {
            StepExit::from(StepError::new(
                &cx.run.redactor,
                self.location(env),
                detail,
                ErrorContext::default(),
            ))
        };
        let seed = crate::rules::repeat_guard::fingerprint(&[
            &cx.run.seed.to_be_bytes(),
            self.location(env).path.as_bytes(),
        ]);
        let eval = EvalEnv::new(cx.now.wall, seed);
        let value = expr
            .eval(&variables::enclosing_with_meta(cx.run, env, &self.node), &eval)
            .map_err(|error| exit(ErrorDetail::expression(pointer(), &error)))?;
        if value.is_null() {
            return Ok(Value::list([]));
        }
        if value.items().is_none() {
            let message = format!("for_each {:?} is of type {}, not a list", expr.text(), value.json_type());
            return Err(exit(ErrorDetail {
                class: ErrorClass::Config,
                code: "EXPRESSION",
                pointer: pointer(),
                message,
            }));
        }
        Ok(value)
    }

    /// Starts items while the window has room, and returns what they all wait for.
    fn fill(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        let length = self.list.as_ref().and_then(Value::length).unwrap_or_default() as u64;
        while self.window.next() < length
            && self.ended_bytes < ENDED_WRITES_MAX
            && self.window.has_room(self.node.step.concurrency, cx.run)
        {
            let number = self.window.begin();
            let item_env = self.item_env(env, number);
            let active = SingleStep::new(&self.node, Some(number));
            self.begin(cx, env, number, ItemExecution { active, env: item_env })?;
        }
        if self.window.is_empty() && self.window.next() >= length {
            return self.finish(cx, env);
        }
        if self.window.is_empty() {
            // Other steps wait long enough to park the execution: no further item starts.
            return Ok(StepStatus::Deferred(DeferredWait::nothing_begins()));
        }
        Ok(self.window.status())
    }

    fn begin(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        number: u64,
        mut item: ItemExecution<S>,
    ) -> Result<(), StepExit> {
        let status = cx.at(number, |cx| item.active.start(cx, &mut item.env));
        self.handle_status(cx, env, number, item, status)
    }

    fn handle_status(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        number: u64,
        mut item: ItemExecution<S>,
        status: Result<StepStatus, StepExit>,
    ) -> Result<(), StepExit> {
        match status {
            Ok(StepStatus::InFlight) => self.window.put(number, item, None),
            Ok(StepStatus::Deferred(wait)) => self.window.put(number, item, Some(wait)),
            Ok(StepStatus::Done | StepStatus::Skipped) => {
                let (value, rows) = item.active.take_results();
                self.keep_answer(cx, env, number, &value)?;
                self.finish_item(cx, env, number, item.env, rows);
            }
            Err(StepExit::Error(error)) if !error.ends_execution && !self.node.step.stop_on_error => {
                let path = format!("{}[{number}]", self.location(env).path);
                cx.abandon(number);
                failed_row::tolerate(cx, *error, &path, env.enclosing.as_ref());
                // Without the rest of its pages, the item has not reached what other items have.
                if let Some(key) = item.active.cursor_key() {
                    failed_row::hold(cx.run, key, &path);
                }
                failed_row::hold_shared(cx.run, &self.node, &path);
                self.finish_item(cx, env, number, item.env, Vec::new());
            }
            // The item stays in the window, so that a checkpoint still includes it.
            Err(exit) => {
                self.window.put(number, item, None);
                return Err(exit);
            }
        }
        Ok(())
    }

    fn finish_item(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        number: u64,
        item: StepEnv,
        rows: Vec<Bytes>,
    ) {
        if self.node.gathers {
            self.gathered.insert(number, rows);
        }
        self.end_item(number, ItemWrites { writes: item.writes, cursors: item.cursors });
        // Writes are merged in item order: those of a finished item wait for all items before it.
        while let Some((_, ended)) = self.window.take_ended() {
            self.ended_bytes -= ended.size();
            let ItemWrites { mut writes, cursors } = ended;
            context::append(&mut self.writes, &mut writes);
            let cursors = cursors.into_iter().map(CursorChange::from);
            let own = cx.collect_shared(&mut self.shared_cursors, cursors);
            own.into_iter().for_each(|cursor| cx.save_cursor(env, cursor));
        }
        cx.run.moved |= env.durable;
    }

    /// Keeps what later steps read of an item's last response.
    fn keep_answer(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        number: u64,
        value: &Value,
    ) -> Result<(), StepExit> {
        let paths = self.node.needs.finished.as_deref();
        if paths.is_some_and(<[_]>::is_empty) {
            return Ok(());
        }
        let answer = encode_value(&prune(value, element_paths(paths).as_deref()))
            .map_err(|error| self.state_error(cx, env, &error.to_string()))?;
        self.answers_bytes += answer.get().len();
        self.answers.insert(number, answer);
        // Below a row, checkpoints leave the items out: nothing is saved apart.
        if env.durable && self.answers_bytes > ANSWERS_MAX {
            self.answers_bytes = 0;
            let apart = cx.run.answers.entry(list_key(env, &self.node)).or_default();
            apart.append(&mut self.answers);
            cx.run.finished_changed = true;
        }
        Ok(())
    }

    /// Adds the writes of a finished item to those that wait for an earlier one.
    fn end_item(&mut self, number: u64, mut item: ItemWrites) {
        if !item.writes.is_empty() {
            for (other, ended) in self.window.ended_mut() {
                self.ended_bytes -= ended.size();
                if other < number {
                    ended.superseded_by(&item);
                } else {
                    item.superseded_by(ended);
                }
                self.ended_bytes += ended.size();
            }
        }
        self.ended_bytes += item.size();
        self.window.end(number, item);
    }

    fn finish(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        let writes = std::mem::take(&mut self.writes);
        env.merge(writes).map_err(|error| {
            let what = ErrorDetail::context(format!("{}/set_context", self.node.step.pointer), &error);
            StepExit::from(StepError::new(
                &cx.run.redactor,
                self.location(env),
                what,
                ErrorContext::default(),
            ))
        })?;
        let shared = std::mem::take(&mut self.shared_cursors);
        shared.into_iter().for_each(|cursor| cx.save_cursor(env, cursor.into()));
        Ok(StepStatus::Done)
    }

    fn item_env(&self, env: &StepEnv, number: u64) -> StepEnv {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let item = self.list.as_ref().map_or_else(Value::null, |list| list.index(index));
        env.with_item(number, item)
    }

    fn state_error(&self, cx: &EngineCx<'_>, env: &StepEnv, reason: &str) -> StepExit {
        let what = ErrorDetail {
            class: ErrorClass::System,
            code: "CHECKPOINT",
            pointer: self.node.step.pointer.clone(),
            message: format!("the place of an item does not read: {reason}"),
        };
        StepError::new(&cx.run.redactor, self.location(env), what, ErrorContext::default()).into()
    }

    /// Takes the list of the items' last responses, which is `steps.<id>`, and all rows.
    ///
    /// # Errors
    /// If a response does not read as it was kept.
    pub(crate) fn take_results(
        &mut self,
        run: &mut ExecutionState,
        env: &StepEnv,
    ) -> Result<(Value, Vec<Bytes>), CheckpointError> {
        let read = self.node.needs.finished.as_ref().is_none_or(|paths| !paths.is_empty());
        let length = self.list.as_ref().and_then(Value::length).unwrap_or_default() as u64;
        let apart = run.answers.remove(&list_key(env, &self.node));
        let mut answers = apart.unwrap_or_default();
        answers.append(&mut self.answers);
        let value = if read {
            let answer = |number: u64| decode_or_null(answers.get(&number).map(|answer| &**answer));
            Value::list((0..length).map(answer).collect::<Result<Vec<_>, _>>()?)
        } else {
            Value::null()
        };
        let gathered = std::mem::take(&mut self.gathered);
        Ok((value, gathered.into_values().flatten().collect()))
    }

    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        for (number, item) in self.window.in_flight_mut() {
            cx.at(number, |cx| item.active.flush(cx));
        }
    }

    pub(crate) fn take_cancels(&mut self, env: &StepEnv, found: &mut Vec<PendingCancel>) {
        for (_, mut item) in self.window.drain_in_flight() {
            item.active.take_cancels(&item.env, found);
        }
        for (number, state) in std::mem::take(&mut self.resumed) {
            let item_env = self.item_env(env, number);
            let active =
                SingleStep::<S>::resume(&self.node, Some(number), &item_env, state.step, &BTreeMap::new());
            if let Ok(mut active) = active {
                active.take_cancels(&item_env, found);
            }
        }
    }

    pub(crate) fn works_upstream(&self) -> bool {
        self.window.in_flight().any(|(_, item)| item.active.works_upstream())
            || self.resumed.values().any(|state| state.step.works_upstream())
    }

    pub(crate) fn location(&self, env: &StepEnv) -> StepLocation {
        let path = format!("{}{}", env.prefix, self.node.step.id);
        StepLocation { node: self.node.index, path, page: 0, retries: 0 }
    }
}

/// Returns the key of a `for_each` list among those that a checkpoint keeps.
pub(crate) fn list_key(env: &StepEnv, node: &StepNode) -> String {
    format!("{}{}", env.prefix, node.step.id)
}
