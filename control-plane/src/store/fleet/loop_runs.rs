//! The last run of each background loop, on any replica.

use chrono::{DateTime, Utc};
use orchid_domain::expiry::LoopHistory;
use sea_orm::FromQueryResult;

use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::values;

/// Begins a run of a loop: locks the loop's row, and returns the database's time and the history.
///
/// # Errors
/// The statement fails.
pub async fn begin(tx: &Tx, name: &str) -> Result<(DateTime<Utc>, LoopHistory), StoreError> {
    #[derive(FromQueryResult)]
    struct LoopRow {
        ran_at: DateTime<Utc>,
        grace_until: Option<DateTime<Utc>>,
    }
    #[derive(FromQueryResult)]
    struct ClockRow {
        now: DateTime<Utc>,
    }
    let before: Option<LoopRow> =
        tx.one("SELECT ran_at, grace_until FROM loop_runs WHERE name = $1 FOR UPDATE", values![name]).await?;
    // A separate statement, and not now(): the wait for the lock above must be part of the time.
    let clock: Option<ClockRow> = tx.one("SELECT clock_timestamp() AS now", values![]).await?;
    let now = clock.ok_or_else(|| StoreError::corrupt("clock", "no row"))?.now;
    let history = before.map_or(LoopHistory { last_run: None, grace_until: None }, |row| LoopHistory {
        last_run: Some(row.ran_at),
        grace_until: row.grace_until,
    });
    Ok((now, history))
}

/// Records a run of a loop.
///
/// # Errors
/// The statement fails.
pub async fn finish(
    tx: &Tx,
    name: &str,
    now: DateTime<Utc>,
    grace_until: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO loop_runs (name, ran_at, grace_until) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET ran_at = excluded.ran_at, grace_until = excluded.grace_until",
        values![name, now, grace_until],
    )
    .await?;
    Ok(())
}
