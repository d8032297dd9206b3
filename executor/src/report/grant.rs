//! Grants as they come over the wire, into what a run needs. The only place that knows both.

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

/// One granted run, converted.
pub struct Assignment {
    /// Opens the calls of this attempt.
    pub lease_token: Bytes,
    /// Names the lease.
    pub lease_id: Uuid,
    /// Who and what is to be run.
    pub identity: ExecutionIdentity,
    /// The plan revision.
    pub definition: GrantedDefinition,
    /// The config, secrets in clear.
    pub config: ExecutionConfig,
    /// How its requests leave.
    pub transport: Transport,
    /// What outlives runs, or none where it must be fetched apart.
    pub kept: Option<Kept>,
    /// Where the run goes on.
    pub checkpoint: Option<GrantedCheckpoint>,
    /// How long earlier attempts ran.
    pub ran: Duration,
    /// Where the trigger stands in its trace.
    pub traceparent: Option<Traceparent>,
    /// To be cancelled, not run.
    pub cancel_requested: bool,
}

/// What outlives runs of a plan for a config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The context, for this run.
    pub context: BTreeMap<String, Bytes>,
    /// Cursors and validators.
    pub cursors: BTreeMap<CursorKey, Bytes>,
}

/// A plan revision in a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedDefinition {
    /// SHA-256 of its canonical JSON.
    pub hash: Bytes,
    /// Its JSON; empty where the executor said that it knows the hash.
    pub json: Bytes,
}

/// The last accepted checkpoint of a run.
#[derive(Debug, Clone)]
pub struct GrantedCheckpoint {
    /// Later ones are higher.
    pub seq: i64,
    /// What the engine resumes from; none where earlier attempts saved no place.
    pub saved: Option<SavedCheckpoint>,
}

/// A grant that cannot be run. Its lease is handed back.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidGrant {
    /// Not a UUID.
    #[error("{field} {value:?} is no UUID")]
    Uuid {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A part is missing.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// A time out of range.
    #[error("{field} is no time: {seconds} s")]
    Time {
        /// Which field.
        field: &'static str,
        /// Seconds since 1970.
        seconds: i64,
    },
    /// A kind of run that this executor does not know.
    #[error("kind {0:?} is not known here")]
    Kind(String),
    /// A kind of cursor that this executor does not know.
    #[error("cursor of step {step:?} is of kind {kind}, which is not known here")]
    Cursor {
        /// Of which step.
        step: String,
        /// Its number.
        kind: i32,
    },
}

impl TryFrom<wire::LeaseGrant> for Assignment {
    type Error = InvalidGrant;

    fn try_from(grant: wire::LeaseGrant) -> Result<Assignment, InvalidGrant> {
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
            // What a run that persists nothing may save is the control plane's to tell apart.
            persist_state: _,
            cursors,
        } = grant;
        if kind != "run" {
            return Err(InvalidGrant::Kind(kind));
        }
        let config = config.ok_or(InvalidGrant::Missing { field: "config" })?;
        let wire::GrantedConfig { id, key, values_json, secret_pointers, transport } = config;
        let (transport, allowed_hosts) = granted_transport(transport.unwrap_or_default());
        Ok(Assignment {
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
            kept: if context_omitted { None } else { Some(kept(context, cursors)?) },
            checkpoint: checkpoint.map(granted_checkpoint),
            ran: milliseconds(earlier_attempts_ms),
            traceparent: traceparent.parse().ok(),
            cancel_requested,
        })
    }
}

impl TryFrom<wire::FetchContextResponse> for Kept {
    type Error = InvalidGrant;

    fn try_from(response: wire::FetchContextResponse) -> Result<Kept, InvalidGrant> {
        let wire::FetchContextResponse { context, cursors } = response;
        kept(context, cursors)
    }
}

fn kept(fields: Vec<wire::JsonField>, cursors: Vec<wire::Cursor>) -> Result<Kept, InvalidGrant> {
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
    Ok(Kept { context, cursors: cursors.into_iter().map(cursor).collect::<Result<_, _>>()? })
}

/// How requests leave, and to which hosts.
fn granted_transport(transport: wire::GrantedTransport) -> (Transport, Vec<String>) {
    let wire::GrantedTransport { proxy, ca, client_certificate, client_key, allowed_hosts } = transport;
    let given = |text: String| (!text.is_empty()).then_some(text);
    let client_certificate =
        given(client_certificate).map(|certificate| ClientCertificate { certificate, key: client_key });
    (Transport { proxy: given(proxy), ca: given(ca), client_certificate }, allowed_hosts)
}

fn granted_checkpoint(checkpoint: wire::SavedCheckpoint) -> GrantedCheckpoint {
    let wire::SavedCheckpoint { seq, resume_state, finished_steps, progress } = checkpoint;
    let saved = (!resume_state.is_empty()).then(|| SavedCheckpoint {
        resume_state,
        finished_steps: (!finished_steps.is_empty()).then_some(finished_steps),
        progress: progress.map(run_progress).unwrap_or_default(),
    });
    GrantedCheckpoint { seq, saved }
}

fn run_progress(progress: wire::ExecutionProgress) -> Progress {
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

/// Counts are never negative; one that is counts as none.
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
        Assignment::try_from(grant).err().unwrap()
    }

    #[test]
    fn a_grant_that_lacks_something_is_refused_by_name() {
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
    fn the_secrets_of_a_transport_are_the_engines_to_hide() {
        let transport = wire::GrantedTransport {
            proxy: "http://me:hush@proxy.test:3128".to_owned(),
            allowed_hosts: vec!["a.test".to_owned()],
            ..wire::GrantedTransport::default()
        };
        let config =
            grant().config.map(|config| wire::GrantedConfig { transport: Some(transport), ..config });
        let assignment = Assignment::try_from(wire::LeaseGrant { config, ..grant() }).ok().unwrap();
        assert_eq!(assignment.config.allowed_hosts, ["a.test"]);
        assert!(assignment.config.secrets.contains(&"hush".to_owned()));
        assert!(assignment.transport.ca.is_none() && assignment.transport.client_certificate.is_none());
    }

    #[test]
    fn what_is_kept_apart_is_none_and_an_empty_one_is_not() {
        assert_eq!(Assignment::try_from(grant()).ok().unwrap().kept, Some(Kept::default()));
        let apart = wire::LeaseGrant { context_omitted: true, ..grant() };
        assert_eq!(Assignment::try_from(apart).ok().unwrap().kept, None);
    }

    #[test]
    fn cursors_come_by_kind_step_and_item() {
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
        let assignment = Assignment::try_from(wire::LeaseGrant { cursors, ..grant() }).ok().unwrap();
        let key = |kind| CursorKey { kind, step: "orders".to_owned(), item: "7".to_owned() };
        let json = Bytes::from_static(b"12345678901234567890123");
        assert_eq!(
            assignment.kept.unwrap().cursors,
            BTreeMap::from([(key(CursorKind::Cursor), json.clone()), (key(CursorKind::Validator), json)])
        );
        let unknown = wire::LeaseGrant { cursors: vec![cursor(9, "7")], ..grant() };
        assert_eq!(refused(unknown), InvalidGrant::Cursor { step: "orders".to_owned(), kind: 9 });
    }

    #[test]
    fn a_checkpoint_without_a_place_orders_but_resumes_nothing() {
        let checkpoint = Some(wire::SavedCheckpoint { seq: 4, ..wire::SavedCheckpoint::default() });
        let assignment = Assignment::try_from(wire::LeaseGrant { checkpoint, ..grant() }).ok().unwrap();
        let checkpoint = assignment.checkpoint.unwrap();
        assert_eq!(checkpoint.seq, 4);
        assert!(checkpoint.saved.is_none());
    }
}
