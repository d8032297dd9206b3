//! What rows and items leave to whoever runs them, between the tree and its place: context writes and cursors.

use std::collections::BTreeMap;

use super::context::Changes;
use crate::checkpoint::{Carried, CursorPlace, PlaceError, json};
use crate::job::{CursorKey, CursorKind};
use crate::output::CursorChange;

/// As a place keeps them.
pub(super) fn place(writes: &Changes, cursors: &[CursorChange]) -> Result<Carried, PlaceError> {
    let write = |(name, value): &(String, Option<bytes::Bytes>)| {
        Ok((name.clone(), json(value.as_deref().unwrap_or(b"null"))?))
    };
    let cursor = |change: &CursorChange| {
        Ok(CursorPlace {
            validator: change.key.kind == CursorKind::Validator,
            step: change.key.step.clone(),
            item: change.key.item.clone(),
            json: json(&change.json)?,
        })
    };
    Ok(Carried {
        writes: writes.iter().map(write).collect::<Result<BTreeMap<_, _>, PlaceError>>()?,
        cursors: cursors.iter().map(cursor).collect::<Result<_, PlaceError>>()?,
    })
}

/// The reverse.
pub(super) fn restore(carried: Carried) -> (Changes, Vec<CursorChange>) {
    let writes = carried.writes.into_iter().map(|(name, value)| {
        let text = value.get();
        (name, (text != "null").then(|| bytes::Bytes::copy_from_slice(text.as_bytes())))
    });
    let cursors = carried.cursors.into_iter().map(|cursor| CursorChange {
        key: CursorKey {
            kind: if cursor.validator { CursorKind::Validator } else { CursorKind::Cursor },
            step: cursor.step,
            item: cursor.item,
        },
        json: bytes::Bytes::copy_from_slice(cursor.json.get().as_bytes()),
    });
    (writes.collect(), cursors.collect())
}
