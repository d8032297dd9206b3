//! The cursors and validators that an execution does not save, because data behind them failed.

use serde::{Deserialize, Serialize};

/// The held cursors, or the held validators, of one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeldCursorsState {
    pub(crate) validator: bool,
    pub(crate) step: String,
    /// Step path of the first failed row.
    pub(crate) row: String,
    /// Fingerprints of the held items; empty if all cursors of the step are held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) items: Vec<u64>,
}
