//! Reports, from the engine's values to the wire's items.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_engine::{
    Checkpoint, Counts, CursorChange, CursorKey, CursorKind, EndStatus, ExecutionEnd, ExecutionError,
    Progress, Warning,
};
use orchid_proto::executor::v1 as wire;

use crate::convert::integer::{to_i64, whole_ms};

/// The attempt that reports, and the order of its reports.
#[derive(Debug, Clone)]
pub struct CheckpointHeader {
    /// Token that authorizes the calls of the attempt.
    pub lease_token: Bytes,
    /// Sequence number, higher than any before of the execution.
    pub seq: i64,
    /// Running time of the attempt.
    pub running: Duration,
}

/// The reason for handing an execution back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseReason {
    /// The executor drains.
    Drained,
    /// The executor's fence is closed.
    SelfFenced,
    /// The attempt did not start.
    NeverStarted,
    /// This executor cannot compile or resume the execution.
    Unsupported,
}

/// Converts a new checkpoint.
pub(crate) fn checkpoint_item(header: &CheckpointHeader, checkpoint: Checkpoint) -> wire::CheckpointItem {
    let Checkpoint { resume_state, must_cancel, finished_steps, context_changes, cursor_changes, progress } =
        checkpoint;
    let changes = context_changes.into_iter().map(|(name, json)| wire::ContextChange { name, json });
    wire::CheckpointItem {
        lease_token: header.lease_token.clone(),
        seq: header.seq,
        resume_state,
        finished_steps,
        context_changes: changes.collect(),
        progress: Some(wire_progress(progress)),
        attempt_ms: whole_ms(header.running),
        cursor_changes: cursor_changes.into_iter().map(wire_cursor).collect(),
        needs_upstream_cancel: Some(must_cancel),
    }
}

/// Repeats the last resume state under a new seq. The control plane keeps everything else that was
/// saved with it: unset fields change nothing.
pub(crate) fn repeated_checkpoint_item(
    header: &CheckpointHeader,
    resume_state: Bytes,
    progress: Progress,
) -> wire::CheckpointItem {
    wire::CheckpointItem {
        lease_token: header.lease_token.clone(),
        seq: header.seq,
        resume_state,
        progress: Some(wire_progress(progress)),
        attempt_ms: whole_ms(header.running),
        ..wire::CheckpointItem::default()
    }
}

/// Creates the item of an attempt that saved nothing.
pub(crate) fn empty_checkpoint_item(lease_token: Bytes, running: Duration) -> wire::CheckpointItem {
    wire::CheckpointItem { lease_token, attempt_ms: whole_ms(running), ..wire::CheckpointItem::default() }
}

/// Converts the end of an execution.
pub(crate) fn complete_item(checkpoint: wire::CheckpointItem, end: ExecutionEnd) -> wire::CompleteItem {
    let ExecutionEnd { status, partial, complete, at_limit, error } = end;
    let outcome = match status {
        EndStatus::Succeeded => wire::ExecutionOutcome::Succeeded,
        EndStatus::Failed => wire::ExecutionOutcome::Failed,
        EndStatus::Aborted => wire::ExecutionOutcome::Aborted,
        EndStatus::Cancelled => wire::ExecutionOutcome::Cancelled,
    };
    wire::CompleteItem {
        checkpoint: Some(checkpoint),
        outcome: outcome.into(),
        partial,
        complete,
        at_limit,
        error: error.map(wire_error),
    }
}

/// Converts a park until `not_before`.
pub(crate) fn park_item(
    checkpoint: wire::CheckpointItem,
    not_before: DateTime<Utc>,
    reason: String,
) -> wire::ParkItem {
    let not_before = prost_types::Timestamp {
        seconds: not_before.timestamp(),
        // chrono counts a leap second as nanoseconds beyond the second, which a Timestamp forbids.
        nanos: i32::try_from(not_before.timestamp_subsec_nanos()).unwrap_or(0).min(999_999_999),
    };
    wire::ParkItem { checkpoint: Some(checkpoint), not_before: Some(not_before), reason }
}

/// Converts a release.
pub(crate) fn release_item(
    checkpoint: wire::CheckpointItem,
    reason: ReleaseReason,
    error: Option<ExecutionError>,
) -> wire::ReleaseItem {
    let reason = match reason {
        ReleaseReason::Drained => wire::ReleaseReason::Drained,
        ReleaseReason::SelfFenced => wire::ReleaseReason::SelfFenced,
        ReleaseReason::NeverStarted => wire::ReleaseReason::NeverStarted,
        ReleaseReason::Unsupported => wire::ReleaseReason::Unsupported,
    };
    wire::ReleaseItem { checkpoint: Some(checkpoint), reason: reason.into(), error: error.map(wire_error) }
}

fn wire_cursor(change: CursorChange) -> wire::Cursor {
    let CursorChange { key: CursorKey { kind, step, item }, json } = change;
    let kind = match kind {
        CursorKind::Cursor => wire::CursorKind::Cursor,
        CursorKind::Validator => wire::CursorKind::Validator,
    };
    wire::Cursor { kind: kind.into(), step, item, json }
}

fn wire_error(error: ExecutionError) -> wire::ExecutionError {
    let ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt } = error;
    wire::ExecutionError {
        class: class.as_str().to_owned(),
        code,
        message,
        pointer,
        status_code: status_code.map(i32::from),
        step_path,
        response_excerpt,
    }
}

fn wire_progress(progress: Progress) -> wire::ExecutionProgress {
    let Progress { counts, positions, warnings } = progress;
    let Counts { requests, retries, pages, rows, messages, bytes, errors } = counts;
    wire::ExecutionProgress {
        requests: to_i64(requests),
        retries: to_i64(retries),
        pages: to_i64(pages),
        rows: to_i64(rows),
        messages: to_i64(messages),
        bytes: to_i64(bytes),
        errors: to_i64(errors),
        positions: positions.into_iter().map(|(step, count)| (step, to_i64(count))).collect(),
        warnings: warnings
            .into_iter()
            .map(|Warning { code, pointer, message }| wire::ExecutionWarning { code, pointer, message })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_item_carries_changed_cursors() {
        let header =
            CheckpointHeader { lease_token: Bytes::from_static(b"t"), seq: 3, running: Duration::ZERO };
        let change = |kind, json: &'static [u8]| CursorChange {
            key: CursorKey { kind, step: "orders".to_owned(), item: "7".to_owned() },
            json: Bytes::from_static(json),
        };
        let checkpoint = Checkpoint {
            resume_state: Bytes::new(),
            must_cancel: true,
            finished_steps: None,
            context_changes: Vec::new(),
            cursor_changes: vec![change(CursorKind::Cursor, b"1"), change(CursorKind::Validator, b"{}")],
            progress: Progress::default(),
        };
        let sent: Vec<_> = checkpoint_item(&header, checkpoint)
            .cursor_changes
            .into_iter()
            .map(|cursor| (cursor.kind(), cursor.step.clone(), cursor.item.clone(), cursor.json))
            .collect();
        let expected =
            |kind, json: &'static [u8]| (kind, "orders".to_owned(), "7".to_owned(), Bytes::from_static(json));
        assert_eq!(
            sent,
            [expected(wire::CursorKind::Cursor, b"1"), expected(wire::CursorKind::Validator, b"{}")]
        );
    }
}
