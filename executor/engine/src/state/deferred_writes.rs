//! Conversions between the writes of rows and items, and the form in which a checkpoint holds them.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::attempt::{CursorKey, CursorKind};
use crate::checkpoint::deferred_writes::{CursorWrite, DeferredWrites};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{raw_json, to_bytes, to_bytes_unless_null};
use crate::state::context::ContextChanges;
use crate::state::cursor_store::CursorValues;

/// Converts writes into their checkpoint form.
pub(crate) fn encode<'c>(
    context: &ContextChanges,
    cursors: impl IntoIterator<Item = (&'c CursorKey, &'c Bytes)>,
) -> Result<DeferredWrites, CheckpointError> {
    // Null represents a removed field: a context field is never null itself.
    let field = |(name, value): &(String, Option<Bytes>)| {
        Ok((name.clone(), raw_json(value.as_deref().unwrap_or(b"null"))?))
    };
    Ok(DeferredWrites {
        context: context.iter().map(field).collect::<Result<BTreeMap<_, _>, CheckpointError>>()?,
        cursors: encode_cursors(cursors)?,
    })
}

/// Converts cursor values into their checkpoint form.
pub(crate) fn encode_cursors<'c>(
    cursors: impl IntoIterator<Item = (&'c CursorKey, &'c Bytes)>,
) -> Result<Vec<CursorWrite>, CheckpointError> {
    let cursor = |(key, value): (&CursorKey, &Bytes)| {
        Ok(CursorWrite {
            validator: key.kind == CursorKind::Validator,
            step: key.step.clone(),
            item: key.item.clone(),
            json: raw_json(value)?,
        })
    };
    cursors.into_iter().map(cursor).collect()
}

/// Restores writes from their checkpoint form.
pub(crate) fn decode(writes: DeferredWrites) -> (ContextChanges, CursorValues) {
    let context = writes.context.into_iter().map(|(name, value)| (name, to_bytes_unless_null(&value)));
    (context.collect(), decode_cursors(writes.cursors))
}

/// Restores cursor values from their checkpoint form.
pub(crate) fn decode_cursors(cursors: Vec<CursorWrite>) -> CursorValues {
    let cursors = cursors.into_iter().map(|cursor| {
        let kind = if cursor.validator { CursorKind::Validator } else { CursorKind::Cursor };
        let key = CursorKey { kind, step: cursor.step, item: cursor.item };
        (key, to_bytes(&cursor.json))
    });
    cursors.collect()
}
