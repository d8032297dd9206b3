//! `for_each`: the whole step, its loop included, once per item of a list.
//!
//! Items run side by side; each has a place of its own in every checkpoint. Their context writes are merged in the items'
//! order when all are done.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::{EvalEnv, Value};

use super::answer::Event;
use super::carried;
use super::context::{self, Changes};
use super::cx::{Cx, Spot};
use super::env::Env;
use super::flight::Flight;
use super::flow::{Flow, Idle};
use super::halt::{About, Fault, Halt, What};
use super::kept::Cursors;
use super::program::Node;
use super::scope;
use super::sequence::{Active, list_key};
use super::step_run::StepRun;
use crate::checkpoint::{EachPlace, ItemPlace, PlaceError, json, prune, raw, unraw};
use crate::error::ErrorClass;

/// All items of a `for_each`.
pub(super) struct Each {
    node: Arc<Node>,
    /// None before it was asked for.
    list: Option<Value>,
    flight: Flight<Item, Carried>,
    /// Writes of the items that have ended, in order.
    writes: Changes,
    responses: BTreeMap<u64, Value>,
    gathered: BTreeMap<u64, Vec<Bytes>>,
    /// Items of a checkpoint that are not begun yet.
    resumed: BTreeMap<u64, ItemPlace>,
}

/// One item being run.
struct Item {
    active: Active,
    env: Env,
}

/// What an item leaves.
#[derive(Default)]
struct Carried {
    writes: Changes,
    cursors: Cursors,
}

impl Each {
    pub(super) fn new(node: &Arc<Node>) -> Each {
        Each {
            node: node.clone(),
            list: None,
            flight: Flight::after(0),
            writes: Changes::new(),
            responses: BTreeMap::new(),
            gathered: BTreeMap::new(),
            resumed: BTreeMap::new(),
        }
    }

    pub(super) fn at(
        node: &Arc<Node>,
        env: &Env,
        place: EachPlace,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Each, PlaceError> {
        let mut flight = Flight::after(place.done);
        for (number, carried) in place.ended {
            let (writes, cursors) = carried::restore(carried);
            flight.end(number, Carried { writes, cursors });
        }
        let bytes = |rows: Vec<crate::checkpoint::Json>| {
            rows.iter().map(|row| Bytes::copy_from_slice(row.get().as_bytes())).collect()
        };
        Ok(Each {
            list: lists.get(&list_key(env, node)).cloned(),
            flight,
            writes: carried::restore(place.carried).0,
            responses: place
                .responses
                .iter()
                .map(|(number, value)| Ok((*number, unraw(value)?)))
                .collect::<Result<_, PlaceError>>()?,
            gathered: place.gathered.into_iter().map(|(number, rows)| (number, bytes(rows))).collect(),
            resumed: place.under_way,
            ..Each::new(node)
        })
    }

    /// `whole`: also of items below a row, whose list is asked for anew.
    pub(super) fn place(&self, whole: bool) -> Result<EachPlace, PlaceError> {
        let mut under_way = BTreeMap::new();
        for (number, item) in self.flight.under_way() {
            let step = item.active.place(whole)?;
            let carried = carried::place(&item.env.writes, &item.env.cursors)?;
            under_way.insert(number, ItemPlace { step, carried });
        }
        for (number, place) in &self.resumed {
            under_way.insert(*number, place.clone());
        }
        let ended =
            self.flight.ended().map(|(number, end)| Ok((number, carried::place(&end.writes, &end.cursors)?)));
        let list = |rows: &Vec<Bytes>| rows.iter().map(|row| json(row)).collect::<Result<Vec<_>, _>>();
        Ok(EachPlace {
            done: self.flight.oldest(),
            carried: carried::place(&self.writes, [])?,
            ended: ended.collect::<Result<_, PlaceError>>()?,
            under_way,
            responses: self
                .responses
                .iter()
                .map(|(number, value)| Ok((*number, raw(value)?)))
                .collect::<Result<_, PlaceError>>()?,
            gathered: self
                .gathered
                .iter()
                .map(|(number, rows)| Ok((*number, list(rows)?)))
                .collect::<Result<_, PlaceError>>()?,
        })
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
        if self.list.is_none() {
            let list = self.ask(cx, env)?;
            if env.durable {
                cx.run.lists.insert(list_key(env, &self.node), list.clone());
                cx.run.finished_changed = true;
                cx.run.moved = true;
            }
            self.list = Some(list);
        }
        for (number, place) in std::mem::take(&mut self.resumed) {
            let mut item_env = self.item_env(env, number);
            let (writes, cursors) = carried::restore(place.carried);
            item_env.merge(writes).map_err(|error| self.place_fault(cx, env, &error.to_string()))?;
            item_env.cursors = cursors;
            let active = Active::at(&self.node, Some(number), &item_env, place.step, &cx.run.lists)
                .map_err(|error| self.place_fault(cx, env, &error.to_string()))?;
            self.flight.pass_over_to(number + 1);
            self.begin(cx, env, number, Item { active, env: item_env })?;
        }
        let ended = self.flight.ended().map(|(number, _)| number + 1).max().unwrap_or_default();
        self.flight.pass_over_to(ended);
        self.fill(cx, env)
    }

    pub(super) fn deliver(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        route: &[u64],
        event: Event,
    ) -> Result<Flow, Halt> {
        let Some((number, rest)) = route.split_first() else { return Ok(self.flight.flow()) };
        let Some(mut item) = self.flight.take(*number) else { return Ok(self.flight.flow()) };
        let flow = cx.at(*number, |cx| item.active.deliver(cx, &mut item.env, rest, event));
        self.came_to(cx, env, *number, item, flow)?;
        self.fill(cx, env)
    }

    /// The list, from the scope around the step.
    fn ask(&self, cx: &Cx<'_>, env: &Env) -> Result<Value, Halt> {
        let step = &self.node.step;
        let Some(expr) = &step.for_each else { return Ok(Value::list([])) };
        let pointer = || format!("{}/for_each", step.pointer);
        let fault = |what| Halt::from(Fault::new(cx.run, self.spot(env), what, About::default()));
        let seed =
            super::paginate::fingerprint(&[&cx.run.seed.to_be_bytes(), self.spot(env).path.as_bytes()]);
        let eval = EvalEnv::new(cx.now.wall, seed);
        let value = expr
            .eval(&scope::around_with_meta(cx.run, env, &self.node), &eval)
            .map_err(|error| fault(What::expression(pointer(), &error)))?;
        if value.is_null() {
            return Ok(Value::list([]));
        }
        if value.items().is_none() {
            let message = format!("for_each {:?} is of type {}, not a list", expr.text(), value.json_type());
            return Err(fault(What {
                class: ErrorClass::Config,
                code: "EXPRESSION",
                pointer: pointer(),
                message,
            }));
        }
        Ok(value)
    }

    /// Begins items while there is room, and says what all of them wait for.
    fn fill(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
        let length = self.list.as_ref().and_then(Value::length).unwrap_or_default() as u64;
        while self.flight.next() < length && self.flight.has_room(self.node.step.concurrency, cx.run) {
            let number = self.flight.begin();
            let item_env = self.item_env(env, number);
            let active = Active::of(&self.node, Some(number));
            self.begin(cx, env, number, Item { active, env: item_env })?;
        }
        if self.flight.is_empty() && self.flight.next() >= length {
            return self.finish(cx, env);
        }
        if self.flight.is_empty() {
            // Others wait for so long that the run is handed back: no further item begins.
            return Ok(Flow::Idle(Idle::nothing_begins()));
        }
        Ok(self.flight.flow())
    }

    fn begin(&mut self, cx: &mut Cx<'_>, env: &mut Env, number: u64, mut item: Item) -> Result<(), Halt> {
        let flow = cx.at(number, |cx| item.active.start(cx, &mut item.env));
        self.came_to(cx, env, number, item, flow)
    }

    fn came_to(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        number: u64,
        mut item: Item,
        flow: Result<Flow, Halt>,
    ) -> Result<(), Halt> {
        match flow {
            Ok(Flow::Busy) => self.flight.put(number, item, None),
            Ok(Flow::Idle(idle)) => self.flight.put(number, item, Some(idle)),
            Ok(Flow::Done | Flow::Skipped) => {
                let (value, rows) = item.active.leave();
                let paths = self.node.needs.finished.as_deref();
                if paths.is_none_or(|paths| !paths.is_empty()) {
                    self.responses.insert(number, prune(&value, paths));
                }
                self.ended(cx, env, number, item.env, rows);
            }
            Err(Halt::Fault(fault)) if !fault.whole_run && !self.node.step.stop_on_error => {
                cx.run.left_out();
                cx.emit_error(*fault, false);
                self.ended(cx, env, number, item.env, Vec::new());
            }
            Err(halt) => {
                self.flight.put(number, item, None);
                return Err(halt);
            }
        }
        Ok(())
    }

    fn ended(&mut self, cx: &mut Cx<'_>, env: &mut Env, number: u64, item: Env, rows: Vec<Bytes>) {
        if self.node.gathers {
            self.gathered.insert(number, rows);
        }
        self.flight.end(number, Carried { writes: item.writes, cursors: item.cursors });
        while let Some((_, Carried { mut writes, cursors })) = self.flight.take_ended() {
            context::append(&mut self.writes, &mut writes);
            cursors.into_iter().for_each(|cursor| cx.save_cursor(env, cursor.into()));
        }
        cx.run.moved |= env.durable;
    }

    fn finish(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
        let writes = std::mem::take(&mut self.writes);
        env.merge(writes).map_err(|error| {
            let what = What::context(format!("{}/set_context", self.node.step.pointer), &error);
            Halt::from(Fault::new(cx.run, self.spot(env), what, About::default()))
        })?;
        Ok(Flow::Done)
    }

    fn item_env(&self, env: &Env, number: u64) -> Env {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let item = self.list.as_ref().map_or_else(Value::null, |list| list.index(index));
        env.with_item(number, item)
    }

    fn place_fault(&self, cx: &Cx<'_>, env: &Env, words: &str) -> Halt {
        let what = What {
            class: ErrorClass::System,
            code: "CHECKPOINT",
            pointer: self.node.step.pointer.clone(),
            message: format!("the place of an item does not read: {words}"),
        };
        Fault::new(cx.run, self.spot(env), what, About::default()).into()
    }

    /// `steps.<id>` of a `for_each` is the list of its items' last responses.
    pub(super) fn leave(&mut self) -> (Value, Vec<Bytes>) {
        let read = self.node.needs.finished.as_ref().is_none_or(|paths| !paths.is_empty());
        let length = self.list.as_ref().and_then(Value::length).unwrap_or_default() as u64;
        let responses = std::mem::take(&mut self.responses);
        let value = if read {
            Value::list((0..length).map(|number| responses.get(&number).cloned().unwrap_or_else(Value::null)))
        } else {
            Value::null()
        };
        let gathered = std::mem::take(&mut self.gathered);
        (value, gathered.into_values().flatten().collect())
    }

    pub(super) fn flush(&mut self, cx: &mut Cx<'_>) {
        for (number, item) in self.flight.under_way_mut() {
            cx.at(number, |cx| item.active.flush(cx, &mut item.env));
        }
    }

    pub(super) fn abandon(&mut self, env: &Env, found: &mut Vec<(Env, StepRun)>) {
        for (_, mut item) in self.flight.drain_under_way() {
            item.active.abandon(&item.env, found);
        }
        for (number, place) in std::mem::take(&mut self.resumed) {
            let item_env = self.item_env(env, number);
            let active = Active::at(&self.node, Some(number), &item_env, place.step, &BTreeMap::new());
            if let Ok(mut active) = active {
                active.abandon(&item_env, found);
            }
        }
    }

    pub(super) fn works_upstream(&self) -> bool {
        self.flight.under_way().any(|(_, item)| item.active.works_upstream())
            || self.resumed.values().any(|place| place.step.works_upstream())
    }

    pub(super) fn spot(&self, env: &Env) -> Spot {
        let path = format!("{}{}", env.prefix, self.node.step.id);
        Spot { node: self.node.index, path, page: 0, retries: 0 }
    }
}
