//! The values around an async job that its `cancel` step reads, saved with the job.
//!
//! An execution that is cancelled while it is parked has no rows or responses around the job, and
//! must not request them again only to cancel.

use orchid_plan::{ReadPaths, Step, Value};

use crate::checkpoint::cancel_scope::CancelScopeState;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{decode_or_null, decode_value, encode_unless_null, encode_value};
use crate::checkpoint::prune::prune;
use crate::program::required_fields::elements;
use crate::state::step_env::StepEnv;

/// The rows, items, parent response, window and cursor that a `cancel` step reads.
#[derive(Clone)]
pub(crate) struct CancelScope {
    items: Vec<Value>,
    item_index: Option<u64>,
    parent: Value,
    window: Value,
    cursor: Value,
}

impl CancelScope {
    /// Copies the parts of the surroundings that the step reads.
    pub(crate) fn of(env: &StepEnv, step: &Step) -> Self {
        let read = |value: &Value, name: &str| part(&step.reads, value, name);
        let last = env.items.len().saturating_sub(1);
        let items = env.items.iter().enumerate().map(|(number, item)| match number {
            // Reading `items` may mean any part of any item; `item` only means the innermost one.
            // Items that nothing reads become null, so that the indexes of `items` stay right.
            _ if step.reads.overlaps(&["items"]) => item.clone(),
            number if number == last => read(item, "item"),
            _ => Value::null(),
        });
        Self {
            items: items.collect(),
            item_index: env.item_index,
            parent: read(&env.parent, "parent"),
            window: read(&env.window, "window"),
            cursor: read(&env.cursor, "cursor"),
        }
    }

    /// Restores the values into the surroundings of a step.
    pub(crate) fn apply(self, env: &mut StepEnv) {
        // Exhaustive, so that a new value cannot be forgotten here.
        let Self { items, item_index, parent, window, cursor } = self;
        (env.items, env.item_index) = (items, item_index);
        (env.parent, env.window, env.cursor) = (parent, window, cursor);
    }

    /// Returns the state for a checkpoint.
    pub(crate) fn state(&self) -> Result<CancelScopeState, CheckpointError> {
        Ok(CancelScopeState {
            items: self.items.iter().map(encode_value).collect::<Result<_, _>>()?,
            item_index: self.item_index,
            parent: encode_unless_null(&self.parent)?,
            window: encode_unless_null(&self.window)?,
            cursor: encode_unless_null(&self.cursor)?,
        })
    }

    /// Restores the values from a checkpoint.
    pub(crate) fn resume(state: &CancelScopeState) -> Result<Self, CheckpointError> {
        Ok(Self {
            items: state.items.iter().map(|item| decode_value(item)).collect::<Result<_, _>>()?,
            item_index: state.item_index,
            parent: decode_or_null(state.parent.as_deref())?,
            window: decode_or_null(state.window.as_deref())?,
            cursor: decode_or_null(state.cursor.as_deref())?,
        })
    }
}

/// Returns the part of a value that is read under this name.
fn part(reads: &ReadPaths, value: &Value, name: &str) -> Value {
    prune(value, elements(reads, &[name]).as_deref())
}
