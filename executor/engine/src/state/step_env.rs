//! What surrounds the steps of one level: the rows they run for, the answer above them, the steps finished before, and
//! the context as they see it.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_plan::{TimeWindow, Value};

use crate::state::context::{Context, ContextChanges, ContextTooLarge};
use crate::state::cursor_store::CursorValues;

/// The surroundings of a sequence of steps.
pub(crate) struct StepEnv {
    /// What step paths begin with: empty at the root, `issues#2[17].` below a row.
    pub(crate) prefix: String,
    /// Levels above.
    pub(crate) nesting: u32,
    /// Where these steps are is part of every checkpoint. What lies below a row is begun again with its row.
    pub(crate) durable: bool,
    /// The enclosing step's answer.
    pub(crate) parent: Value,
    /// Its body as it came, where that is JSON.
    pub(crate) parent_text: Option<Bytes>,
    /// Rows and items around, outermost first.
    pub(crate) items: Vec<Value>,
    /// The innermost one as it came, where it is a row.
    pub(crate) item_text: Option<Bytes>,
    /// Number of the innermost one.
    pub(crate) item_index: Option<u64>,
    /// The innermost slice around.
    pub(crate) window: Value,
    /// The innermost cursor around.
    pub(crate) cursor: Value,
    /// The context with the writes of these steps.
    pub(crate) context: Context,
    /// Those writes; of the root only since the last place.
    pub(crate) writes: ContextChanges,
    /// Cursors to be saved with the row that these steps are of; empty where they are durable.
    pub(crate) cursors: CursorValues,
    pub(crate) finished: FinishedSteps,
}

impl StepEnv {
    /// The root's.
    pub(crate) fn root(context: Context, finished: BTreeMap<String, Value>) -> StepEnv {
        StepEnv {
            prefix: String::new(),
            nesting: 0,
            durable: true,
            parent: Value::null(),
            parent_text: None,
            items: Vec::new(),
            item_text: None,
            item_index: None,
            window: Value::null(),
            cursor: Value::null(),
            context,
            writes: ContextChanges::new(),
            cursors: CursorValues::new(),
            finished: FinishedSteps::new(finished),
        }
    }

    /// Surroundings one level deeper, with no writes of their own yet.
    pub(crate) fn below(&self, prefix: String, durable: bool) -> StepEnv {
        StepEnv {
            prefix,
            nesting: self.nesting + 1,
            durable: self.durable && durable,
            parent: self.parent.clone(),
            parent_text: self.parent_text.clone(),
            items: self.items.clone(),
            item_text: self.item_text.clone(),
            item_index: self.item_index,
            window: self.window.clone(),
            cursor: self.cursor.clone(),
            context: self.context.clone(),
            writes: ContextChanges::new(),
            cursors: CursorValues::new(),
            finished: self.finished.as_outer(),
        }
    }

    /// The same for an item of a `for_each`: on the same level, with the item innermost.
    pub(crate) fn with_item(&self, index: u64, item: Value) -> StepEnv {
        let mut env = self.below(self.prefix.clone(), true);
        env.nesting = self.nesting;
        env.push_item(index, item, None);
        env
    }

    pub(crate) fn push_item(&mut self, index: u64, item: Value, text: Option<Bytes>) {
        self.items.push(item);
        self.item_text = text;
        self.item_index = Some(index);
    }

    /// Takes the writes of a row or item over.
    pub(crate) fn merge(&mut self, writes: ContextChanges) -> Result<(), ContextTooLarge> {
        if writes.is_empty() {
            return Ok(());
        }
        let (context, changes) = self.context.with_changes(writes)?;
        self.take(context, changes);
        Ok(())
    }

    /// Takes the context over as it is after some writes.
    pub(crate) fn take(&mut self, context: Context, mut changes: ContextChanges) {
        self.context = context;
        crate::state::context::append(&mut self.writes, &mut changes);
    }
}

/// Values of finished steps that later ones read.
#[derive(Clone)]
pub(crate) struct FinishedSteps {
    values: BTreeMap<String, Value>,
    /// All of them as one object, for scopes.
    object: Value,
    /// Those of this level, as opposed to the outer ones'.
    own: Vec<String>,
}

impl FinishedSteps {
    pub(crate) fn new(values: BTreeMap<String, Value>) -> FinishedSteps {
        let own = values.keys().cloned().collect();
        let mut finished = FinishedSteps { values, object: Value::null(), own };
        finished.refresh();
        finished
    }

    pub(crate) fn insert(&mut self, id: &str, value: Value) {
        if !self.own.iter().any(|known| known == id) {
            self.own.push(id.to_owned());
        }
        self.values.insert(id.to_owned(), value);
        self.refresh();
    }

    pub(crate) fn object(&self) -> &Value {
        &self.object
    }

    /// What was finished on this level.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.own.iter().filter_map(|id| Some((id.as_str(), self.values.get(id)?)))
    }

    /// A level deeper nothing is its own.
    pub(crate) fn as_outer(&self) -> FinishedSteps {
        FinishedSteps { own: Vec::new(), ..self.clone() }
    }

    fn refresh(&mut self) {
        self.object = Value::object(self.values.iter().map(|(id, value)| (id.as_str(), value.clone())));
    }
}

/// A slice of a window as scopes see it.
pub(crate) fn window_value(
    window: &TimeWindow,
    from: chrono::DateTime<chrono::Utc>,
    to: chrono::DateTime<chrono::Utc>,
) -> Value {
    Value::object([("from", window.format.spell(from)), ("to", window.format.spell(to))])
}
