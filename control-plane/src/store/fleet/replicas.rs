//! Rows of `control_plane_replicas`: the running replicas.

use std::time::Duration;

use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::values;

/// A running replica of the control plane.
#[derive(Debug, Clone, FromQueryResult)]
pub struct ReplicaRow {
    /// Id of the process.
    pub id: Uuid,
    /// Release of its build.
    pub build: String,
    /// Ids of the master keys that it can open.
    pub key_ids: Vec<String>,
}

/// Registers a replica, or renews its entry.
///
/// # Errors
/// The statement fails.
pub async fn upsert(databases: &Databases, row: &ReplicaRow) -> Result<(), StoreError> {
    databases
        .execute_fleet(
            "INSERT INTO control_plane_replicas (id, build, key_ids, seen_at) VALUES ($1, $2, $3, now())
             ON CONFLICT (id) DO UPDATE SET key_ids = excluded.key_ids, seen_at = excluded.seen_at",
            values![row.id, row.build.as_str(), row.key_ids.clone()],
        )
        .await?;
    Ok(())
}

/// Returns the other replicas that were seen lately, and removes those that are gone.
///
/// # Errors
/// A statement fails.
pub async fn others(
    databases: &Databases,
    own: Uuid,
    gone_after: Duration,
) -> Result<Vec<ReplicaRow>, StoreError> {
    let seconds = i32::try_from(gone_after.as_secs()).unwrap_or(i32::MAX);
    databases
        .execute_fleet(
            "DELETE FROM control_plane_replicas WHERE id <> $1 AND seen_at < now() - make_interval(secs => $2)",
            values![own, seconds],
        )
        .await?;
    databases.find("SELECT id, build, key_ids FROM control_plane_replicas WHERE id <> $1", values![own]).await
}

/// Removes a replica.
///
/// # Errors
/// The statement fails.
pub async fn delete(databases: &Databases, id: Uuid) -> Result<(), StoreError> {
    databases.execute_fleet("DELETE FROM control_plane_replicas WHERE id = $1", values![id]).await?;
    Ok(())
}
