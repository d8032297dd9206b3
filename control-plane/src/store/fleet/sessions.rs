//! Sessions of executors, one row each. Heartbeats change it in place. Its times are the
//! database's, so that clocks of replicas do not matter.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::SessionId;
use orchid_domain::expiry::SessionHeartbeat;
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::values;

/// A session to insert.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Id of the session, a UUID v7.
    pub id: Uuid,
    /// Name of the process.
    pub name: String,
    /// Pool of the executor.
    pub pool: String,
    /// Executions that it runs at once.
    pub slots: i32,
    /// Build of the executor.
    pub build: String,
    /// Time to live that the session is promised.
    pub ttl: Duration,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Opens a session.
///
/// # Errors
/// The statement fails.
pub async fn insert(databases: &Databases, session: &NewSession) -> Result<(), StoreError> {
    // Registering counts as the first heartbeat.
    databases
        .execute_fleet(
            "INSERT INTO executor_sessions (id, name, pool, slots, build, started_at, heartbeat_at, ttl_ms, free_slots) \
             VALUES ($1, $2, $3, $4, $5, now(), now(), $6, $4)",
            values![
                session.id,
                session.name.clone(),
                session.pool.clone(),
                session.slots,
                session.build.clone(),
                millis(session.ttl),
            ],
        )
        .await?;
    Ok(())
}

/// A session that has not ended.
#[derive(Clone, Debug, FromQueryResult)]
pub struct LiveSession {
    /// Id of the session.
    pub id: Uuid,
    /// Name of the process.
    pub name: String,
    /// Pool of the executor.
    pub pool: String,
    /// Executions that it runs at once.
    pub slots: i32,
    /// Acquire calls up to this number are answered or given up.
    pub resolved_acquire_seq: i64,
    /// True if the executor takes no more work.
    pub draining: bool,
}

/// Returns a session, or none when it has ended.
///
/// # Errors
/// The statement fails.
pub async fn find(databases: &Databases, id: Uuid) -> Result<Option<LiveSession>, StoreError> {
    let rows = databases
        .find(
            "SELECT id, name, pool, slots, resolved_acquire_seq, draining FROM executor_sessions WHERE id = $1 AND ended_at IS NULL",
            values![id],
        )
        .await?;
    Ok(rows.into_iter().next())
}

/// Returns all sessions that have not ended.
///
/// # Errors
/// The statement fails.
pub async fn find_live(databases: &Databases) -> Result<Vec<LiveSession>, StoreError> {
    databases
        .find(
            "SELECT id, name, pool, slots, resolved_acquire_seq, draining FROM executor_sessions WHERE ended_at IS NULL",
            values![],
        )
        .await
}

/// The columns that a heartbeat writes.
#[derive(Clone, Debug)]
pub struct SessionUpdate {
    /// The session.
    pub session_id: Uuid,
    /// Number of the heartbeat.
    pub seq: i64,
    /// Acquire calls up to this number are answered or given up.
    pub resolved_acquire_seq: i64,
    /// Free slots.
    pub free_slots: i32,
    /// True if the executor takes no more work.
    pub draining: bool,
    /// The last request of each lease, by lease id.
    pub last_requests: Json,
    /// Time to live that the session is promised.
    pub ttl: Duration,
}

/// Records a heartbeat. Returns false when the session has ended; an ended session stays ended.
///
/// # Errors
/// The statement fails.
pub async fn record_heartbeat(databases: &Databases, update: &SessionUpdate) -> Result<bool, StoreError> {
    // No index covers a column that changes here, so that Postgres can update the row in place
    // (HOT). `greatest` keeps the numbers rising when heartbeats overtake each other.
    let touched = databases
        .execute_fleet(
            "UPDATE executor_sessions SET heartbeat_at = now(), heartbeat_seq = greatest(heartbeat_seq, $2), \
             resolved_acquire_seq = greatest(resolved_acquire_seq, $3), free_slots = $4, draining = $5, last_requests = $6, ttl_ms = $7 \
             WHERE id = $1 AND ended_at IS NULL",
            values![
                update.session_id,
                update.seq,
                update.resolved_acquire_seq,
                update.free_slots,
                update.draining,
                update.last_requests.clone(),
                millis(update.ttl),
            ],
        )
        .await?;
    Ok(touched == 1)
}

/// Reads the last heartbeats of sessions that have not ended.
///
/// # Errors
/// The statement fails.
pub async fn read_heartbeats(tx: &Tx) -> Result<Vec<SessionHeartbeat>, StoreError> {
    #[derive(FromQueryResult)]
    struct HeartbeatRow {
        id: Uuid,
        heartbeat_at: DateTime<Utc>,
        ttl_ms: i64,
    }
    let rows: Vec<HeartbeatRow> = tx
        .all("SELECT id, heartbeat_at, ttl_ms FROM executor_sessions WHERE ended_at IS NULL", values![])
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| SessionHeartbeat {
            id: SessionId(row.id),
            last_heartbeat_at: row.heartbeat_at,
            ttl: Duration::from_millis(u64::try_from(row.ttl_ms).unwrap_or(0)),
        })
        .collect())
}

/// Ends sessions whose last heartbeat is still the given one, and returns how many there were.
///
/// # Errors
/// The statement fails.
pub async fn expire(tx: &Tx, sessions: &[(Uuid, DateTime<Utc>)]) -> Result<u64, StoreError> {
    let (ids, heartbeats): (Vec<Uuid>, Vec<DateTime<Utc>>) = sessions.iter().copied().unzip();
    // The rows were read without a lock. A heartbeat that arrived since then saves its session.
    tx.execute(
        "UPDATE executor_sessions s SET ended_at = now(), end_cause = 'expired' \
         FROM unnest($1::uuid[], $2::timestamptz[]) AS v (id, heartbeat_at) \
         WHERE s.id = v.id AND s.ended_at IS NULL AND s.heartbeat_at = v.heartbeat_at",
        values![ids, heartbeats],
    )
    .await
}

/// Returns the last request of each lease of these sessions, by lease id. Ended sessions count too:
/// the request may be what crashed the executor.
///
/// # Errors
/// The statement fails.
pub async fn last_requests(
    databases: &Databases,
    sessions: Vec<Uuid>,
) -> Result<Vec<(Uuid, String)>, StoreError> {
    #[derive(FromQueryResult)]
    struct RequestsRow {
        last_requests: Json,
    }
    // No condition on ended_at: the reaper asks for sessions that it has just ended.
    let rows: Vec<RequestsRow> = databases
        .find("SELECT last_requests FROM executor_sessions WHERE id = ANY($1)", values![sessions])
        .await?;
    let entries = rows.iter().filter_map(|row| row.last_requests.as_object()).flatten();
    Ok(entries
        .filter_map(|(lease, request)| Some((lease.parse().ok()?, request.as_str()?.to_owned())))
        .collect())
}
