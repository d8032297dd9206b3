//! The rows and steps around an async job, as far as the job's `cancel` request reads them.

use serde::{Deserialize, Serialize};

use crate::checkpoint::json::RawJson;

/// Values that the `cancel` request of an async job reads from around the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelScopeState {
    /// Enclosing rows and items, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) items: Vec<RawJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<RawJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<RawJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<RawJson>,
}
