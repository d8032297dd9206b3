//! What runs report, into the wire's items.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_engine::{
    Checkpoint, Counts, CursorChange, CursorKey, CursorKind, EndStatus, ExecutionEnd, ExecutionError,
    Progress, Warning,
};
use orchid_proto::executor::v1 as wire;

/// Which attempt reports, and how far it is.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Opens the calls of the attempt.
    pub lease_token: Bytes,
    /// Higher than any before of the execution.
    pub seq: i64,
    /// How long the attempt runs.
    pub running: Duration,
}

/// Why a run is handed back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseReason {
    /// The executor drains.
    Drained,
    /// It paused itself for lack of accepted beats.
    SelfFenced,
    /// It never began.
    NeverStarted,
}

pub(crate) fn checkpoint_item(stamp: &Stamp, checkpoint: Checkpoint) -> wire::CheckpointItem {
    let Checkpoint {
        resume_state: place,
        must_cancel,
        finished_steps: finished,
        context_changes,
        cursor_changes,
        progress,
    } = checkpoint;
    let changes = context_changes.into_iter().map(|(name, json)| wire::ContextChange { name, json });
    wire::CheckpointItem {
        lease_token: stamp.lease_token.clone(),
        seq: stamp.seq,
        resume_state: place,
        finished_steps: finished,
        context_changes: changes.collect(),
        progress: Some(run_progress(progress)),
        attempt_ms: whole(stamp.running.as_millis()),
        cursor_changes: cursor_changes.into_iter().map(cursor).collect(),
        needs_upstream_cancel: Some(must_cancel),
    }
}

/// The last place once more; what else was saved with it stands.
pub(crate) fn place_again(stamp: &Stamp, place: Bytes, progress: Progress) -> wire::CheckpointItem {
    wire::CheckpointItem {
        lease_token: stamp.lease_token.clone(),
        seq: stamp.seq,
        resume_state: place,
        progress: Some(run_progress(progress)),
        attempt_ms: whole(stamp.running.as_millis()),
        ..wire::CheckpointItem::default()
    }
}

fn cursor(change: CursorChange) -> wire::Cursor {
    let CursorChange { key: CursorKey { kind, step, item }, json } = change;
    let kind = match kind {
        CursorKind::Cursor => wire::CursorKind::Cursor,
        CursorKind::Validator => wire::CursorKind::Validator,
    };
    wire::Cursor { kind: kind.into(), step, item, json }
}

pub(crate) fn complete_item(checkpoint: wire::CheckpointItem, ending: ExecutionEnd) -> wire::CompleteItem {
    let ExecutionEnd { status, partial, complete, error } = ending;
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
        error: error.map(execution_error),
    }
}

pub(crate) fn park_item(
    checkpoint: wire::CheckpointItem,
    not_before: DateTime<Utc>,
    reason: String,
) -> wire::ParkItem {
    let not_before = prost_types::Timestamp {
        seconds: not_before.timestamp(),
        nanos: i32::try_from(not_before.timestamp_subsec_nanos()).unwrap_or(0).min(999_999_999),
    };
    wire::ParkItem { checkpoint: Some(checkpoint), not_before: Some(not_before), reason }
}

pub(crate) fn release_item(checkpoint: wire::CheckpointItem, reason: ReleaseReason) -> wire::ReleaseItem {
    let reason = match reason {
        ReleaseReason::Drained => wire::ReleaseReason::Drained,
        ReleaseReason::SelfFenced => wire::ReleaseReason::SelfFenced,
        ReleaseReason::NeverStarted => wire::ReleaseReason::NeverStarted,
    };
    wire::ReleaseItem { checkpoint: Some(checkpoint), reason: reason.into() }
}

fn execution_error(error: ExecutionError) -> wire::ExecutionError {
    let ExecutionError { class, code, message, pointer, status_code, step_path } = error;
    wire::ExecutionError {
        class: class.as_str().to_owned(),
        code,
        message,
        pointer,
        status_code: status_code.map(i32::from),
        step_path,
    }
}

fn run_progress(progress: Progress) -> wire::ExecutionProgress {
    let Progress { counts, positions, warnings } = progress;
    let Counts { requests, retries, pages, rows, messages, bytes, errors } = counts;
    wire::ExecutionProgress {
        requests: whole(requests.into()),
        retries: whole(retries.into()),
        pages: whole(pages.into()),
        rows: whole(rows.into()),
        messages: whole(messages.into()),
        bytes: whole(bytes.into()),
        errors: whole(errors.into()),
        positions: positions.into_iter().map(|(step, count)| (step, whole(count.into()))).collect(),
        warnings: warnings
            .into_iter()
            .map(|Warning { code, pointer, message }| wire::ExecutionWarning { code, pointer, message })
            .collect(),
    }
}

/// The wire's integers are signed.
pub(crate) fn whole(value: u128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_carries_the_cursors_that_changed() {
        let stamp = Stamp { lease_token: Bytes::from_static(b"t"), seq: 3, running: Duration::ZERO };
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
        let sent: Vec<_> = checkpoint_item(&stamp, checkpoint)
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
