//! Grants, from the wire to the values that an attempt needs.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_engine::{
    Counts, CursorKey, CursorKind, ExecutionConfig, ExecutionIdentity, Progress, SavedCheckpoint, Warning,
};
use orchid_kit::telemetry::Traceparent;
use orchid_proto::executor::v1 as wire;
use uuid::Uuid;

use crate::fetch::{ClientCertificate, Transport};

/// One granted attempt of an execution.
pub struct ExecutionGrant {
    /// Token that authorizes the calls of this attempt.
    pub lease_token: Bytes,
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Ids and keys of the execution and its plan.
    pub identity: ExecutionIdentity,
    /// The plan revision to run.
    pub definition: GrantedDefinition,
    /// The config, with secrets in plain text.
    pub config: ExecutionConfig,
    /// Proxy and certificates for its requests.
    pub transport: Transport,
    /// Context and cursors; `None` if they are too large for the grant and must be fetched.
    pub persisted: Option<PersistedState>,
    /// The last accepted checkpoint, if there is one.
    pub checkpoint: Option<GrantedCheckpoint>,
    /// The reason why the execution does not continue one that ended at a limit; empty if there is
    /// none to continue, or it does.
    pub fresh_start_reason: String,
    /// Total running time of earlier attempts.
    pub time_used: Duration,
    /// Trace context of the trigger.
    pub traceparent: Option<Traceparent>,
    /// True if the execution is to be cancelled instead of run.
    pub cancel_requested: bool,
}

/// State that outlives the executions of a plan for a config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersistedState {
    /// The context, as JSON by field name.
    pub context: BTreeMap<String, Bytes>,
    /// Cursors and validators, as JSON.
    pub cursors: BTreeMap<CursorKey, Bytes>,
}

/// The plan definition of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedDefinition {
    /// SHA-256 of its canonical JSON.
    pub hash: Bytes,
    /// The JSON; empty if the acquire call listed the hash as known.
    pub json: Bytes,
}

/// The last accepted checkpoint of an execution.
#[derive(Debug, Clone)]
pub struct GrantedCheckpoint {
    /// Sequence number; later checkpoints have higher ones.
    pub seq: i64,
    /// State to resume from; `None` if no earlier attempt saved one.
    pub saved: Option<SavedCheckpoint>,
}

/// A grant that cannot be run. No heartbeat lists its lease, so the control plane queues it again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidGrant {
    /// An id is not a UUID.
    #[error("{field} {value:?} is not a UUID")]
    Uuid {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A required field is missing.
    #[error("{field} is missing")]
    Missing {
        /// Name of the field.
        field: &'static str,
    },
    /// A time is out of range.
    #[error("{field} is out of range: {seconds} seconds since 1970")]
    Time {
        /// Name of the field.
        field: &'static str,
        /// Seconds since 1970.
        seconds: i64,
    },
    /// This executor does not support the kind of execution.
    #[error("execution kind {0:?} is not supported")]
    Kind(String),
    /// This executor does not support the kind of cursor.
    #[error("cursor of step {step:?} has unsupported kind {kind}")]
    Cursor {
        /// Path of the step.
        step: String,
        /// Number of the kind.
        kind: i32,
    },
}

impl TryFrom<wire::LeaseGrant> for ExecutionGrant {
    type Error = InvalidGrant;

    fn try_from(grant: wire::LeaseGrant) -> Result<Self, InvalidGrant> {
        let wire::LeaseGrant {
            lease_token,
            lease_id,
            tenant_id,
            execution_id,
            attempt,
            fence,
            kind,
            plan_key,
            plan_revision,
            definition_hash,
            definition_json,
            integration,
            config,
            context,
            context_omitted,
            checkpoint,
            schedule_time,
            start_time,
            earlier_attempts_ms,
            traceparent,
            cancel_requested,
            // The control plane itself ignores saved context and cursors where nothing persists.
            persist_state: _,
            cursors,
            fresh_start_reason,
        } = grant;
        if kind != "run" {
            return Err(InvalidGrant::Kind(kind));
        }
        let config = config.ok_or(InvalidGrant::Missing { field: "config" })?;
        let wire::GrantedConfig { id, key, values_json, secret_pointers, transport } = config;
        let (transport, allowed_hosts) = granted_transport(transport.unwrap_or_default());
        Ok(Self {
            lease_token,
            lease_id: uuid("lease_id", lease_id)?,
            identity: ExecutionIdentity {
                tenant_id: uuid("tenant_id", tenant_id)?,
                integration,
                plan_key,
                plan_revision,
                config_id: uuid("config.id", id)?,
                config_key: key,
                execution_id: uuid("execution_id", execution_id)?,
                attempt,
                fence,
                scheduled_at: time("schedule_time", schedule_time)?,
                started_at: time("start_time", start_time)?,
            },
            definition: GrantedDefinition { hash: definition_hash, json: definition_json },
            config: ExecutionConfig {
                values: values_json,
                secret_pointers,
                secrets: transport.secrets(),
                allowed_hosts,
            },
            transport,
            persisted: if context_omitted { None } else { Some(persisted_state(context, cursors)?) },
            checkpoint: checkpoint.map(granted_checkpoint),
            fresh_start_reason,
            time_used: milliseconds(earlier_attempts_ms),
            // Tracing is best effort: an invalid trace context must not fail the execution.
            traceparent: traceparent.parse().ok(),
            cancel_requested,
        })
    }
}

impl TryFrom<wire::FetchContextResponse> for PersistedState {
    type Error = InvalidGrant;

    fn try_from(response: wire::FetchContextResponse) -> Result<Self, InvalidGrant> {
        let wire::FetchContextResponse { context, cursors } = response;
        persisted_state(context, cursors)
    }
}

fn persisted_state(
    fields: Vec<wire::JsonField>,
    cursors: Vec<wire::Cursor>,
) -> Result<PersistedState, InvalidGrant> {
    let context = fields.into_iter().map(|wire::JsonField { name, json }| (name, json)).collect();
    let cursor = |cursor: wire::Cursor| {
        let wire::Cursor { kind: number, step, item, json } = cursor;
        let kind = match wire::CursorKind::try_from(number) {
            Ok(wire::CursorKind::Cursor) => CursorKind::Cursor,
            Ok(wire::CursorKind::Validator) => CursorKind::Validator,
            Ok(wire::CursorKind::Unspecified) | Err(_) => {
                return Err(InvalidGrant::Cursor { step, kind: number });
            }
        };
        Ok((CursorKey { kind, step, item }, json))
    };
    Ok(PersistedState { context, cursors: cursors.into_iter().map(cursor).collect::<Result<_, _>>()? })
}

/// Converts a transport; returns the allowed hosts beside it.
fn granted_transport(transport: wire::GrantedTransport) -> (Transport, Vec<String>) {
    let wire::GrantedTransport { proxy, ca, client_certificate, client_key, allowed_hosts } = transport;
    let non_empty = |text: String| (!text.is_empty()).then_some(text);
    let client_certificate =
        non_empty(client_certificate).map(|certificate| ClientCertificate { certificate, key: client_key });
    (Transport { proxy: non_empty(proxy), ca: non_empty(ca), client_certificate }, allowed_hosts)
}

fn granted_checkpoint(checkpoint: wire::SavedCheckpoint) -> GrantedCheckpoint {
    let wire::SavedCheckpoint { seq, resume_state, finished_steps, progress } = checkpoint;
    // Without a resume state, the seq still orders reports, but there is nothing to resume.
    let saved = (!resume_state.is_empty()).then(|| SavedCheckpoint {
        resume_state,
        finished_steps: (!finished_steps.is_empty()).then_some(finished_steps),
        progress: progress.map(granted_progress).unwrap_or_default(),
    });
    GrantedCheckpoint { seq, saved }
}

fn granted_progress(progress: wire::ExecutionProgress) -> Progress {
    let wire::ExecutionProgress {
        requests,
        retries,
        pages,
        rows,
        messages,
        bytes,
        errors,
        positions,
        warnings,
    } = progress;
    Progress {
        counts: Counts {
            requests: count(requests),
            retries: count(retries),
            pages: count(pages),
            rows: count(rows),
            messages: count(messages),
            bytes: count(bytes),
            errors: count(errors),
        },
        positions: positions.into_iter().map(|(step, messages)| (step, count(messages))).collect(),
        warnings: warnings
            .into_iter()
            .map(|wire::ExecutionWarning { code, pointer, message }| Warning { code, pointer, message })
            .collect(),
    }
}

/// Converts a count; negative values, which are never valid, become 0.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn milliseconds(value: i64) -> Duration {
    Duration::from_millis(count(value))
}

fn uuid(field: &'static str, value: String) -> Result<Uuid, InvalidGrant> {
    value.parse().map_err(|_| InvalidGrant::Uuid { field, value })
}

fn time(field: &'static str, value: Option<prost_types::Timestamp>) -> Result<DateTime<Utc>, InvalidGrant> {
    let value = value.ok_or(InvalidGrant::Missing { field })?;
    let nanos = u32::try_from(value.nanos).unwrap_or(0);
    DateTime::from_timestamp(value.seconds, nanos).ok_or(InvalidGrant::Time { field, seconds: value.seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> wire::LeaseGrant {
        let id = Uuid::from_u128(7).to_string();
        wire::LeaseGrant {
            lease_id: id.clone(),
            tenant_id: id.clone(),
            execution_id: id.clone(),
            kind: "run".to_owned(),
            config: Some(wire::GrantedConfig { id, ..wire::GrantedConfig::default() }),
            schedule_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 }),
            start_time: Some(prost_types::Timestamp::default()),
            ..wire::LeaseGrant::default()
        }
    }

    fn refused(grant: wire::LeaseGrant) -> InvalidGrant {
        ExecutionGrant::try_from(grant).err().unwrap()
    }

    #[test]
    fn invalid_grant_field_is_refused_by_name() {
        let wrong = wire::LeaseGrant { lease_id: "x".to_owned(), ..grant() };
        assert_eq!(refused(wrong), InvalidGrant::Uuid { field: "lease_id", value: "x".to_owned() });
        assert_eq!(
            refused(wire::LeaseGrant { config: None, ..grant() }),
            InvalidGrant::Missing { field: "config" }
        );
        let wrong = wire::LeaseGrant { kind: "preview".to_owned(), ..grant() };
        assert_eq!(refused(wrong), InvalidGrant::Kind("preview".to_owned()));
        let wrong = wire::LeaseGrant {
            start_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            ..grant()
        };
        assert_eq!(refused(wrong), InvalidGrant::Time { field: "start_time", seconds: i64::MAX });
    }

    #[test]
    fn transport_secrets_are_passed_to_the_engine() {
        let transport = wire::GrantedTransport {
            proxy: "http://me:hush@proxy.test:3128".to_owned(),
            allowed_hosts: vec!["a.test".to_owned()],
            ..wire::GrantedTransport::default()
        };
        let config =
            grant().config.map(|config| wire::GrantedConfig { transport: Some(transport), ..config });
        let assignment = ExecutionGrant::try_from(wire::LeaseGrant { config, ..grant() }).ok().unwrap();
        assert_eq!(assignment.config.allowed_hosts, ["a.test"]);
        assert!(assignment.config.secrets.contains(&"hush".to_owned()));
        assert!(assignment.transport.ca.is_none() && assignment.transport.client_certificate.is_none());
    }

    #[test]
    fn context_apart_is_none_and_empty_context_is_not() {
        assert_eq!(
            ExecutionGrant::try_from(grant()).ok().unwrap().persisted,
            Some(PersistedState::default())
        );
        let omitted = wire::LeaseGrant { context_omitted: true, ..grant() };
        assert_eq!(ExecutionGrant::try_from(omitted).ok().unwrap().persisted, None);
    }

    #[test]
    fn cursors_are_keyed_by_kind_step_and_item() {
        let cursor = |kind: i32, item: &str| wire::Cursor {
            kind,
            step: "orders".to_owned(),
            item: item.to_owned(),
            json: Bytes::from_static(b"12345678901234567890123"),
        };
        let cursors = vec![
            cursor(wire::CursorKind::Cursor.into(), "7"),
            cursor(wire::CursorKind::Validator.into(), "7"),
        ];
        let assignment = ExecutionGrant::try_from(wire::LeaseGrant { cursors, ..grant() }).ok().unwrap();
        let key = |kind| CursorKey { kind, step: "orders".to_owned(), item: "7".to_owned() };
        let json = Bytes::from_static(b"12345678901234567890123");
        assert_eq!(
            assignment.persisted.unwrap().cursors,
            BTreeMap::from([(key(CursorKind::Cursor), json.clone()), (key(CursorKind::Validator), json)])
        );
        let unknown = wire::LeaseGrant { cursors: vec![cursor(9, "7")], ..grant() };
        assert_eq!(refused(unknown), InvalidGrant::Cursor { step: "orders".to_owned(), kind: 9 });
    }

    #[test]
    fn checkpoint_without_state_keeps_its_seq() {
        let checkpoint = Some(wire::SavedCheckpoint { seq: 4, ..wire::SavedCheckpoint::default() });
        let assignment = ExecutionGrant::try_from(wire::LeaseGrant { checkpoint, ..grant() }).ok().unwrap();
        let checkpoint = assignment.checkpoint.unwrap();
        assert_eq!(checkpoint.seq, 4);
        assert!(checkpoint.saved.is_none());
    }
}
