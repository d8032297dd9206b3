//! When loops last went round, on any replica.

use chrono::{DateTime, Utc};
use orchid_domain::expiry::LoopHistory;
use sea_orm::FromQueryResult;

use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::values;

/// Takes a loop's turn, so that one replica is in it at a time; answers the database's time and what is known of passes before.
pub async fn enter(tx: &Tx, name: &str) -> Result<(DateTime<Utc>, LoopHistory), StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        passed_at: DateTime<Utc>,
        grace_until: Option<DateTime<Utc>>,
    }
    #[derive(FromQueryResult)]
    struct Clock {
        now: DateTime<Utc>,
    }
    let before: Option<Row> = tx
        .one("SELECT passed_at, grace_until FROM loop_passes WHERE name = $1 FOR UPDATE", values![name])
        .await?;
    let clock: Option<Clock> = tx.one("SELECT clock_timestamp() AS now", values![]).await?;
    let now = clock.ok_or_else(|| StoreError::corrupt("clock", "no row"))?.now;
    let passes = before.map_or(LoopHistory { last: None, grace_until: None }, |row| LoopHistory {
        last: Some(row.passed_at),
        grace_until: row.grace_until,
    });
    Ok((now, passes))
}

/// Writes down that a loop went round.
pub async fn leave(
    tx: &Tx,
    name: &str,
    now: DateTime<Utc>,
    grace_until: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO loop_passes (name, passed_at, grace_until) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET passed_at = excluded.passed_at, grace_until = excluded.grace_until",
        values![name, now, grace_until],
    )
    .await?;
    Ok(())
}
