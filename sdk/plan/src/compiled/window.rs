//! `window`: a time range, walked in slices around the loop.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{Expr, Value};

/// A time range in half-open slices, in order; the loop runs whole in each.
#[derive(Clone, Debug)]
pub struct Window {
    /// Where the range begins; none: at the cursor.
    pub from: Option<Expr>,
    /// Where it ends, exclusive; none: at `meta.started_at`.
    pub to: Option<Expr>,
    /// Length of a slice; the last one may be shorter.
    pub step: TimeDelta,
    /// How the ends are spelled.
    pub format: TimeFormat,
    /// The parameter of a slice's beginning.
    pub from_param: Option<String>,
    /// The parameter of a slice's end.
    pub to_param: Option<String>,
    /// Pointer of the object: `/definition/step/window`.
    pub pointer: String,
}

/// How a time is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 in UTC, whole seconds, `Z`.
    Rfc3339,
    /// Seconds of the epoch, a number.
    EpochSeconds,
    /// Milliseconds of the epoch, a number.
    EpochMillis,
    /// `2026-01-31`.
    Date,
    /// A `strftime` pattern, checked when the plan was saved.
    Strftime(String),
}

impl TimeFormat {
    /// The time as it is sent, and as it stands in `window.from` and `window.to`.
    #[must_use]
    pub fn spell(&self, _time: DateTime<Utc>) -> Value {
        Value::null()
    }
}

impl Window {
    /// The time that a value of `from` or `to` names: RFC 3339, a date, or seconds or milliseconds of the epoch.
    ///
    /// # Errors
    /// In words, where the value names no time.
    pub fn bound(&self, _value: &Value) -> Result<DateTime<Utc>, String> {
        Err("not served yet".to_owned())
    }
}
