//! The contents of a checkpoint as its executor sends it, and the checks of its bounds.

use orchid_common::limits::{CONTEXT_FIELD_MAX_BYTES, FINISHED_STEPS_MAX_BYTES, RESUME_STATE_MAX_BYTES};
use orchid_domain::cursor;
use orchid_domain::execution::ExecutionEvent;
use serde_json::value::RawValue;

use crate::commands::executions::progress::ExecutionProgress;
use crate::commands::fleet::lease_results::InvalidItem;
use crate::store::executions::locked::LockedExecution;
use crate::store::fleet::cursors::CursorKey;

/// Maximum bytes of a context field's name. It is part of a database index, whose entries are
/// bounded.
const CONTEXT_NAME_MAX_BYTES: usize = 1024;

/// A context field that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextChange {
    /// Name of the field.
    pub name: String,
    /// New value as JSON text; none removes the field.
    pub json: Option<Vec<u8>>,
}

/// A cursor that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorChange {
    /// The cursor.
    pub key: CursorKey,
    /// New value as JSON text.
    pub json: Vec<u8>,
}

/// The progress of one lease, as far as Kafka acknowledged it.
#[derive(Clone, Debug, Default)]
pub struct CheckpointUpdate {
    /// Number of the checkpoint, higher than any before of the execution.
    pub seq: i64,
    /// Resume state, opaque to the server.
    pub resume_state: Vec<u8>,
    /// Values of finished steps, opaque to the server; none when unchanged.
    pub finished_steps: Option<Vec<u8>>,
    /// Context fields that changed since the last checkpoint.
    pub context_changes: Vec<ContextChange>,
    /// Cursors that changed since the last checkpoint.
    pub cursor_changes: Vec<CursorChange>,
    /// Progress of the execution over all its attempts.
    pub progress: ExecutionProgress,
    /// Running time of the attempt, in milliseconds.
    pub attempt_ms: i64,
    /// True if an upstream works for the execution, which a cancel has to tell; none when
    /// unchanged.
    pub needs_upstream_cancel: Option<bool>,
}

impl CheckpointUpdate {
    /// Returns the event of accepting this checkpoint.
    pub(in crate::commands::fleet) fn acceptance(&self, execution: &LockedExecution) -> ExecutionEvent {
        let needs_upstream_cancel = self.needs_upstream_cancel.unwrap_or(execution.needs_upstream_cancel);
        ExecutionEvent::CheckpointAccepted { needs_upstream_cancel }
    }

    /// Rejects what is larger than the protocol allows, and text that is not JSON.
    pub(in crate::commands::fleet) fn check(&self) -> Result<(), InvalidItem> {
        // The engine stops at the same limits with an error that names the step. These hold against
        // any other sender.
        let resume_state = self.resume_state.len();
        if resume_state > RESUME_STATE_MAX_BYTES {
            return Err(too_large(
                "CHECKPOINT_TOO_LARGE",
                format!("resume_state has {resume_state} bytes, at most {RESUME_STATE_MAX_BYTES}"),
            ));
        }
        let finished = self.finished_steps.as_ref().map_or(0, Vec::len);
        if finished > FINISHED_STEPS_MAX_BYTES {
            return Err(too_large(
                "CHECKPOINT_TOO_LARGE",
                format!("finished_steps has {finished} bytes, at most {FINISHED_STEPS_MAX_BYTES}"),
            ));
        }
        self.context_changes.iter().try_for_each(ContextChange::check)?;
        self.cursor_changes.iter().try_for_each(CursorChange::check)
    }
}

impl ContextChange {
    fn check(&self) -> Result<(), InvalidItem> {
        let Self { name, json } = self;
        if name.len() > CONTEXT_NAME_MAX_BYTES {
            return Err(too_large(
                "CONTEXT_TOO_LARGE",
                format!("a field has a name of {} bytes, at most {CONTEXT_NAME_MAX_BYTES}", name.len()),
            ));
        }
        // Postgres refuses NUL in text.
        if name.contains('\0') {
            return Err(InvalidItem::malformed(format!("field {name:?}: a name cannot contain NUL")));
        }
        let Some(json) = json else { return Ok(()) };
        if json.len() > CONTEXT_FIELD_MAX_BYTES {
            return Err(too_large(
                "CONTEXT_TOO_LARGE",
                format!("field {name:?} has {} bytes, at most {CONTEXT_FIELD_MAX_BYTES}", json.len()),
            ));
        }
        check_json(json, || format!("field {name:?} is not JSON"))
    }
}

impl CursorChange {
    fn check(&self) -> Result<(), InvalidItem> {
        let CursorKey { kind: _, step, item } = &self.key;
        cursor::check(step, item.as_bytes(), &self.json)?;
        // Postgres refuses NUL in text. Items may hold it, because their column is bytes.
        if step.contains('\0') {
            let detail = format!("cursor of step {step:?}: a step id cannot contain NUL");
            return Err(InvalidItem::malformed(detail));
        }
        check_json(&self.json, || format!("cursor of step {step:?} is not JSON"))
    }
}

/// Returns the reason of an item that exceeds a limit. Its text begins with the code, for executors
/// that read nothing else.
fn too_large(limit_code: &'static str, detail: String) -> InvalidItem {
    InvalidItem { limit_code, detail: format!("{limit_code}: {detail}") }
}

/// Checks the syntax alone: a parsed number would lose digits, and nothing here needs the value.
fn check_json(text: &[u8], problem: impl FnOnce() -> String) -> Result<(), InvalidItem> {
    match serde_json::from_slice::<&RawValue>(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(InvalidItem::malformed(problem())),
    }
}

#[cfg(test)]
mod tests {
    use orchid_common::limits::{CURSOR_KEY_MAX_BYTES, CURSOR_MAX_BYTES};
    use orchid_domain::cursor::CursorKind;

    use super::{
        CONTEXT_FIELD_MAX_BYTES, CheckpointUpdate, ContextChange, CursorChange, CursorKey,
        RESUME_STATE_MAX_BYTES,
    };

    #[test]
    fn checkpoint_too_large_or_not_json_is_refused_by_name() {
        let field = |json: &[u8]| CheckpointUpdate {
            context_changes: vec![ContextChange { name: "since".to_owned(), json: Some(json.to_vec()) }],
            ..CheckpointUpdate::default()
        };
        let large = CheckpointUpdate {
            resume_state: vec![b' '; RESUME_STATE_MAX_BYTES + 1],
            ..CheckpointUpdate::default()
        };
        let refused = large.check().unwrap_err();
        assert_eq!(refused.limit_code, "CHECKPOINT_TOO_LARGE");
        assert!(refused.detail.starts_with("CHECKPOINT_TOO_LARGE: "), "{refused:?}");
        let refused = field(&vec![b'1'; CONTEXT_FIELD_MAX_BYTES + 1]).check().unwrap_err();
        assert!(refused.limit_code == "CONTEXT_TOO_LARGE" && refused.detail.contains("\"since\""));
        let refused = field(b"{").check().unwrap_err();
        assert_eq!((refused.limit_code, refused.detail.as_str()), ("", "field \"since\" is not JSON"));
        assert_eq!(field(b"12345678901234567890123").check(), Ok(()));
    }

    #[test]
    fn context_name_that_no_row_can_hold_is_refused() {
        for name in ["a\0b".to_owned(), "n".repeat(1025)] {
            let change = ContextChange { name, json: None };
            assert!(change.check().is_err(), "{change:?}");
        }
    }

    #[test]
    fn cursor_too_large_or_not_json_is_refused_by_its_step() {
        let check = |step: &str, item: &str, json: &[u8]| {
            let key = CursorKey { kind: CursorKind::Cursor, step: step.to_owned(), item: item.to_owned() };
            CursorChange { key, json: json.to_vec() }.check()
        };
        assert_eq!(check("orders", "a\0b", br#""2026-01-01""#), Ok(()));
        let long = check("orders", &"i".repeat(CURSOR_KEY_MAX_BYTES), b"1").unwrap_err();
        assert!(long.detail.contains("\"orders\""), "{long:?}");
        assert_eq!(long.limit_code, "CURSOR_TOO_LARGE");
        let large = check("orders", "", &vec![b'1'; CURSOR_MAX_BYTES + 1]).unwrap_err();
        assert_eq!(large.limit_code, "CURSOR_TOO_LARGE");
        assert_eq!(check("orders", "", b"{").unwrap_err().detail, "cursor of step \"orders\" is not JSON");
        assert!(check("or\0ders", "", b"1").is_err());
    }
}
