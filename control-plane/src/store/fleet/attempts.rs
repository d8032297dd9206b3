//! Attempts: how each grant ended.

use chrono::{DateTime, Utc};
use orchid_domain::LeaseId;
use orchid_domain::execution::AttemptVerdict;
use orchid_domain::lease::AttemptEnd;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::rows::{ExecutionKey, tenants_of};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::values;

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct ClosedAttempt {
    /// Of which execution.
    pub key: ExecutionKey,
    /// The attempt's number.
    pub attempt: i32,
    /// How it ended.
    pub verdict: AttemptVerdict,
    /// Seq of the call that ended it; 0 where none did.
    pub final_seq: i64,
    /// The last request that a heartbeat told of; empty where none did.
    pub last_request: String,
}

/// Writes down how attempts ended.
pub async fn close(tx: &Tx, now: DateTime<Utc>, closings: &[ClosedAttempt]) -> Result<(), StoreError> {
    if closings.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = closings.iter().map(|closing| closing.key.tenant_id).collect();
    tx.execute(
        "UPDATE execution_attempts a SET ended_at = $2, verdict = v.verdict, final_seq = v.final_seq, \
         last_request = CASE WHEN v.last_request <> '' THEN v.last_request END \
         FROM unnest($3::uuid[], $4::uuid[], $5::integer[], $6::text[], $7::bigint[], $8::text[]) \
           AS v (tenant_id, execution_id, attempt, verdict, final_seq, last_request) \
         WHERE a.tenant_id = ANY($1) AND a.tenant_id = v.tenant_id AND a.execution_id = v.execution_id AND a.attempt = v.attempt \
           AND a.ended_at IS NULL",
        values![
            tenants_of(tenants.clone()),
            now,
            tenants,
            closings.iter().map(|closing| closing.key.execution_id).collect::<Vec<Uuid>>(),
            closings.iter().map(|closing| closing.attempt).collect::<Vec<i32>>(),
            closings.iter().map(|closing| closing.verdict.as_str().to_owned()).collect::<Vec<String>>(),
            closings.iter().map(|closing| closing.final_seq).collect::<Vec<i64>>(),
            closings.iter().map(|closing| closing.last_request.clone()).collect::<Vec<String>>(),
        ],
    )
    .await?;
    Ok(())
}

/// How these attempts ended, of those that did.
pub async fn ends(
    tx: &Tx,
    attempts: &[(ExecutionKey, i32)],
) -> Result<Vec<((ExecutionKey, i32), AttemptEnd)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
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
    let rows: Vec<Row> = tx
        .all(
            "SELECT a.tenant_id, a.execution_id, a.attempt, a.lease_id, a.final_seq, a.verdict \
             FROM unnest($2::uuid[], $3::uuid[], $4::integer[]) AS v (tenant_id, execution_id, attempt) \
             JOIN execution_attempts a ON a.tenant_id = v.tenant_id AND a.execution_id = v.execution_id AND a.attempt = v.attempt \
             WHERE a.tenant_id = ANY($1) AND a.verdict IS NOT NULL",
            values![
                tenants_of(tenants.clone()),
                tenants,
                attempts.iter().map(|(key, _)| key.execution_id).collect::<Vec<Uuid>>(),
                attempts.iter().map(|(_, attempt)| *attempt).collect::<Vec<i32>>(),
            ],
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            let verdict =
                row.verdict.parse().map_err(|error| StoreError::corrupt("execution_attempts", error))?;
            let key = ExecutionKey { tenant_id: row.tenant_id, execution_id: row.execution_id };
            Ok((
                (key, row.attempt),
                AttemptEnd { lease: LeaseId(row.lease_id), final_seq: row.final_seq, verdict },
            ))
        })
        .collect()
}
