//! What the `cancel` of an async job reads of the rows and steps around it, kept with the job: a run that is cancelled while
//! it is handed back has none of them, and asks no upstream for them again.

use orchid_plan::{ReadPaths, Step, Value};

use super::env::Env;
use crate::checkpoint::{AroundPlace, Json, PlaceError, prune, raw, unraw};

#[derive(Clone)]
pub(super) struct Around {
    items: Vec<Value>,
    item_index: Option<u64>,
    parent: Value,
    window: Value,
    cursor: Value,
}

impl Around {
    /// What the step reads.
    pub(super) fn of(env: &Env, step: &Step) -> Around {
        let read = |value: &Value, name: &str| part(&step.reads, value, name);
        let last = env.items.len().saturating_sub(1);
        let items = env.items.iter().enumerate().map(|(number, item)| match number {
            _ if step.reads.overlaps(&["items"]) => item.clone(),
            number if number == last => read(item, "item"),
            _ => Value::null(),
        });
        Around {
            items: items.collect(),
            item_index: env.item_index,
            parent: read(&env.parent, "parent"),
            window: read(&env.window, "window"),
            cursor: read(&env.cursor, "cursor"),
        }
    }

    /// Lets a step see it.
    pub(super) fn lay(self, env: &mut Env) {
        let Around { items, item_index, parent, window, cursor } = self;
        (env.items, env.item_index) = (items, item_index);
        (env.parent, env.window, env.cursor) = (parent, window, cursor);
    }

    pub(super) fn place(&self) -> Result<AroundPlace, PlaceError> {
        let some = |value: &Value| if value.is_null() { Ok(None) } else { raw(value).map(Some) };
        Ok(AroundPlace {
            items: self.items.iter().map(raw).collect::<Result<_, _>>()?,
            item_index: self.item_index,
            parent: some(&self.parent)?,
            window: some(&self.window)?,
            cursor: some(&self.cursor)?,
        })
    }

    /// The reverse.
    pub(super) fn at(place: &AroundPlace) -> Result<Around, PlaceError> {
        let value = |json: &Option<Json>| json.as_deref().map_or_else(|| Ok(Value::null()), unraw);
        Ok(Around {
            items: place.items.iter().map(|item| unraw(item)).collect::<Result<_, _>>()?,
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
