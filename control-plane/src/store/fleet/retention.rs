//! Partitions of the history, and rows that are deleted when they are old.

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};

use crate::store::batch::distinct_tenants;
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::store::keys::{ExecutionKey, ExecutionKeyRow};
use crate::values;

/// A partition of a table of the history: one week of it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct HistoryPartition {
    /// The partitioned table.
    pub parent: String,
    /// Start of the week.
    pub week: DateTime<Utc>,
}

/// Finds partitions between two times that do not exist yet.
///
/// # Errors
/// The statement fails.
pub async fn find_missing_partitions(
    databases: &Databases,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<HistoryPartition>, StoreError> {
    databases.find("SELECT parent, week FROM missing_history_partitions($1, $2)", values![from, to]).await
}

/// Finds partitions that hold only rows from before a time.
///
/// # Errors
/// The statement fails.
pub async fn find_old_partitions(
    databases: &Databases,
    before: DateTime<Utc>,
) -> Result<Vec<HistoryPartition>, StoreError> {
    databases.find("SELECT parent, week FROM old_history_partitions($1)", values![before]).await
}

/// Creates a partition, in a transaction of its own. An advisory lock lets one replica do it at a
/// time.
///
/// # Errors
/// The statement fails. `Unavailable` may mean that others use the table.
pub async fn create_partition(databases: &Databases, partition: &HistoryPartition) -> Result<(), StoreError> {
    // A function that runs as its owner: the fleet's role has no right to create tables.
    let values = values![partition.parent.clone(), partition.week];
    databases.execute_fleet("SELECT make_history_partition($1, $2)", values).await?;
    Ok(())
}

/// Drops a partition, in a transaction of its own.
///
/// # Errors
/// The statement fails. `Unavailable` may mean that others use the table.
pub async fn drop_partition(databases: &Databases, partition: &HistoryPartition) -> Result<(), StoreError> {
    let values = values![partition.parent.clone(), partition.week];
    databases.execute_fleet("SELECT drop_history_partition($1, $2)", values).await?;
    Ok(())
}

async fn find(databases: &Databases, sql: &str, values: Vec<Value>) -> Result<Vec<ExecutionKey>, StoreError> {
    let rows: Vec<ExecutionKeyRow> = databases.find(sql, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// A table without partitions, whose old rows are deleted one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrunedTable {
    /// Responses to calls that carried a request id.
    Requests,
    /// Terminal announcements that were never confirmed.
    Announcements,
    /// Checkpoints of executions whose history is dropped.
    Checkpoints,
    /// Places in the queue of executions whose history is dropped. Nothing else would remove them.
    Ready,
}

impl PrunedTable {
    const fn find_sql(self) -> &'static str {
        match self {
            Self::Requests => {
                "SELECT tenant_id, request_id AS id FROM request_log WHERE created_at < $1 LIMIT $2"
            }
            Self::Announcements => "SELECT tenant_id, id FROM announcements WHERE created_at < $1 LIMIT $2",
            // The id of an execution is a UUID v7, so it shows how old the checkpoint's execution
            // is.
            Self::Checkpoints => {
                "SELECT tenant_id, execution_id AS id FROM checkpoints WHERE execution_id < uuid_floor($1) LIMIT $2"
            }
            Self::Ready => {
                "SELECT tenant_id, execution_id AS id FROM ready WHERE execution_id < uuid_floor($1) LIMIT $2"
            }
        }
    }

    const fn delete_sql(self) -> &'static str {
        match self {
            Self::Requests => {
                "DELETE FROM request_log r USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id) \
                 WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.request_id = v.id"
            }
            Self::Announcements => {
                "DELETE FROM announcements r USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id) \
                 WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.id = v.id"
            }
            Self::Checkpoints => {
                "DELETE FROM checkpoints r USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id) \
                 WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.id"
            }
            Self::Ready => {
                "DELETE FROM ready r USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id) \
                 WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.id"
            }
        }
    }

    /// Finds rows that are older than a time. The second half of a key is the row's own id.
    ///
    /// # Errors
    /// The statement fails.
    pub async fn find(
        self,
        databases: &Databases,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<ExecutionKey>, StoreError> {
        find(databases, self.find_sql(), values![before, limit]).await
    }

    /// Deletes rows, and returns how many there were.
    ///
    /// # Errors
    /// The statement fails.
    pub async fn delete(self, tx: &Tx, keys: &[ExecutionKey]) -> Result<u64, StoreError> {
        let (tenants, ids) = ExecutionKey::unzip(keys);
        tx.execute(self.delete_sql(), values![distinct_tenants(tenants.clone()), tenants, ids]).await
    }
}

/// Deletes sessions that ended before a time, and returns how many there were.
///
/// # Errors
/// The statement fails.
pub async fn delete_sessions(databases: &Databases, before: DateTime<Utc>) -> Result<u64, StoreError> {
    databases.execute_fleet("DELETE FROM executor_sessions WHERE ended_at < $1", values![before]).await
}
