//! The steps of one level, run in order: the root's, those of one row, the downloads of a job.
//!
//! In: a beginning, or what came for the step under way. Out: how far they came. What later steps and the row around look
//! at is kept here as each step ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::Value;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{decode_value, encode_value, raw_json};
use crate::checkpoint::prune::prune;
use crate::checkpoint::step_state::{ActiveStepState, SequenceState};
use crate::message::exchange::SentRequest;
use crate::program::node::StepNode;
use crate::state::deferred_writes as carried;
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::exit::StepExit;
use crate::state::location::StepLocation;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::tree::async_job::AsyncJobExecution;
use crate::tree::for_each::ForEach;

/// Steps of one level.
pub(crate) struct StepSequence {
    nodes: Arc<[Arc<StepNode>]>,
    index: usize,
    pub(crate) active: ActiveStep,
    pub(crate) env: StepEnv,
    /// What silent steps leave to the row around, as JSON lists by their ids; none of one that failed.
    gathered: BTreeMap<String, Option<Bytes>>,
    /// The last response of the step that ended last, and its rows for the row around.
    last: (Value, Vec<Bytes>),
}

/// The step under way.
pub(crate) enum ActiveStep {
    Loop(Box<StepExecution>),
    Each(Box<ForEach>),
    Job(Box<AsyncJobExecution>),
}

impl ActiveStep {
    /// A step at its beginning, for an item where it is run for one.
    pub(crate) fn of(node: &Arc<StepNode>, item: Option<u64>) -> ActiveStep {
        if item.is_none() && node.step.for_each.is_some() {
            return ActiveStep::Each(Box::new(ForEach::new(node)));
        }
        match &node.job {
            Some(_) => ActiveStep::Job(Box::new(AsyncJobExecution::new(node, item))),
            None => ActiveStep::Loop(Box::new(StepExecution::new(node, item))),
        }
    }

    pub(crate) fn at(
        node: &Arc<StepNode>,
        item: Option<u64>,
        env: &StepEnv,
        place: ActiveStepState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<ActiveStep, CheckpointError> {
        Ok(match place {
            ActiveStepState::Loop(place) => {
                ActiveStep::Loop(Box::new(StepExecution::at(node, item, *place)?))
            }
            ActiveStepState::ForEach(place) => {
                ActiveStep::Each(Box::new(ForEach::at(node, env, place, lists)?))
            }
            ActiveStepState::AsyncJob(place) => {
                ActiveStep::Job(Box::new(AsyncJobExecution::at(node, item, env, *place, lists)?))
            }
        })
    }

    pub(crate) fn place(&self, whole: bool) -> Result<ActiveStepState, CheckpointError> {
        Ok(match self {
            ActiveStep::Loop(step) => ActiveStepState::Loop(Box::new(step.place(whole)?)),
            ActiveStep::Each(each) => ActiveStepState::ForEach(each.place(whole)?),
            ActiveStep::Job(job) => ActiveStepState::AsyncJob(Box::new(job.place(whole)?)),
        })
    }

    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        match self {
            ActiveStep::Loop(step) => step.start(cx, env),
            ActiveStep::Each(each) => each.start(cx, env),
            ActiveStep::Job(job) => job.start(cx, env),
        }
    }

    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        match self {
            ActiveStep::Loop(step) => step.deliver(cx, env, route, event),
            ActiveStep::Each(each) => each.deliver(cx, env, route, event),
            ActiveStep::Job(job) => job.deliver(cx, env, route, event),
        }
    }

    /// Emits the rows that are done, and are held back for a fuller message.
    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) {
        match self {
            ActiveStep::Loop(step) => step.flush(cx, env),
            ActiveStep::Each(each) => each.flush(cx),
            ActiveStep::Job(job) => job.flush(cx),
        }
    }

    /// Takes the jobs out whose upstream has to be told that nobody waits any more.
    pub(crate) fn abandon(&mut self, env: &StepEnv, found: &mut Vec<(StepEnv, StepExecution)>) {
        match self {
            ActiveStep::Loop(step) => step.abandon(env, found),
            ActiveStep::Each(each) => each.abandon(env, found),
            ActiveStep::Job(job) => found.extend(job.abandon(env)),
        }
    }

    /// An upstream works for it that can be told to stop.
    pub(crate) fn works_upstream(&self) -> bool {
        match self {
            ActiveStep::Loop(step) => step.works_upstream(),
            ActiveStep::Each(each) => each.works_upstream(),
            ActiveStep::Job(job) => job.works_upstream(),
        }
    }

    /// The request under way, where it is a single one.
    pub(crate) fn under_way(&self) -> Option<&SentRequest> {
        match self {
            ActiveStep::Loop(step) => step.under_way(),
            ActiveStep::Each(_) | ActiveStep::Job(_) => None,
        }
    }

    /// The last response, and the rows for the row around.
    pub(crate) fn leave(&mut self) -> (Value, Vec<Bytes>) {
        match self {
            ActiveStep::Loop(step) => (step.latest.clone(), std::mem::take(&mut step.gathered)),
            ActiveStep::Each(each) => each.leave(),
            ActiveStep::Job(job) => job.leave(),
        }
    }

    /// Where it is, for an error that is about no request of its own.
    pub(crate) fn location(&self, env: &StepEnv) -> StepLocation {
        match self {
            ActiveStep::Loop(step) => step.location(env),
            ActiveStep::Each(each) => each.location(env),
            ActiveStep::Job(job) => job.location(env),
        }
    }
}

impl StepSequence {
    /// Steps at their beginning; none where there are none.
    pub(crate) fn new(nodes: &Arc<[Arc<StepNode>]>, env: StepEnv) -> Option<StepSequence> {
        let active = ActiveStep::of(nodes.first()?, None);
        Some(StepSequence {
            nodes: nodes.clone(),
            index: 0,
            active,
            env,
            gathered: BTreeMap::new(),
            last: nothing(),
        })
    }

    /// Steps where a checkpoint says.
    pub(crate) fn at(
        nodes: &Arc<[Arc<StepNode>]>,
        mut env: StepEnv,
        place: SequenceState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<StepSequence, CheckpointError> {
        let bad = |what: &str| CheckpointError::Json(what.to_owned());
        let SequenceState { index, id, step, finished, gathered, deferred: carried } = place;
        let node = nodes.get(index).ok_or_else(|| bad("its step is not in the plan"))?;
        if *node.step.id != *id {
            return Err(bad("its step has another id in the plan"));
        }
        for (id, value) in &finished {
            env.finished.insert(id, decode_value(value)?);
        }
        let (writes, cursors) = carried::decode(carried);
        env.merge(writes).map_err(|error| CheckpointError::Json(error.to_string()))?;
        env.cursors = cursors;
        let gathered = gathered.into_iter().map(|(id, rows)| {
            let text = rows.get();
            (id, (text != "null").then(|| Bytes::copy_from_slice(text.as_bytes())))
        });
        Ok(StepSequence {
            active: ActiveStep::at(node, None, &env, step, lists)?,
            nodes: nodes.clone(),
            index,
            env,
            gathered: gathered.collect(),
            last: nothing(),
        })
    }

    /// Where they are. The root's finished values and writes are saved apart.
    pub(crate) fn place(&self, whole: bool) -> Result<SequenceState, CheckpointError> {
        let mut place = SequenceState {
            index: self.index,
            id: self.node().step.id.to_string(),
            step: self.active.place(whole)?,
            finished: BTreeMap::new(),
            gathered: BTreeMap::new(),
            deferred: crate::checkpoint::deferred_writes::DeferredWrites::default(),
        };
        if self.env.nesting > 0 {
            for (id, value) in self.env.finished.own() {
                place.finished.insert(id.to_owned(), encode_value(value)?);
            }
            for (id, rows) in &self.gathered {
                place.gathered.insert(id.clone(), raw_json(rows.as_deref().unwrap_or(b"null"))?);
            }
            place.deferred = carried::encode(&self.env.writes, &self.env.cursors)?;
        }
        Ok(place)
    }

    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>) -> Result<StepStatus, StepExit> {
        let flow = self.active.start(cx, &mut self.env);
        self.proceed(cx, flow)
    }

    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        let flow = self.active.deliver(cx, &mut self.env, route, event);
        self.proceed(cx, flow)
    }

    /// Goes on over steps that are done or skipped, until something has to be waited for.
    fn proceed(
        &mut self,
        cx: &mut EngineCx<'_>,
        mut flow: Result<StepStatus, StepExit>,
    ) -> Result<StepStatus, StepExit> {
        loop {
            match flow {
                Ok(flow @ (StepStatus::InFlight | StepStatus::Deferred(_))) => return Ok(flow),
                Ok(StepStatus::Done) => self.leave(cx, true),
                Ok(StepStatus::Skipped) => self.leave(cx, false),
                Err(halt) => {
                    let node = self.node();
                    if node.gathers && matches!(halt, StepExit::Error(_)) {
                        self.gathered.insert(node.step.id.to_string(), None);
                    }
                    return Err(halt);
                }
            }
            let Some(next) = self.nodes.get(self.index + 1) else { return Ok(StepStatus::Done) };
            self.active = ActiveStep::of(next, None);
            self.index += 1;
            cx.run.moved |= self.env.durable;
            flow = self.active.start(cx, &mut self.env);
        }
    }

    /// Keeps what is looked at of a step that has ended.
    fn leave(&mut self, cx: &mut EngineCx<'_>, ran: bool) {
        let node = self.node().clone();
        let (value, rows) = self.active.leave();
        let read = node.needs.finished.as_ref().is_none_or(|paths| !paths.is_empty());
        if read && !value.is_null() {
            self.env.finished.insert(&node.step.id, prune(&value, node.needs.finished.as_deref()));
            cx.run.finished_changed |= self.env.nesting == 0;
        }
        if node.gathers && ran {
            self.gathered.insert(node.step.id.to_string(), Some(list_of(&rows)));
        }
        self.last = (value, rows);
        if node.step.for_each.is_some() && cx.run.lists.remove(&list_key(&self.env, &node)).is_some() {
            cx.run.finished_changed = true;
        }
    }

    /// What silent steps left, by their ids, as the members of one JSON object.
    pub(crate) fn gathered(&self) -> Vec<u8> {
        let mut object = vec![b'{'];
        for (id, rows) in &self.gathered {
            if object.len() > 1 {
                object.push(b',');
            }
            object.extend(Value::from(id.as_str()).to_json());
            object.push(b':');
            object.extend_from_slice(rows.as_deref().unwrap_or(b"null"));
        }
        object.push(b'}');
        object
    }

    /// What the step that ended last left, and what all of them saw and wrote.
    pub(crate) fn into_last(self) -> (Value, Vec<Bytes>, StepEnv) {
        let (value, rows) = self.last;
        (value, rows, self.env)
    }

    pub(crate) fn node(&self) -> &Arc<StepNode> {
        &self.nodes[self.index]
    }

    pub(crate) fn location(&self) -> StepLocation {
        self.active.location(&self.env)
    }

    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        self.active.flush(cx, &mut self.env);
    }

    pub(crate) fn abandon(&mut self, found: &mut Vec<(StepEnv, StepExecution)>) {
        self.active.abandon(&self.env, found);
    }

    pub(crate) fn works_upstream(&self) -> bool {
        self.active.works_upstream()
    }
}

fn nothing() -> (Value, Vec<Bytes>) {
    (Value::null(), Vec::new())
}

/// The name of a `for_each` list among those that a checkpoint keeps.
pub(crate) fn list_key(env: &StepEnv, node: &StepNode) -> String {
    format!("{}{}", env.prefix, node.step.id)
}

/// Rows as one JSON list.
pub(crate) fn list_of(rows: &[Bytes]) -> Bytes {
    let mut list = Vec::with_capacity(2 + rows.iter().map(|row| row.len() + 1).sum::<usize>());
    list.push(b'[');
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            list.push(b',');
        }
        list.extend_from_slice(row);
    }
    list.push(b']');
    list.into()
}
