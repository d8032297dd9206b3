//! The steps of one level, run in order: the root's, those of one row, the downloads of a job.
//!
//! In: a beginning, or what came for the step under way. Out: how far they came. What later steps and the row around look
//! at is kept here as each step ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::Value;

use super::answer::Event;
use super::carried;
use super::cx::{Cx, Spot};
use super::each::Each;
use super::env::Env;
use super::flow::Flow;
use super::halt::Halt;
use super::job_run::JobRun;
use super::program::Node;
use super::step_run::StepRun;
use crate::checkpoint::{ActivePlace, PlaceError, SequencePlace, json, prune, raw, unraw};
use crate::message::exchange::SentRequest;

/// Steps of one level.
pub(super) struct Sequence {
    nodes: Arc<[Arc<Node>]>,
    index: usize,
    pub(super) active: Active,
    pub(super) env: Env,
    /// What silent steps leave to the row around, as JSON lists by their ids; none of one that failed.
    gathered: BTreeMap<String, Option<Bytes>>,
    /// The last response of the step that ended last, and its rows for the row around.
    last: (Value, Vec<Bytes>),
}

/// The step under way.
pub(super) enum Active {
    Loop(Box<StepRun>),
    Each(Box<Each>),
    Job(Box<JobRun>),
}

impl Active {
    /// A step at its beginning, for an item where it is run for one.
    pub(super) fn of(node: &Arc<Node>, item: Option<u64>) -> Active {
        if item.is_none() && node.step.for_each.is_some() {
            return Active::Each(Box::new(Each::new(node)));
        }
        match &node.job {
            Some(_) => Active::Job(Box::new(JobRun::new(node, item))),
            None => Active::Loop(Box::new(StepRun::new(node, item))),
        }
    }

    pub(super) fn at(
        node: &Arc<Node>,
        item: Option<u64>,
        env: &Env,
        place: ActivePlace,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Active, PlaceError> {
        Ok(match place {
            ActivePlace::Loop(place) => Active::Loop(Box::new(StepRun::at(node, item, *place)?)),
            ActivePlace::Each(place) => Active::Each(Box::new(Each::at(node, env, place, lists)?)),
            ActivePlace::Job(place) => Active::Job(Box::new(JobRun::at(node, item, env, *place, lists)?)),
        })
    }

    pub(super) fn place(&self, whole: bool) -> Result<ActivePlace, PlaceError> {
        Ok(match self {
            Active::Loop(step) => ActivePlace::Loop(Box::new(step.place(whole)?)),
            Active::Each(each) => ActivePlace::Each(each.place(whole)?),
            Active::Job(job) => ActivePlace::Job(Box::new(job.place(whole)?)),
        })
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
        match self {
            Active::Loop(step) => step.start(cx, env),
            Active::Each(each) => each.start(cx, env),
            Active::Job(job) => job.start(cx, env),
        }
    }

    pub(super) fn deliver(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        route: &[u64],
        event: Event,
    ) -> Result<Flow, Halt> {
        match self {
            Active::Loop(step) => step.deliver(cx, env, route, event),
            Active::Each(each) => each.deliver(cx, env, route, event),
            Active::Job(job) => job.deliver(cx, env, route, event),
        }
    }

    /// Emits the rows that are done, and are held back for a fuller message.
    pub(super) fn flush(&mut self, cx: &mut Cx<'_>, env: &mut Env) {
        match self {
            Active::Loop(step) => step.flush(cx, env),
            Active::Each(each) => each.flush(cx),
            Active::Job(job) => job.flush(cx),
        }
    }

    /// Takes the jobs out whose upstream has to be told that nobody waits any more.
    pub(super) fn abandon(&mut self, env: &Env, found: &mut Vec<(Env, StepRun)>) {
        match self {
            Active::Loop(step) => step.abandon(env, found),
            Active::Each(each) => each.abandon(env, found),
            Active::Job(job) => found.extend(job.abandon(env)),
        }
    }

    /// An upstream works for it that can be told to stop.
    pub(super) fn works_upstream(&self) -> bool {
        match self {
            Active::Loop(step) => step.works_upstream(),
            Active::Each(each) => each.works_upstream(),
            Active::Job(job) => job.works_upstream(),
        }
    }

    /// The request under way, where it is a single one.
    pub(super) fn under_way(&self) -> Option<&SentRequest> {
        match self {
            Active::Loop(step) => step.under_way(),
            Active::Each(_) | Active::Job(_) => None,
        }
    }

    /// The last response, and the rows for the row around.
    pub(super) fn leave(&mut self) -> (Value, Vec<Bytes>) {
        match self {
            Active::Loop(step) => (step.latest.clone(), std::mem::take(&mut step.gathered)),
            Active::Each(each) => each.leave(),
            Active::Job(job) => job.leave(),
        }
    }

    /// Where it is, for an error that is about no request of its own.
    pub(super) fn spot(&self, env: &Env) -> Spot {
        match self {
            Active::Loop(step) => step.spot(env),
            Active::Each(each) => each.spot(env),
            Active::Job(job) => job.spot(env),
        }
    }
}

impl Sequence {
    /// Steps at their beginning; none where there are none.
    pub(super) fn new(nodes: &Arc<[Arc<Node>]>, env: Env) -> Option<Sequence> {
        let active = Active::of(nodes.first()?, None);
        Some(Sequence {
            nodes: nodes.clone(),
            index: 0,
            active,
            env,
            gathered: BTreeMap::new(),
            last: nothing(),
        })
    }

    /// Steps where a checkpoint says.
    pub(super) fn at(
        nodes: &Arc<[Arc<Node>]>,
        mut env: Env,
        place: SequencePlace,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Sequence, PlaceError> {
        let bad = |what: &str| PlaceError::Json(what.to_owned());
        let SequencePlace { index, id, step, finished, gathered, carried } = place;
        let node = nodes.get(index).ok_or_else(|| bad("its step is not in the plan"))?;
        if *node.step.id != *id {
            return Err(bad("its step has another id in the plan"));
        }
        for (id, value) in &finished {
            env.finished.insert(id, unraw(value)?);
        }
        let (writes, cursors) = carried::restore(carried);
        env.merge(writes).map_err(|error| PlaceError::Json(error.to_string()))?;
        env.cursors = cursors;
        let gathered = gathered.into_iter().map(|(id, rows)| {
            let text = rows.get();
            (id, (text != "null").then(|| Bytes::copy_from_slice(text.as_bytes())))
        });
        Ok(Sequence {
            active: Active::at(node, None, &env, step, lists)?,
            nodes: nodes.clone(),
            index,
            env,
            gathered: gathered.collect(),
            last: nothing(),
        })
    }

    /// Where they are. The root's finished values and writes are saved apart.
    pub(super) fn place(&self, whole: bool) -> Result<SequencePlace, PlaceError> {
        let mut place = SequencePlace {
            index: self.index,
            id: self.node().step.id.to_string(),
            step: self.active.place(whole)?,
            finished: BTreeMap::new(),
            gathered: BTreeMap::new(),
            carried: crate::checkpoint::Carried::default(),
        };
        if self.env.nesting > 0 {
            for (id, value) in self.env.finished.own() {
                place.finished.insert(id.to_owned(), raw(value)?);
            }
            for (id, rows) in &self.gathered {
                place.gathered.insert(id.clone(), json(rows.as_deref().unwrap_or(b"null"))?);
            }
            place.carried = carried::place(&self.env.writes, &self.env.cursors)?;
        }
        Ok(place)
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_>) -> Result<Flow, Halt> {
        let flow = self.active.start(cx, &mut self.env);
        self.proceed(cx, flow)
    }

    pub(super) fn deliver(&mut self, cx: &mut Cx<'_>, route: &[u64], event: Event) -> Result<Flow, Halt> {
        let flow = self.active.deliver(cx, &mut self.env, route, event);
        self.proceed(cx, flow)
    }

    /// Goes on over steps that are done or skipped, until something has to be waited for.
    fn proceed(&mut self, cx: &mut Cx<'_>, mut flow: Result<Flow, Halt>) -> Result<Flow, Halt> {
        loop {
            match flow {
                Ok(flow @ (Flow::Busy | Flow::Idle(_))) => return Ok(flow),
                Ok(Flow::Done) => self.leave(cx, true),
                Ok(Flow::Skipped) => self.leave(cx, false),
                Err(halt) => {
                    let node = self.node();
                    if node.gathers && matches!(halt, Halt::Fault(_)) {
                        self.gathered.insert(node.step.id.to_string(), None);
                    }
                    return Err(halt);
                }
            }
            let Some(next) = self.nodes.get(self.index + 1) else { return Ok(Flow::Done) };
            self.active = Active::of(next, None);
            self.index += 1;
            cx.run.moved |= self.env.durable;
            flow = self.active.start(cx, &mut self.env);
        }
    }

    /// Keeps what is looked at of a step that has ended.
    fn leave(&mut self, cx: &mut Cx<'_>, ran: bool) {
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
    pub(super) fn gathered(&self) -> Vec<u8> {
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
    pub(super) fn into_last(self) -> (Value, Vec<Bytes>, Env) {
        let (value, rows) = self.last;
        (value, rows, self.env)
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.nodes[self.index]
    }

    pub(super) fn spot(&self) -> Spot {
        self.active.spot(&self.env)
    }

    pub(super) fn flush(&mut self, cx: &mut Cx<'_>) {
        self.active.flush(cx, &mut self.env);
    }

    pub(super) fn abandon(&mut self, found: &mut Vec<(Env, StepRun)>) {
        self.active.abandon(&self.env, found);
    }

    pub(super) fn works_upstream(&self) -> bool {
        self.active.works_upstream()
    }
}

fn nothing() -> (Value, Vec<Bytes>) {
    (Value::null(), Vec::new())
}

/// The name of a `for_each` list among those that a checkpoint keeps.
pub(super) fn list_key(env: &Env, node: &Node) -> String {
    format!("{}{}", env.prefix, node.step.id)
}

/// Rows as one JSON list.
pub(super) fn list_of(rows: &[Bytes]) -> Bytes {
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
