//! Conversions between values and the JSON text that checkpoints hold.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_plan::Value;
use serde_json::value::RawValue;

use crate::checkpoint::error::CheckpointError;

/// JSON text, copied into and out of a checkpoint unchanged.
pub(crate) type RawJson = Box<RawValue>;

/// Checks that bytes are JSON text, and copies them.
pub(crate) fn raw_json(bytes: &[u8]) -> Result<RawJson, CheckpointError> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Copies JSON text into bytes.
pub(crate) fn to_bytes(raw: &RawValue) -> Bytes {
    Bytes::copy_from_slice(raw.get().as_bytes())
}

/// Copies JSON text into bytes; JSON null becomes `None`.
pub(crate) fn to_bytes_unless_null(raw: &RawValue) -> Option<Bytes> {
    (raw.get() != "null").then(|| to_bytes(raw))
}

/// Writes a value as JSON text.
pub(crate) fn encode_value(value: &Value) -> Result<RawJson, CheckpointError> {
    let json =
        String::from_utf8(value.to_json()).map_err(|error| CheckpointError::Json(error.to_string()))?;
    Ok(RawValue::from_string(json)?)
}

/// Writes a value as JSON text, or nothing if it is null.
pub(crate) fn encode_unless_null(value: &Value) -> Result<Option<RawJson>, CheckpointError> {
    if value.is_null() { Ok(None) } else { encode_value(value).map(Some) }
}

/// Reads a value from JSON text.
pub(crate) fn decode_value(raw: &RawValue) -> Result<Value, CheckpointError> {
    Value::parse(raw.get().as_bytes()).map_err(|error| CheckpointError::Json(error.to_string()))
}

/// Reads a value from JSON text; a missing one is null.
pub(crate) fn decode_or_null(raw: Option<&RawValue>) -> Result<Value, CheckpointError> {
    raw.map_or_else(|| Ok(Value::null()), decode_value)
}

/// Writes several values as JSON text.
pub(crate) fn encode_map(
    values: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, RawJson>, CheckpointError> {
    values.iter().map(|(name, value)| Ok((name.clone(), encode_value(value)?))).collect()
}

/// Reads several values from JSON text.
pub(crate) fn decode_map(
    values: &BTreeMap<String, RawJson>,
) -> Result<BTreeMap<String, Value>, CheckpointError> {
    values.iter().map(|(name, value)| Ok((name.clone(), decode_value(value)?))).collect()
}
