//! Integers for the wire, which has only signed ones.

use std::time::Duration;

/// Converts a count; values that do not fit become `i64::MAX`.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Converts a size or a number of slots; values that do not fit become `i32::MAX`.
pub(crate) fn to_i32(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Returns the whole milliseconds of a duration; values that do not fit become `i64::MAX`.
pub(crate) fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
