//! Executors' sessions. One row each, which their beats change in place; times are the database's.

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
    /// uuid v7.
    pub id: Uuid,
    /// Name of the process.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Runs at once.
    pub slots: i32,
    /// Its build.
    pub build: String,
    /// The time to live that it is promised.
    pub ttl: Duration,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Opens a session.
pub async fn insert(databases: &Databases, session: &NewSession) -> Result<(), StoreError> {
    databases
        .execute_fleet(
            "INSERT INTO executor_sessions (id, name, pool, slots, build, started_at, beat_at, ttl_ms, free_slots) \
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

/// A live session.
#[derive(Clone, Debug, FromQueryResult)]
pub struct LiveSession {
    /// Its id.
    pub id: Uuid,
    /// Name of the process.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Runs at once.
    pub slots: i32,
    /// Acquire calls up to this one are answered.
    pub answered_acquire_seq: i64,
    /// It takes no more work.
    pub draining: bool,
}

/// A session, unless it has ended.
pub async fn find(databases: &Databases, id: Uuid) -> Result<Option<LiveSession>, StoreError> {
    let rows = databases
        .find(
            "SELECT id, name, pool, slots, answered_acquire_seq, draining FROM executor_sessions WHERE id = $1 AND ended_at IS NULL",
            values![id],
        )
        .await?;
    Ok(rows.into_iter().next())
}

/// All sessions that have not ended.
pub async fn find_live(databases: &Databases) -> Result<Vec<LiveSession>, StoreError> {
    databases
        .find(
            "SELECT id, name, pool, slots, answered_acquire_seq, draining FROM executor_sessions WHERE ended_at IS NULL",
            values![],
        )
        .await
}

/// What a beat says.
#[derive(Clone, Debug)]
pub struct SessionUpdate {
    /// Of which session.
    pub session_id: Uuid,
    /// Its number.
    pub seq: i64,
    /// Acquire calls up to this one are answered.
    pub answered_acquire_seq: i64,
    /// Free slots.
    pub free_slots: i32,
    /// It takes no more work.
    pub draining: bool,
    /// What each lease last requested, by lease id.
    pub last_requests: Json,
    /// The time to live that it is promised.
    pub ttl: Duration,
}

/// Counts a beat; false: the session has ended, and stays so.
pub async fn beat(databases: &Databases, beat: &SessionUpdate) -> Result<bool, StoreError> {
    let touched = databases
        .execute_fleet(
            "UPDATE executor_sessions SET beat_at = now(), beat_seq = greatest(beat_seq, $2), \
             answered_acquire_seq = greatest(answered_acquire_seq, $3), free_slots = $4, draining = $5, last_requests = $6, ttl_ms = $7 \
             WHERE id = $1 AND ended_at IS NULL",
            values![
                beat.session_id,
                beat.seq,
                beat.answered_acquire_seq,
                beat.free_slots,
                beat.draining,
                beat.last_requests.clone(),
                millis(beat.ttl),
            ],
        )
        .await?;
    Ok(touched == 1)
}

/// Sessions that have not ended, as expiry looks at them.
pub async fn read_beats(tx: &Tx) -> Result<Vec<SessionHeartbeat>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        id: Uuid,
        beat_at: DateTime<Utc>,
        ttl_ms: i64,
    }
    let rows: Vec<Row> =
        tx.all("SELECT id, beat_at, ttl_ms FROM executor_sessions WHERE ended_at IS NULL", values![]).await?;
    Ok(rows
        .into_iter()
        .map(|row| SessionHeartbeat {
            id: SessionId(row.id),
            beat_at: row.beat_at,
            ttl: Duration::from_millis(u64::try_from(row.ttl_ms).unwrap_or(0)),
        })
        .collect())
}

/// Ends sessions that have not beaten since they were read; answers how many.
pub async fn expire(tx: &Tx, sessions: &[(Uuid, DateTime<Utc>)]) -> Result<u64, StoreError> {
    let (ids, beats): (Vec<Uuid>, Vec<DateTime<Utc>>) = sessions.iter().copied().unzip();
    tx.execute(
        "UPDATE executor_sessions s SET ended_at = now(), end_cause = 'expired' \
         FROM unnest($1::uuid[], $2::timestamptz[]) AS v (id, beat_at) WHERE s.id = v.id AND s.ended_at IS NULL AND s.beat_at = v.beat_at",
        values![ids, beats],
    )
    .await
}

/// What the leases of these sessions last requested, by lease id.
pub async fn last_requests(
    databases: &Databases,
    sessions: Vec<Uuid>,
) -> Result<Vec<(Uuid, String)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        last_requests: Json,
    }
    let rows: Vec<Row> = databases
        .find("SELECT last_requests FROM executor_sessions WHERE id = ANY($1)", values![sessions])
        .await?;
    let entries = rows.iter().filter_map(|row| row.last_requests.as_object()).flatten();
    Ok(entries
        .filter_map(|(lease, request)| Some((lease.parse().ok()?, request.as_str()?.to_owned())))
        .collect())
}
