//! What rows and items leave to whoever runs them, between the tree and its place: context writes and cursors.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::context::Changes;
use super::kept::Cursors;
use crate::attempt::{CursorKey, CursorKind};
use crate::checkpoint::{Carried, CursorPlace, PlaceError, json};

/// As a place keeps them.
pub(super) fn place<'c>(
    writes: &Changes,
    cursors: impl IntoIterator<Item = (&'c CursorKey, &'c Bytes)>,
) -> Result<Carried, PlaceError> {
    let write = |(name, value): &(String, Option<Bytes>)| {
        Ok((name.clone(), json(value.as_deref().unwrap_or(b"null"))?))
    };
    let cursor = |(key, value): (&CursorKey, &Bytes)| {
        Ok(CursorPlace {
            validator: key.kind == CursorKind::Validator,
            step: key.step.clone(),
            item: key.item.clone(),
            json: json(value)?,
        })
    };
    Ok(Carried {
        writes: writes.iter().map(write).collect::<Result<BTreeMap<_, _>, PlaceError>>()?,
        cursors: cursors.into_iter().map(cursor).collect::<Result<_, PlaceError>>()?,
    })
}

/// The reverse.
pub(super) fn restore(carried: Carried) -> (Changes, Cursors) {
    let writes = carried.writes.into_iter().map(|(name, value)| {
        let text = value.get();
        (name, (text != "null").then(|| Bytes::copy_from_slice(text.as_bytes())))
    });
    let cursors = carried.cursors.into_iter().map(|cursor| {
        let kind = if cursor.validator { CursorKind::Validator } else { CursorKind::Cursor };
        let key = CursorKey { kind, step: cursor.step, item: cursor.item };
        (key, Bytes::copy_from_slice(cursor.json.get().as_bytes()))
    });
    (writes.collect(), cursors.collect())
}
