//! Converts wire messages to the inputs of commands, and their results back. Both sides are
//! destructured exhaustively, so that a new field does not compile until it is converted.

pub(crate) mod config;
pub(crate) mod execution;
pub(crate) mod explain;
pub(crate) mod grant;
pub(crate) mod integration;
pub(crate) mod json;
pub(crate) mod lease;
pub(crate) mod plan;
pub(crate) mod schedule;
pub(crate) mod tenant;
mod text;
pub(crate) mod trigger;

use chrono::{DateTime, Utc};
use orchid_plan::Warning;
use orchid_proto::v1;
use prost_types::{FieldMask, Timestamp};
use tonic::Status;

use crate::api::error;
use crate::commands::update_mask::UpdateMask;
use crate::commands::{CommandError, Diagnostic};
use crate::store::error::StoreError;

/// Encodes a time.
pub(crate) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0) }
}

/// Decodes a time.
pub(crate) fn time(time: Timestamp, pointer: &str) -> Result<DateTime<Utc>, Status> {
    let Timestamp { seconds, nanos } = time;
    u32::try_from(nanos).ok().and_then(|nanos| DateTime::from_timestamp(seconds, nanos)).ok_or_else(|| {
        let diagnostic = Diagnostic::new(
            "INVALID_VALUE",
            pointer,
            format!("{seconds} s and {nanos} ns are not a valid time"),
        );
        error::invalid("INVALID_TIME", diagnostic)
    })
}

/// Returns the fields that an update changes: those of the mask, or all that were sent if it is
/// empty.
pub(crate) fn mask(
    mask: Option<FieldMask>,
    can_change: &[&str],
    set: &[(&str, bool)],
) -> Result<UpdateMask, Status> {
    let set: Vec<&str> = set.iter().filter(|(_, is_set)| *is_set).map(|(field, _)| *field).collect();
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    UpdateMask::parse(paths, can_change, &set).map_err(error::status)
}

/// Encodes a diagnostic.
pub(crate) fn diagnostic(diagnostic: Diagnostic) -> v1::Diagnostic {
    let Diagnostic { code, pointer, message, suggestion, position, in_scope } = diagnostic;
    v1::Diagnostic {
        code: code.to_owned(),
        pointer,
        message,
        suggestion: suggestion.unwrap_or_default(),
        position: position.and_then(|position| i32::try_from(position).ok()),
        in_scope,
    }
}

/// Encodes a warning about a plan.
pub(crate) fn warning(warning: Warning) -> v1::Warning {
    let Warning { code, pointer, message } = warning;
    v1::Warning { code: code.as_str().to_owned(), pointer, message }
}

/// Returns the status for a stored value that cannot be decoded: an internal error.
pub(crate) fn corrupt(what: &'static str, why: impl ToString) -> Status {
    error::status(CommandError::Store(StoreError::corrupt(what, why)))
}
