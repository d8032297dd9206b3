//! The fleet protocol: decodes the requests of executors.

use std::time::Duration;

use orchid_domain::cursor::CursorKind;
use orchid_domain::execution::{Outcome, ReleaseReason};
use orchid_proto::executor::v1 as wire;
use tonic::Status;
use uuid::Uuid;

use crate::api::convert::{self, text};
use crate::api::{error, request};
use crate::commands::Diagnostic;
use crate::commands::executions::progress::ExecutionProgress;
use crate::commands::fleet::acquire::AcquireRequest;
use crate::commands::fleet::complete::CompleteItem;
use crate::commands::fleet::heartbeat::Heartbeat;
use crate::commands::fleet::park::ParkItem;
use crate::commands::fleet::register::RegisterRequest;
use crate::commands::fleet::release::ReleaseItem;
use crate::commands::fleet::{CheckpointUpdate, ContextChange, CursorChange};
use crate::store::fleet::announcements::AnnouncementKey;
use crate::store::fleet::cursors::CursorKey;
use crate::store::keys::ExecutionKey;

/// Maximum running time of an attempt that is believed, in milliseconds: a year. The sum over all
/// attempts then never overflows.
const MAX_ATTEMPT_MS: i64 = 366 * 24 * 3600 * 1000;

/// Decodes a registration. `pools` are those that the caller's token is valid for.
pub(crate) fn joining(request: wire::RegisterRequest, pools: &[String]) -> Result<RegisterRequest, Status> {
    let wire::RegisterRequest { name, pool, slots, version } = request;
    if !pools.contains(&pool) {
        let message = format!("the token is not valid for pool {pool:?}");
        return Err(error::plain(tonic::Code::PermissionDenied, "WRONG_POOL", message));
    }
    Ok(RegisterRequest { name, pool, slots, build: version })
}

/// Decodes an acquire request.
pub(crate) fn acquire(request: wire::AcquireLeasesRequest) -> Result<AcquireRequest, Status> {
    let wire::AcquireLeasesRequest { acquire_seq, max_leases, executions, wait_ms, known_definitions } =
        request;
    let rung = executions.into_iter().map(|rung| {
        let wire::ExecutionRef { tenant_id, execution_id } = rung;
        key(&tenant_id, &execution_id)
    });
    Ok(AcquireRequest {
        seq: acquire_seq,
        max_leases: usize::try_from(max_leases).unwrap_or(0),
        rung: rung.collect::<Result<_, _>>()?,
        wait: Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)),
        known_definitions: known_definitions.into_iter().map(Vec::from).collect(),
    })
}

fn key(tenant_id: &str, execution_id: &str) -> Result<ExecutionKey, Status> {
    Ok(ExecutionKey {
        tenant_id: request::id("/rung/tenant_id", tenant_id)?,
        execution_id: request::id("/rung/execution_id", execution_id)?,
    })
}

/// Decodes a heartbeat.
pub(crate) fn beat(request: wire::HeartbeatRequest) -> Result<Heartbeat, Status> {
    let wire::HeartbeatRequest {
        heartbeat_seq,
        resolved_acquire_seq,
        leases,
        free_slots,
        consume_loop_age_ms,
        draining,
        confirmed_announcements,
    } = request;
    let leases = leases.into_iter().map(|lease| {
        // The duration is only stored by checkpoints, which report it again.
        let wire::ActiveLease { lease_token, last_request, attempt_ms: _ } = lease;
        (Vec::from(lease_token), text::last_request(last_request))
    });
    let confirmed = confirmed_announcements.into_iter().map(|key| {
        let wire::AnnouncementKey { tenant_id, id } = key;
        Ok(AnnouncementKey {
            tenant_id: request::id("/confirmed_announcements/tenant_id", &tenant_id)?,
            id: request::id("/confirmed_announcements/id", &id)?,
        })
    });
    Ok(Heartbeat {
        seq: heartbeat_seq,
        resolved_acquire_seq,
        leases: leases.collect(),
        free_slots,
        draining,
        consume_loop_age: Duration::from_millis(u64::try_from(consume_loop_age_ms).unwrap_or(0)),
        confirmed: confirmed.collect::<Result<_, Status>>()?,
    })
}

/// Decodes checkpoints.
pub(crate) fn checkpoints(
    request: wire::CheckpointRequest,
) -> Result<Vec<(Vec<u8>, CheckpointUpdate)>, Status> {
    let wire::CheckpointRequest { items } = request;
    let decode = |(index, item): (usize, wire::CheckpointItem)| checkpoint(item, &format!("/items/{index}"));
    items.into_iter().enumerate().map(decode).collect()
}

fn checkpoint(item: wire::CheckpointItem, pointer: &str) -> Result<(Vec<u8>, CheckpointUpdate), Status> {
    let wire::CheckpointItem {
        lease_token,
        seq,
        resume_state,
        finished_steps,
        context_changes,
        progress,
        attempt_ms,
        cursor_changes,
        needs_upstream_cancel,
    } = item;
    let changes = context_changes.into_iter().map(|change| {
        let wire::ContextChange { name, json } = change;
        ContextChange { name, json: json.map(Vec::from) }
    });
    let cursor_changes = cursor_changes
        .into_iter()
        .enumerate()
        .map(|(index, change)| cursor(change, &format!("{pointer}/cursor_changes/{index}")));
    let data = CheckpointUpdate {
        seq,
        resume_state: resume_state.into(),
        finished_steps: finished_steps.map(Vec::from),
        context_changes: changes.collect(),
        cursor_changes: cursor_changes.collect::<Result<_, _>>()?,
        progress: progress.map(self::progress).unwrap_or_default(),
        attempt_ms: attempt_ms.clamp(0, MAX_ATTEMPT_MS),
        needs_upstream_cancel,
    };
    Ok((lease_token.into(), data))
}

fn progress(progress: wire::ExecutionProgress) -> ExecutionProgress {
    let warnings = progress.warnings.into_iter().map(text::warning).collect();
    wire::ExecutionProgress { warnings, ..progress }.into()
}

fn cursor(change: wire::Cursor, pointer: &str) -> Result<CursorChange, Status> {
    let wire::Cursor { kind: number, step, item, json } = change;
    let kind = match wire::CursorKind::try_from(number) {
        Ok(wire::CursorKind::Cursor) => CursorKind::Cursor,
        Ok(wire::CursorKind::Validator) => CursorKind::Validator,
        Ok(wire::CursorKind::Unspecified) | Err(_) => {
            return Err(no_such(&format!("{pointer}/kind"), number));
        }
    };
    Ok(CursorChange { key: CursorKey { kind, step, item }, json: json.into() })
}

/// Decodes the last checkpoint of an item that ends an attempt.
fn last_checkpoint(
    item: Option<wire::CheckpointItem>,
    pointer: &str,
) -> Result<(Vec<u8>, CheckpointUpdate), Status> {
    let pointer = format!("{pointer}/checkpoint");
    checkpoint(request::required(item, &pointer)?, &pointer)
}

/// Decodes the ends of executions.
pub(crate) fn completions(items: Vec<wire::CompleteItem>) -> Result<Vec<CompleteItem>, Status> {
    let decode = |(index, item): (usize, wire::CompleteItem)| {
        let wire::CompleteItem { checkpoint, outcome: number, partial, complete, error, at_limit } = item;
        let pointer = format!("/items/{index}");
        let (lease_token, checkpoint) = last_checkpoint(checkpoint, &pointer)?;
        let outcome = outcome(number, &pointer)?;
        let error = error.map(|error| text::error(error).into());
        Ok(CompleteItem { lease_token, checkpoint, outcome, partial, complete, at_limit, error })
    };
    items.into_iter().enumerate().map(decode).collect()
}

fn outcome(number: i32, pointer: &str) -> Result<Outcome, Status> {
    match wire::ExecutionOutcome::try_from(number) {
        Ok(wire::ExecutionOutcome::Succeeded) => Ok(Outcome::Succeeded),
        Ok(wire::ExecutionOutcome::Failed) => Ok(Outcome::Failed),
        Ok(wire::ExecutionOutcome::Aborted) => Ok(Outcome::Aborted),
        Ok(wire::ExecutionOutcome::Cancelled) => Ok(Outcome::Cancelled),
        Ok(wire::ExecutionOutcome::Unspecified) | Err(_) => {
            Err(no_such(&format!("{pointer}/outcome"), number))
        }
    }
}

/// Decodes executions to park.
pub(crate) fn parkings(request: wire::ParkRequest) -> Result<Vec<ParkItem>, Status> {
    let decode = |(index, item): (usize, wire::ParkItem)| {
        let wire::ParkItem { checkpoint, not_before, reason } = item;
        let pointer = format!("/items/{index}");
        let (lease_token, checkpoint) = last_checkpoint(checkpoint, &pointer)?;
        let place = format!("{pointer}/not_before");
        let not_before = convert::time(request::required(not_before, &place)?, &place)?;
        Ok(ParkItem { lease_token, checkpoint, not_before, reason: text::message(reason) })
    };
    request.items.into_iter().enumerate().map(decode).collect()
}

/// Decodes executions to release.
pub(crate) fn releases(request: wire::ReleaseRequest) -> Result<Vec<ReleaseItem>, Status> {
    let decode = |(index, item): (usize, wire::ReleaseItem)| {
        let wire::ReleaseItem { checkpoint, reason: number, error } = item;
        let pointer = format!("/items/{index}");
        let (lease_token, checkpoint) = last_checkpoint(checkpoint, &pointer)?;
        let reason = match wire::ReleaseReason::try_from(number) {
            Ok(wire::ReleaseReason::Drained) => ReleaseReason::Drained,
            Ok(wire::ReleaseReason::SelfFenced) => ReleaseReason::SelfFenced,
            Ok(wire::ReleaseReason::NeverStarted) => ReleaseReason::NeverStarted,
            Ok(wire::ReleaseReason::Unsupported) => ReleaseReason::Unsupported,
            Ok(wire::ReleaseReason::Unspecified) | Err(_) => {
                return Err(no_such(&format!("{pointer}/reason"), number));
            }
        };
        Ok(ReleaseItem { lease_token, checkpoint, reason, error: error.map(Into::into) })
    };
    request.items.into_iter().enumerate().map(decode).collect()
}

fn no_such(pointer: &str, number: i32) -> Status {
    error::invalid(
        "INVALID_REQUEST",
        Diagnostic::new("INVALID_VALUE", pointer, format!("{number} is not a known value")),
    )
}

/// Encodes an optional id.
pub(crate) fn id_text(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}
