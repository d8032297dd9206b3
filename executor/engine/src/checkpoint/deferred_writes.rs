//! Context and cursor writes that are saved only together with the row or item they belong to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkpoint::json::RawJson;

/// Writes of rows or items whose enclosing row or item has not ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeferredWrites {
    /// Context fields; null for a removed field.
    #[serde(rename = "writes", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) context: BTreeMap<String, RawJson>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cursors: Vec<CursorWrite>,
}

impl DeferredWrites {
    pub(crate) fn is_empty(&self) -> bool {
        self.context.is_empty() && self.cursors.is_empty()
    }
}

/// A new value of a cursor or validator that is not saved yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CursorWrite {
    pub(crate) validator: bool,
    pub(crate) step: String,
    pub(crate) item: String,
    pub(crate) json: RawJson,
}
