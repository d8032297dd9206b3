//! The fleet protocol: encodes the responses to executors.

use orchid_domain::cursor::CursorKind;
use orchid_domain::lease::LeaseRefusal;
use orchid_proto::executor::v1 as wire;

use crate::api::convert;
use crate::api::convert::lease::id_text;
use crate::commands::configs::{ClientCertificate, TransportSettings};
use crate::commands::fleet::acquire::{
    AcquireResponse, Grant, GrantedCheckpoint, GrantedConfig, PersistentState,
};
use crate::commands::fleet::heartbeat::{HeartbeatResponse, LeaseCommand};
use crate::commands::fleet::register::RegisteredSession;
use crate::commands::fleet::{InvalidItem, LeaseResult, LeaseStatus};
use crate::store::fleet::announcements::Announcement;
use crate::store::fleet::cursors::{CursorKey, CursorValues};

/// Encodes a session.
pub(crate) fn joined(joined: RegisteredSession) -> wire::RegisterResponse {
    let RegisteredSession {
        session_id,
        session_token,
        ttl,
        heartbeat_interval,
        doorbell_streams,
        doorbell_group,
        park_after,
        max_body_bytes,
        max_nesting_depth,
        max_wait,
    } = joined;
    wire::RegisterResponse {
        session_id: session_id.to_string(),
        session_token,
        ttl_ms: millis(ttl),
        heartbeat_interval_ms: millis(heartbeat_interval),
        doorbell_streams,
        doorbell_group: doorbell_group.to_owned(),
        park_after_ms: millis(park_after),
        max_body_bytes: i64::try_from(max_body_bytes).unwrap_or(i64::MAX),
        max_nesting_depth: i32::try_from(max_nesting_depth).unwrap_or(i32::MAX),
        max_wait_ms: millis(max_wait),
    }
}

/// Encodes grants and refusals.
pub(crate) fn acquired(acquired: AcquireResponse) -> wire::AcquireLeasesResponse {
    let AcquireResponse { seq, grants, refused } = acquired;
    let refused = refused.into_iter().map(|(key, refusal)| wire::RefusedExecution {
        execution_id: key.execution_id.to_string(),
        status: refusal_to_wire(refusal).into(),
    });
    wire::AcquireLeasesResponse {
        acquire_seq: seq,
        grants: grants.into_iter().map(grant).collect(),
        refused: refused.collect(),
    }
}

fn grant(grant: Grant) -> wire::LeaseGrant {
    let Grant {
        lease,
        lease_token,
        kind,
        plan_key,
        plan_revision,
        definition_hash,
        definition_json,
        integration_key,
        config,
        persistent_state,
        checkpoint,
        fresh_start_reason,
        scheduled_at,
        started_at,
        ran_ms,
        traceparent,
        cancel_requested,
        persists,
    } = grant;
    let context_omitted = persistent_state.is_none();
    let PersistentState { context, cursors } = persistent_state.unwrap_or_default();
    wire::LeaseGrant {
        lease_token: lease_token.into(),
        lease_id: lease.lease_id.to_string(),
        tenant_id: lease.key.tenant_id.to_string(),
        execution_id: lease.key.execution_id.to_string(),
        attempt: lease.attempt,
        fence: lease.fence,
        kind: kind.as_str().to_owned(),
        plan_key,
        plan_revision,
        definition_hash: definition_hash.into(),
        definition_json: definition_json.unwrap_or_default().into(),
        integration: integration_key,
        config: Some(granted_config(config)),
        context: fields(context),
        context_omitted,
        checkpoint: checkpoint.map(saved),
        schedule_time: Some(convert::timestamp(scheduled_at)),
        start_time: Some(convert::timestamp(started_at)),
        earlier_attempts_ms: ran_ms,
        traceparent: traceparent.unwrap_or_default(),
        cancel_requested,
        persist_state: persists,
        cursors: self::cursors(cursors),
        fresh_start_reason,
    }
}

fn granted_config(config: GrantedConfig) -> wire::GrantedConfig {
    let GrantedConfig { id, key, values_json, secret_pointers, transport } = config;
    wire::GrantedConfig {
        id: id.to_string(),
        key,
        values_json: values_json.into(),
        secret_pointers,
        transport: Some(granted_transport(transport)),
    }
}

fn granted_transport(transport: TransportSettings) -> wire::GrantedTransport {
    let TransportSettings { proxy, ca, client_certificate, allowed_hosts } = transport;
    let (client_certificate, client_key) = client_certificate
        .map(|ClientCertificate { certificate, key }| (certificate, key))
        .unwrap_or_default();
    wire::GrantedTransport {
        proxy: proxy.unwrap_or_default(),
        ca: ca.unwrap_or_default(),
        client_certificate,
        client_key,
        allowed_hosts,
    }
}

/// Encodes context and cursors that were too large for a grant.
pub(crate) fn kept(kept: PersistentState) -> wire::FetchContextResponse {
    let PersistentState { context, cursors } = kept;
    wire::FetchContextResponse { context: fields(context), cursors: self::cursors(cursors) }
}

fn cursors(cursors: CursorValues) -> Vec<wire::Cursor> {
    let encode = |(key, json): (CursorKey, Vec<u8>)| {
        let CursorKey { kind, step, item } = key;
        let kind = match kind {
            CursorKind::Cursor => wire::CursorKind::Cursor,
            CursorKind::Validator => wire::CursorKind::Validator,
        };
        wire::Cursor { kind: kind.into(), step, item, json: json.into() }
    };
    cursors.into_iter().map(encode).collect()
}

fn fields(fields: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<wire::JsonField> {
    fields.into_iter().map(|(name, json)| wire::JsonField { name, json: json.into() }).collect()
}

fn saved(saved: GrantedCheckpoint) -> wire::SavedCheckpoint {
    let GrantedCheckpoint { seq, resume_state, finished_steps, progress } = saved;
    wire::SavedCheckpoint {
        seq,
        resume_state: resume_state.into(),
        finished_steps: finished_steps.unwrap_or_default().into(),
        progress: Some(progress.into()),
    }
}

/// Encodes the response to a heartbeat.
pub(crate) fn answer(beat_seq: i64, answer: HeartbeatResponse) -> wire::HeartbeatResponse {
    let HeartbeatResponse { held, ttl, heartbeat_interval, instructions, announcements } = answer;
    let instructions = instructions.into_iter().map(|(lease_id, command)| wire::LeaseInstruction {
        lease_id: lease_id.to_string(),
        command: match command {
            LeaseCommand::Continue => wire::LeaseCommand::Continue,
            LeaseCommand::Cancel => wire::LeaseCommand::Cancel,
            LeaseCommand::Lost => wire::LeaseCommand::Lost,
        }
        .into(),
    });
    wire::HeartbeatResponse {
        heartbeat_seq: beat_seq,
        held_ms: millis(held),
        ttl_ms: millis(ttl),
        heartbeat_interval_ms: millis(heartbeat_interval),
        instructions: instructions.collect(),
        // No command drains executors yet; operators stop them by a signal.
        drain: false,
        announcements: announcements.into_iter().map(announcement).collect(),
    }
}

/// Encodes the announcement of an end.
pub(crate) fn announcement(announcement: Announcement) -> wire::Announcement {
    let Announcement { tenant_id, id, execution_id: _, pool: _, message_key, headers, payload } =
        announcement;
    wire::Announcement {
        key: Some(wire::AnnouncementKey { tenant_id: tenant_id.to_string(), id: id.to_string() }),
        message_key,
        headers: headers.into_iter().collect(),
        payload: payload.into(),
    }
}

/// Encodes the results of a batch.
pub(crate) fn results(results: Vec<LeaseResult>) -> Vec<wire::ItemResult> {
    let encode = |result: LeaseResult| {
        let LeaseResult { lease_id, status } = result;
        let (status, detail, limit_code) = match status {
            LeaseStatus::Ok => (wire::LeaseStatus::Ok, String::new(), ""),
            LeaseStatus::Refused(refusal) => (refusal_to_wire(refusal), refusal.to_string(), ""),
            LeaseStatus::BadToken => {
                let detail = "the lease token is not valid for this session".to_owned();
                (wire::LeaseStatus::BadToken, detail, "")
            }
            LeaseStatus::Invalid(InvalidItem { limit_code, detail }) => {
                (wire::LeaseStatus::Invalid, detail, limit_code)
            }
        };
        wire::ItemResult {
            lease_id: id_text(lease_id),
            status: status.into(),
            detail,
            limit_code: limit_code.to_owned(),
        }
    };
    results.into_iter().map(encode).collect()
}

fn refusal_to_wire(refusal: LeaseRefusal) -> wire::LeaseStatus {
    match refusal {
        LeaseRefusal::LeaseLost => wire::LeaseStatus::LeaseLost,
        LeaseRefusal::Fenced => wire::LeaseStatus::Fenced,
        LeaseRefusal::ExecutionTerminal => wire::LeaseStatus::ExecutionTerminal,
        LeaseRefusal::AlreadyLeased => wire::LeaseStatus::AlreadyLeased,
        LeaseRefusal::NotReady => wire::LeaseStatus::NotReady,
    }
}

fn millis(length: std::time::Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
