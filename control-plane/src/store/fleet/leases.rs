//! Leases: which session runs which execution. A lease holds no expiry; it ends with its session.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::admission::SUSPICIOUS_LOSSES;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::{distinct_tenants, placeholders, short_batch};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::store::executions::grant::{GrantedExecution, LeaseOwner, NewLease};
use crate::store::keys::ExecutionKey;
use crate::values;

/// Inserts the leases of a grant. `leases` holds the losses, `ends` the times at which the server
/// ends the attempts by itself, `granted` everything else.
///
/// # Errors
/// The statement fails.
pub async fn open(
    tx: &Tx,
    now: DateTime<Utc>,
    leases: &[NewLease],
    granted: &[GrantedExecution],
    owner: &LeaseOwner,
    ends: &HashMap<ExecutionKey, DateTime<Utc>>,
) -> Result<(), StoreError> {
    if granted.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO leases (tenant_id, execution_id, lease_id, session_id, attempt, fence, acquire_seq, losses, granted_at, ends_at) VALUES {}",
        placeholders(granted.len(), 10)
    );
    let mut values = Vec::with_capacity(granted.len() * 10);
    for row in granted {
        let losses = leases.iter().find(|lease| lease.key == row.key()).map_or(0, |lease| lease.losses);
        values.extend(values![
            row.tenant_id,
            row.id,
            row.lease_id,
            owner.session_id,
            row.attempt,
            row.fence,
            owner.acquire_seq,
            i32::try_from(losses).unwrap_or(i32::MAX),
            now,
            ends.get(&row.key()).copied(),
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

/// Deletes the leases of executions.
///
/// # Errors
/// The statement fails.
pub async fn delete(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (tenants, ids) = ExecutionKey::unzip_sorted(keys);
    tx.execute(
        &format!("DELETE FROM leases l USING {} \
         WHERE l.tenant_id = ANY($1) AND l.tenant_id = o.tenant_id AND l.execution_id = o.execution_id AND {}", locked_in_order("UPDATE"), short_batch("o.execution_id")),
        values![distinct_tenants(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}

/// Returns the leases of the executions `$2`, `$3` as the relation `o`, once it has locked them in
/// the order that all transactions share. A join alone locks in the order of its plan, which Citus'
/// workers choose by themselves: two transactions could then wait for each other.
fn locked_in_order(strength: &str) -> String {
    format!(
        "(SELECT k.tenant_id, k.execution_id FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
          JOIN leases k ON k.tenant_id = v.tenant_id AND k.execution_id = v.execution_id \
          WHERE k.tenant_id = ANY($1) AND {} ORDER BY k.tenant_id, k.execution_id FOR {strength} OF k) AS o",
        short_batch("v.execution_id")
    )
}

/// A lease that a session holds.
#[derive(Clone, Debug, FromQueryResult)]
pub struct HeldLease {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The execution.
    pub execution_id: Uuid,
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Number of the acquire call that was granted it.
    pub acquire_seq: i64,
    /// True if a heartbeat has listed it.
    pub confirmed: bool,
    /// True if a cancel of the execution is requested.
    pub cancel_requested: bool,
}

impl HeldLease {
    /// Returns the execution's key.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.execution_id }
    }
}

/// Returns all leases of a session.
///
/// # Errors
/// The statement fails.
pub async fn find_held(databases: &Databases, session_id: Uuid) -> Result<Vec<HeldLease>, StoreError> {
    // LEFT JOIN: a lease whose execution's history was dropped is still held.
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

/// Returns what an acquire call has to know of its session: the leases that the same call was
/// granted before, and whether the session holds a suspicious execution.
///
/// # Errors
/// The statement fails.
pub async fn find_for_acquire(
    databases: &Databases,
    session_id: Uuid,
    acquire_seq: i64,
) -> Result<(Vec<(ExecutionKey, Uuid)>, bool), StoreError> {
    #[derive(FromQueryResult)]
    struct LeaseRow {
        tenant_id: Uuid,
        execution_id: Uuid,
        lease_id: Uuid,
        acquire_seq: i64,
        losses: i32,
    }
    let suspicious = i32::try_from(SUSPICIOUS_LOSSES).unwrap_or(i32::MAX);
    // One statement for both questions: this is the path of every grant.
    let rows: Vec<LeaseRow> = databases
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

/// Records that a heartbeat has listed these leases.
///
/// # Errors
/// The statement fails.
pub async fn confirm(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    let (tenants, ids) = ExecutionKey::unzip_sorted(keys);
    tx.execute(
        &format!("UPDATE leases l SET confirmed = true FROM {} \
         WHERE l.tenant_id = ANY($1) AND l.tenant_id = o.tenant_id AND l.execution_id = o.execution_id AND {}", locked_in_order("NO KEY UPDATE"), short_batch("o.execution_id")),
        values![distinct_tenants(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}

/// A lease whose session is gone.
#[derive(Clone, Debug, FromQueryResult)]
pub struct OrphanedLease {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The execution.
    pub execution_id: Uuid,
    /// Id of the lease.
    pub lease_id: Uuid,
    /// The session that held it.
    pub session_id: Uuid,
}

impl OrphanedLease {
    /// Returns the execution's key.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.execution_id }
    }
}

/// Finds leases of sessions that are not among the given ones, oldest first.
///
/// # Errors
/// The statement fails.
pub async fn find_orphans(
    databases: &Databases,
    mut live: Vec<Uuid>,
    limit: i64,
) -> Result<Vec<OrphanedLease>, StoreError> {
    // An orphan's session lies between two live ones, so ranges of the index of sessions hold the
    // orphans alone, however many leases there are. Sessions are not joined: they can be on another
    // node of a Citus cluster, and a missing one has no row.
    live.sort_unstable();
    let above: Vec<Uuid> = std::iter::once(Uuid::nil()).chain(live.iter().copied()).collect();
    let below: Vec<Uuid> = live.into_iter().chain([Uuid::max()]).collect();
    // Bounded, because the death of a large executor orphans thousands of leases at once. The next
    // run of the reaper finds the rest.
    databases
        .find(
            "SELECT l.tenant_id, l.execution_id, l.lease_id, l.session_id \
             FROM unnest($1::uuid[], $2::uuid[]) AS v (above, below) \
             JOIN leases l ON l.session_id > v.above AND l.session_id < v.below ORDER BY l.granted_at LIMIT $3",
            values![above, below, limit],
        )
        .await
}

/// Deletes leases whose execution has another lease, has none, or was dropped with its history.
///
/// # Errors
/// The statement fails.
pub async fn delete_stale(tx: &Tx, stale: &[(ExecutionKey, Uuid)]) -> Result<(), StoreError> {
    if stale.is_empty() {
        return Ok(());
    }
    let keys: Vec<ExecutionKey> = stale.iter().map(|(key, _)| *key).collect();
    let (tenants, ids) = ExecutionKey::unzip(&keys);
    let lease_ids: Vec<Uuid> = stale.iter().map(|(_, lease_id)| *lease_id).collect();
    // The lease id is part of the condition: a grant since the scan may have put a new lease there.
    tx.execute(
        &format!("DELETE FROM leases l USING {} \
         WHERE l.tenant_id = ANY($1) AND l.tenant_id = o.tenant_id AND l.execution_id = o.execution_id AND {} AND l.lease_id = ANY($4)", locked_in_order("UPDATE"), short_batch("o.execution_id")),
        values![distinct_tenants(tenants.clone()), tenants, ids, lease_ids],
    )
    .await?;
    Ok(())
}
