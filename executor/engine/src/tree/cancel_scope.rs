//! The values around an async job that its `cancel` request reads, kept with the job: an execution
//! that is cancelled while parked has none of its rows, and does not request them again for that.

use orchid_plan::{ReadPaths, Step, Value};

use crate::checkpoint::cancel_scope::CancelScopeState;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{RawJson, decode_value, encode_value};
use crate::checkpoint::prune::prune;
use crate::state::step_env::StepEnv;

#[derive(Clone)]
pub(crate) struct CancelScope {
    items: Vec<Value>,
    item_index: Option<u64>,
    parent: Value,
    window: Value,
    cursor: Value,
}

impl CancelScope {
    /// Copies what the step reads of its environment.
    pub(crate) fn of(env: &StepEnv, step: &Step) -> CancelScope {
        let read = |value: &Value, name: &str| part(&step.reads, value, name);
        let last = env.items.len().saturating_sub(1);
        let items = env.items.iter().enumerate().map(|(number, item)| match number {
            _ if step.reads.overlaps(&["items"]) => item.clone(),
            number if number == last => read(item, "item"),
            _ => Value::null(),
        });
        CancelScope {
            items: items.collect(),
            item_index: env.item_index,
            parent: read(&env.parent, "parent"),
            window: read(&env.window, "window"),
            cursor: read(&env.cursor, "cursor"),
        }
    }

    /// Puts the values into an environment.
    pub(crate) fn apply(self, env: &mut StepEnv) {
        let CancelScope { items, item_index, parent, window, cursor } = self;
        (env.items, env.item_index) = (items, item_index);
        (env.parent, env.window, env.cursor) = (parent, window, cursor);
    }

    pub(crate) fn state(&self) -> Result<CancelScopeState, CheckpointError> {
        let some = |value: &Value| if value.is_null() { Ok(None) } else { encode_value(value).map(Some) };
        Ok(CancelScopeState {
            items: self.items.iter().map(encode_value).collect::<Result<_, _>>()?,
            item_index: self.item_index,
            parent: some(&self.parent)?,
            window: some(&self.window)?,
            cursor: some(&self.cursor)?,
        })
    }

    /// Restores the values from a checkpoint.
    pub(crate) fn resume(place: &CancelScopeState) -> Result<CancelScope, CheckpointError> {
        let value = |json: &Option<RawJson>| json.as_deref().map_or_else(|| Ok(Value::null()), decode_value);
        Ok(CancelScope {
            items: place.items.iter().map(|item| decode_value(item)).collect::<Result<_, _>>()?,
            item_index: place.item_index,
            parent: value(&place.parent)?,
            window: value(&place.window)?,
            cursor: value(&place.cursor)?,
        })
    }
}

fn part(reads: &ReadPaths, value: &Value, name: &str) -> Value {
    let paths: Option<Vec<Vec<String>>> =
        reads.below(&[name]).map(|paths| paths.into_iter().map(<[String]>::to_vec).collect());
    prune(value, paths.as_deref())
}
