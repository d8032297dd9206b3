//! Attempts: one row for each grant of an execution. A row records its executor and how
//! the attempt ended.

use chrono::{DateTime, Utc};
use orchid_domain::LeaseId;
use orchid_domain::execution::AttemptVerdict;
use orchid_domain::lease::AttemptEnd;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::grant::{GrantedExecution, LeaseOwner};
use crate::store::batch::{distinct_tenants, placeholders, short_batch, within_weeks};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::keys::ExecutionKey;
use crate::values;

/// Inserts the attempts that a grant begins.
///
/// # Errors
/// The statement fails.
pub async fn open(
    tx: &Tx,
    now: DateTime<Utc>,
    granted: &[GrantedExecution],
    owner: &LeaseOwner,
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
            owner.session_id,
            owner.executor.clone(),
            now,
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct ClosedAttempt {
    /// The attempt's execution.
    pub key: ExecutionKey,
    /// Number of the attempt.
    pub attempt: i32,
    /// The way in which it ended.
    pub verdict: AttemptVerdict,
    /// Seq of the call that ended it; 0 when no call did.
    pub final_seq: i64,
    /// The last request that a heartbeat reported; empty when none did.
    pub last_request: String,
}

/// Records how attempts ended.
///
/// # Errors
/// The statement fails.
pub async fn close(tx: &Tx, now: DateTime<Utc>, closed: &[ClosedAttempt]) -> Result<(), StoreError> {
    if closed.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = closed.iter().map(|attempt| attempt.key.tenant_id).collect();
    let ids: Vec<Uuid> = closed.iter().map(|attempt| attempt.key.execution_id).collect();
    // `ended_at IS NULL` keeps the first end: a repeated call must find the seq that ended it.
    let sql = format!(
        "UPDATE execution_attempts a SET ended_at = $2, verdict = v.verdict, final_seq = v.final_seq, \
         last_request = CASE WHEN v.last_request <> '' THEN v.last_request END \
         FROM unnest($3::uuid[], $4::uuid[], $5::integer[], $6::text[], $7::bigint[], $8::text[]) \
           AS v (tenant_id, execution_id, attempt, verdict, final_seq, last_request) \
         WHERE a.tenant_id = ANY($1) AND a.tenant_id = v.tenant_id AND a.execution_id = v.execution_id AND a.attempt = v.attempt \
           AND a.ended_at IS NULL AND {} AND {}",
        within_weeks("a.execution_id", &ids),
        short_batch("v.execution_id")
    );
    tx.execute(
        &sql,
        values![
            distinct_tenants(tenants.clone()),
            now,
            tenants,
            ids,
            closed.iter().map(|attempt| attempt.attempt).collect::<Vec<i32>>(),
            closed.iter().map(|attempt| attempt.verdict.as_str().to_owned()).collect::<Vec<String>>(),
            closed.iter().map(|attempt| attempt.final_seq).collect::<Vec<i64>>(),
            closed.iter().map(|attempt| attempt.last_request.clone()).collect::<Vec<String>>(),
        ],
    )
    .await?;
    Ok(())
}

/// Returns how these attempts ended. Attempts that have not ended are left out.
///
/// # Errors
/// The statement fails, or a stored verdict is unknown.
pub async fn ends(
    tx: &Tx,
    attempts: &[(ExecutionKey, i32)],
) -> Result<Vec<((ExecutionKey, i32), AttemptEnd)>, StoreError> {
    #[derive(FromQueryResult)]
    struct EndRow {
        tenant_id: Uuid,
        execution_id: Uuid,
        attempt: i32,
        lease_id: Uuid,
        final_seq: i64,
        verdict: String,
    }
    if attempts.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<Uuid> = attempts.iter().map(|(key, _)| key.tenant_id).collect();
    let ids: Vec<Uuid> = attempts.iter().map(|(key, _)| key.execution_id).collect();
    let sql = format!(
        "SELECT a.tenant_id, a.execution_id, a.attempt, a.lease_id, a.final_seq, a.verdict \
             FROM unnest($2::uuid[], $3::uuid[], $4::integer[]) AS v (tenant_id, execution_id, attempt) \
             JOIN execution_attempts a ON a.tenant_id = v.tenant_id AND a.execution_id = v.execution_id AND a.attempt = v.attempt \
             WHERE a.tenant_id = ANY($1) AND a.verdict IS NOT NULL AND {}",
        within_weeks("a.execution_id", &ids)
    );
    let rows: Vec<EndRow> = tx
        .all(
            &sql,
            values![
                distinct_tenants(tenants.clone()),
                tenants,
                ids,
                attempts.iter().map(|(_, attempt)| *attempt).collect::<Vec<i32>>(),
            ],
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            let verdict =
                row.verdict.parse().map_err(|error| StoreError::corrupt("execution_attempts", error))?;
            let key = ExecutionKey { tenant_id: row.tenant_id, execution_id: row.execution_id };
            let end = AttemptEnd { lease: LeaseId(row.lease_id), final_seq: row.final_seq, verdict };
            Ok(((key, row.attempt), end))
        })
        .collect()
}
