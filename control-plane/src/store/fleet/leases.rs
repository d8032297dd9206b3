//! Leases and what a grant writes.

use chrono::{DateTime, Utc};
use orchid_domain::admission::SUSPICIOUS_LOSSES;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::rows::{ExecutionKey, placeholders, tenants_of};
use super::runs::split;
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::values;

/// A run that is granted.
#[derive(Clone, Debug)]
pub struct NewLease {
    /// Which.
    pub key: ExecutionKey,
    /// Random.
    pub lease_id: Uuid,
    /// Attempts lost before.
    pub losses: u32,
}

/// What a grant made of a run.
#[derive(Clone, Debug, FromQueryResult)]
pub struct GrantedExecution {
    /// Whose.
    pub tenant_id: Uuid,
    /// Which execution.
    pub id: Uuid,
    /// The lease.
    pub lease_id: Option<Uuid>,
    /// The attempt's number.
    pub attempt: i32,
    /// The attempt's fence.
    pub fence: i64,
    /// When the run's first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// How long earlier attempts ran.
    pub ran_ms: i64,
}

impl GrantedExecution {
    /// Names the execution.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.id }
    }
}

/// Who is granted it, by which call.
#[derive(Clone, Debug)]
pub struct LeaseOwner {
    /// The session.
    pub session_id: Uuid,
    /// Name of the executor.
    pub executor: String,
    /// The acquire call.
    pub acquire_seq: i64,
}

/// The server's timeline, which rises with every promotion of a standby: from the name of its WAL file, true at once.
pub async fn timeline(tx: &Tx) -> Result<u32, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        timeline: String,
    }
    let row: Option<Row> =
        tx.one("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline", values![]).await?;
    let text = row.map(|row| row.timeline).unwrap_or_default();
    u32::from_str_radix(&text, 16)
        .map_err(|error| StoreError::corrupt("timeline", format!("{text:?}: {error}")))
}

/// Moves ready runs to `running` under new leases, with the next fence of each.
pub async fn grant(
    tx: &Tx,
    now: DateTime<Utc>,
    fence_floor: i64,
    leases: &[NewLease],
    grantee: &LeaseOwner,
) -> Result<Vec<GrantedExecution>, StoreError> {
    let keys: Vec<ExecutionKey> = leases.iter().map(|lease| lease.key).collect();
    let (tenants, ids) = split(&keys);
    let lease_ids: Vec<Uuid> = leases.iter().map(|lease| lease.lease_id).collect();
    let granted: Vec<GrantedExecution> = tx
        .all(
            "UPDATE plan_executions e SET state = 'running', attempt = e.attempt + 1, fence = greatest(e.fence + 1, $3), \
             lease_id = v.lease_id, started_at = COALESCE(e.started_at, $2), not_before = NULL, waiting_for = NULL, \
             version = e.version + 1, updated_at = $2 \
             FROM unnest($4::uuid[], $5::uuid[], $6::uuid[]) AS v (tenant_id, id, lease_id) \
             WHERE e.tenant_id = ANY($1) AND e.tenant_id = v.tenant_id AND e.id = v.id AND e.state IN ('queued', 'parked', 'blocked') \
             RETURNING e.tenant_id, e.id, e.lease_id, e.attempt, e.fence, e.started_at, e.ran_ms",
            values![tenants_of(tenants.clone()), now, fence_floor, tenants, ids, lease_ids],
        )
        .await?;
    insert_leases(tx, now, leases, &granted, grantee).await?;
    insert_attempts(tx, now, &granted, grantee).await?;
    Ok(granted)
}

async fn insert_leases(
    tx: &Tx,
    now: DateTime<Utc>,
    leases: &[NewLease],
    granted: &[GrantedExecution],
    grantee: &LeaseOwner,
) -> Result<(), StoreError> {
    if granted.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO leases (tenant_id, execution_id, lease_id, session_id, attempt, fence, acquire_seq, losses, granted_at) VALUES {}",
        placeholders(granted.len(), 9)
    );
    let mut values = Vec::with_capacity(granted.len() * 9);
    for row in granted {
        let losses = leases.iter().find(|lease| lease.key == row.key()).map_or(0, |lease| lease.losses);
        values.extend(values![
            row.tenant_id,
            row.id,
            row.lease_id,
            grantee.session_id,
            row.attempt,
            row.fence,
            grantee.acquire_seq,
            i32::try_from(losses).unwrap_or(i32::MAX),
            now,
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

async fn insert_attempts(
    tx: &Tx,
    now: DateTime<Utc>,
    granted: &[GrantedExecution],
    grantee: &LeaseOwner,
) -> Result<(), StoreError> {
    if granted.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO execution_attempts (tenant_id, execution_id, attempt, fence, lease_id, session_id, executor, granted_at) VALUES {}",
        placeholders(granted.len(), 8)
    );
    let mut values = Vec::with_capacity(granted.len() * 8);
    for row in granted {
        values.extend(values![
            row.tenant_id,
            row.id,
            row.attempt,
            row.fence,
            row.lease_id,
            grantee.session_id,
            grantee.executor.clone(),
            now,
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

/// Deletes the leases of executions.
pub async fn delete(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (tenants, ids) = split(keys);
    tx.execute(
        "DELETE FROM leases l USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
         WHERE l.tenant_id = ANY($1) AND l.tenant_id = v.tenant_id AND l.execution_id = v.execution_id",
        values![tenants_of(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}

/// A lease as a session holds it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct HeldLease {
    /// Whose.
    pub tenant_id: Uuid,
    /// Which execution.
    pub execution_id: Uuid,
    /// The lease.
    pub lease_id: Uuid,
    /// The call that was granted it.
    pub acquire_seq: i64,
    /// A heartbeat has listed it.
    pub confirmed: bool,
    /// A cancel is asked for.
    pub cancel_requested: bool,
}

impl HeldLease {
    /// Names the execution.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.execution_id }
    }
}

/// All leases of a session.
pub async fn find_held(databases: &Databases, session_id: Uuid) -> Result<Vec<HeldLease>, StoreError> {
    databases
        .find(
            "SELECT l.tenant_id, l.execution_id, l.lease_id, l.acquire_seq, l.confirmed, \
               e.cancel_requested_at IS NOT NULL AS cancel_requested \
             FROM leases l LEFT JOIN plan_executions e ON e.tenant_id = l.tenant_id AND e.id = l.execution_id \
             WHERE l.session_id = $1 LIMIT 100000",
            values![session_id],
        )
        .await
}

/// What a session holds that matters to an acquire call: what that call was granted before (with the leases), and whether one was lost
/// twice.
pub async fn find_for_acquire(
    databases: &Databases,
    session_id: Uuid,
    acquire_seq: i64,
) -> Result<(Vec<(ExecutionKey, Uuid)>, bool), StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        execution_id: Uuid,
        lease_id: Uuid,
        acquire_seq: i64,
        losses: i32,
    }
    let suspicious = i32::try_from(SUSPICIOUS_LOSSES).unwrap_or(i32::MAX);
    let rows: Vec<Row> = databases
        .find(
            "SELECT tenant_id, execution_id, lease_id, acquire_seq, losses FROM leases \
             WHERE session_id = $1 AND (acquire_seq = $2 OR losses >= $3)",
            values![session_id, acquire_seq, suspicious],
        )
        .await?;
    let holds_suspicious = rows.iter().any(|row| row.losses >= suspicious);
    let repeated = rows.into_iter().filter(|row| row.acquire_seq == acquire_seq);
    let leased = repeated
        .map(|row| (ExecutionKey { tenant_id: row.tenant_id, execution_id: row.execution_id }, row.lease_id));
    Ok((leased.collect(), holds_suspicious))
}

/// Notes that a heartbeat has listed these leases.
pub async fn confirm(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    let (tenants, ids) = split(keys);
    tx.execute(
        "UPDATE leases l SET confirmed = true FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
         WHERE l.tenant_id = ANY($1) AND l.tenant_id = v.tenant_id AND l.execution_id = v.execution_id",
        values![tenants_of(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}

/// Sessions that hold leases.
pub async fn find_sessions(databases: &Databases) -> Result<Vec<Uuid>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        session_id: Uuid,
    }
    let rows: Vec<Row> = databases.find("SELECT DISTINCT session_id FROM leases", values![]).await?;
    Ok(rows.into_iter().map(|row| row.session_id).collect())
}

/// A lease whose session is gone.
#[derive(Clone, Debug, FromQueryResult)]
pub struct OrphanedLease {
    /// Whose.
    pub tenant_id: Uuid,
    /// Which execution.
    pub execution_id: Uuid,
    /// The lease.
    pub lease_id: Uuid,
    /// The session that held it.
    pub session_id: Uuid,
}

/// Leases of these sessions.
pub async fn find_of_sessions(
    databases: &Databases,
    sessions: Vec<Uuid>,
    limit: i64,
) -> Result<Vec<OrphanedLease>, StoreError> {
    databases
        .find(
            "SELECT tenant_id, execution_id, lease_id, session_id FROM leases WHERE session_id = ANY($1) ORDER BY granted_at LIMIT $2",
            values![sessions, limit],
        )
        .await
}

/// How many leases each of these tenants has; none where it has none.
pub async fn count_of_tenants(
    databases: &Databases,
    tenants: Vec<Uuid>,
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    count(
        databases,
        "SELECT tenant_id, count(*) AS held FROM leases WHERE tenant_id = ANY($1) GROUP BY tenant_id",
        tenants,
    )
    .await
}

/// How many leases these sessions have, by tenant.
pub async fn count_of_sessions(
    databases: &Databases,
    sessions: Vec<Uuid>,
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    count(
        databases,
        "SELECT tenant_id, count(*) AS held FROM leases WHERE session_id = ANY($1) GROUP BY tenant_id",
        sessions,
    )
    .await
}

async fn count(databases: &Databases, sql: &str, ids: Vec<Uuid>) -> Result<Vec<(Uuid, i64)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        held: i64,
    }
    let rows: Vec<Row> = databases.find(sql, values![ids]).await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.held)).collect())
}

impl OrphanedLease {
    /// Names the execution.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.execution_id }
    }
}

/// Deletes leases whose execution has another lease, none, or is gone: leftovers of a history that was dropped.
pub async fn delete_stale(tx: &Tx, stale: &[(ExecutionKey, Uuid)]) -> Result<(), StoreError> {
    if stale.is_empty() {
        return Ok(());
    }
    let keys: Vec<ExecutionKey> = stale.iter().map(|(key, _)| *key).collect();
    let (tenants, ids) = split(&keys);
    let lease_ids: Vec<Uuid> = stale.iter().map(|(_, lease_id)| *lease_id).collect();
    tx.execute(
        "DELETE FROM leases l USING unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, execution_id, lease_id) \
         WHERE l.tenant_id = ANY($1) AND l.tenant_id = v.tenant_id AND l.execution_id = v.execution_id AND l.lease_id = v.lease_id",
        values![tenants_of(tenants.clone()), tenants, ids, lease_ids],
    )
    .await?;
    Ok(())
}
