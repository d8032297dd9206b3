//! Parts of a loop's state: the page to fetch, the window slice, the watermark.

use serde::{Deserialize, Serialize};

use crate::checkpoint::json::RawJson;

/// The page that a request asks for, as pagination names it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PageTarget {
    /// The first page, or any page of a loop without pagination.
    #[default]
    #[serde(rename = "start")]
    First,
    /// A page number.
    Page(u64),
    /// A row offset.
    Offset(u64),
    /// A cursor of the upstream, as JSON.
    Cursor(String),
    /// An absolute URL.
    Url(String),
}

/// The latest answer of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatestAnswer {
    /// Fingerprint of its body.
    pub(crate) hash: u64,
    /// Number of pages in a row that it was the answer to.
    pub(crate) times: u64,
}

/// The window slice of a loop: its start, and the whole range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowState {
    /// Milliseconds since the Unix epoch.
    pub(crate) from_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub(crate) to_ms: i64,
    /// Start of the range, from which the ends of slices count; `None` if it is `from_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_ms: Option<i64>,
    /// Number of slices before this one, counted from `start_ms`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) index: u64,
}

/// Returns whether a number is left out of a checkpoint.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The value from which a step reads, and the furthest value it has read since.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatermarkState {
    pub(crate) item: String,
    #[serde(rename = "began")]
    pub(crate) start: RawJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) furthest: Option<RawJson>,
}
