//! The surroundings of the steps of one level: enclosing rows, the parent response, finished steps,
//! and the context as these steps see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::{TimeWindow, Value};
use url::Url;

use crate::state::buffer_meter::MeteredBuffer;
use crate::state::context::{Context, ContextChanges, ContextTooLarge};
use crate::state::cursor_store::CursorValues;
use crate::state::enclosing_step::EnclosingStep;

/// The surroundings of a sequence of steps.
pub(crate) struct StepEnv {
    /// Prefix of step paths: empty at the top level, `issues#2[17].` below a row.
    pub(crate) prefix: String,
    /// True for the top-level steps themselves, outside any item.
    pub(crate) is_root: bool,
    /// Number of enclosing levels.
    pub(crate) nesting: u32,
    /// True if every checkpoint includes the position of these steps. Steps below a row start again
    /// with their row.
    pub(crate) durable: bool,
    /// URL of the enclosing step's page.
    pub(crate) home: Option<Arc<Url>>,
    /// URL against which relative ones are resolved, in the steps of an async job.
    pub(crate) base_url: Option<Arc<Url>>,
    /// Response of the enclosing step.
    pub(crate) parent: Value,
    /// Its body as received, if that is JSON.
    pub(crate) parent_text: Option<Bytes>,
    /// Enclosing rows and items, outermost first.
    pub(crate) items: Vec<Value>,
    /// The innermost one as received, if it is a row.
    pub(crate) item_text: Option<Bytes>,
    /// Counts its value.
    item_buffer: Option<Arc<MeteredBuffer>>,
    /// Index of the innermost one.
    pub(crate) item_index: Option<u64>,
    /// The innermost enclosing step that saves a cursor, validators or context.
    pub(crate) enclosing: Option<Arc<EnclosingStep>>,
    /// The innermost enclosing slice of a window.
    pub(crate) window: Value,
    /// The innermost enclosing cursor.
    pub(crate) cursor: Value,
    /// The context with the writes of these steps.
    pub(crate) context: Context,
    /// Those writes; at the top level, only since the last recorded resume state.
    pub(crate) writes: ContextChanges,
    /// Cursors to be saved with the enclosing row, or once the steps around it have ended. At the
    /// top level there are none.
    pub(crate) cursors: CursorValues,
    pub(crate) finished: FinishedSteps,
}

impl StepEnv {
    /// Creates the surroundings of the top-level steps.
    pub(crate) fn root(context: Context, finished: BTreeMap<String, Value>) -> Self {
        Self {
            prefix: String::new(),
            is_root: true,
            nesting: 0,
            durable: true,
            home: None,
            base_url: None,
            parent: Value::null(),
            parent_text: None,
            items: Vec::new(),
            item_text: None,
            item_buffer: None,
            item_index: None,
            enclosing: None,
            window: Value::null(),
            cursor: Value::null(),
            context,
            writes: ContextChanges::new(),
            cursors: CursorValues::new(),
            finished: FinishedSteps::new(finished),
        }
    }

    /// Creates surroundings one level deeper, without writes.
    pub(crate) fn below(&self, prefix: String, durable: bool) -> Self {
        Self {
            prefix,
            is_root: false,
            nesting: self.nesting + 1,
            // Below a row nothing is durable, however deep.
            durable: self.durable && durable,
            home: self.home.clone(),
            base_url: None,
            parent: self.parent.clone(),
            parent_text: self.parent_text.clone(),
            items: self.items.clone(),
            item_text: self.item_text.clone(),
            item_buffer: self.item_buffer.clone(),
            item_index: self.item_index,
            enclosing: self.enclosing.clone(),
            window: self.window.clone(),
            cursor: self.cursor.clone(),
            context: self.context.clone(),
            writes: ContextChanges::new(),
            cursors: CursorValues::new(),
            finished: self.finished.as_outer(),
        }
    }

    /// Returns a copy for the sub-steps of one row.
    pub(crate) fn for_row(&self, prefix: String) -> Self {
        let mut env = self.below(prefix, true);
        env.nesting = self.nesting;
        env
    }

    /// Creates the surroundings of a `for_each` item: the same level, with the item as the
    /// innermost.
    pub(crate) fn with_item(&self, index: u64, item: Value) -> Self {
        let mut env = self.below(self.prefix.clone(), true);
        env.nesting = self.nesting;
        env.base_url.clone_from(&self.base_url);
        env.push_item(index, item);
        env
    }

    /// Adds a row as the innermost item: its value, what counts the memory of that, and its text.
    pub(crate) fn push_row(
        &mut self,
        index: u64,
        row: Value,
        buffer: Option<Arc<MeteredBuffer>>,
        text: Bytes,
    ) {
        self.push_item(index, row);
        self.item_text = Some(text);
        self.item_buffer = buffer;
    }

    fn push_item(&mut self, index: u64, item: Value) {
        self.items.push(item);
        self.item_text = None;
        self.item_index = Some(index);
    }

    /// Merges the context writes of a row or item.
    ///
    /// # Errors
    /// If the context becomes too large.
    pub(crate) fn merge(&mut self, writes: ContextChanges) -> Result<(), ContextTooLarge> {
        // Most rows write nothing: the shared context is not touched then.
        if writes.is_empty() {
            return Ok(());
        }
        let (context, changes) = self.context.with_changes(writes)?;
        self.take(context, changes);
        Ok(())
    }

    /// Replaces the context and records the changes that led to it.
    pub(crate) fn take(&mut self, context: Context, mut changes: ContextChanges) {
        self.context = context;
        crate::state::context::append(&mut self.writes, &mut changes);
    }
}

/// The values of finished steps that later steps read.
#[derive(Clone)]
pub(crate) struct FinishedSteps {
    values: BTreeMap<String, Value>,
    /// All values as one object, for expressions.
    object: Value,
    /// Ids of the steps of this level; the others are of enclosing levels.
    own: Vec<String>,
}

impl FinishedSteps {
    pub(crate) fn new(values: BTreeMap<String, Value>) -> Self {
        let own = values.keys().cloned().collect();
        let mut finished = Self { values, object: Value::null(), own };
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

    /// Returns the values of this level.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.own.iter().filter_map(|id| Some((id.as_str(), self.values.get(id)?)))
    }

    /// Returns the values as a deeper level sees them: none is its own.
    pub(crate) fn as_outer(&self) -> Self {
        Self { own: Vec::new(), ..self.clone() }
    }

    fn refresh(&mut self) {
        // Built when a step finishes, not for every expression that reads `steps`.
        self.object = Value::object(self.values.iter().map(|(id, value)| (id.as_str(), value.clone())));
    }
}

/// Returns a slice of a window as expressions see it.
pub(crate) fn window_value(
    window: &TimeWindow,
    from: chrono::DateTime<chrono::Utc>,
    to: chrono::DateTime<chrono::Utc>,
) -> Value {
    let [from, to] = window.spell_ends(from, to);
    Value::object([("from", from), ("to", to)])
}
