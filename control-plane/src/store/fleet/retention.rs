//! What is thrown away, and the partitions of history.

use chrono::{DateTime, Utc};

use super::rows::{ExecutionKey, KeyRow, tenants_of};
use super::runs::split;
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::values;

/// Makes the partitions of history between two times; one replica at a time.
pub async fn make_partitions(
    databases: &Databases,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<(), StoreError> {
    databases.execute_fleet("SELECT make_history_partitions($1, $2)", values![from, to]).await?;
    Ok(())
}

/// Drops the partitions of history that hold nothing younger.
pub async fn drop_partitions(databases: &Databases, before: DateTime<Utc>) -> Result<(), StoreError> {
    databases.execute_fleet("SELECT drop_history_partitions($1)", values![before]).await?;
    Ok(())
}

async fn find(
    databases: &Databases,
    sql: &str,
    values: Vec<sea_orm::Value>,
) -> Result<Vec<ExecutionKey>, StoreError> {
    let rows: Vec<KeyRow> = databases.find(sql, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Something that is thrown away row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrunedTable {
    /// Answers to calls that carried a request id.
    Requests,
    /// Terminal events that nobody confirmed.
    Announcements,
    /// Checkpoints of executions that are gone.
    Checkpoints,
}

impl PrunedTable {
    const fn find_sql(self) -> &'static str {
        match self {
            Self::Requests => {
                "SELECT tenant_id, request_id AS id FROM request_log WHERE created_at < $1 LIMIT $2"
            }
            Self::Announcements => "SELECT tenant_id, id FROM announcements WHERE created_at < $1 LIMIT $2",
            Self::Checkpoints => {
                "SELECT tenant_id, execution_id AS id FROM checkpoints WHERE execution_id < uuid_floor($1) LIMIT $2"
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
        }
    }

    /// Some that are older than a time.
    pub async fn find(
        self,
        databases: &Databases,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<ExecutionKey>, StoreError> {
        find(databases, self.find_sql(), values![before, limit]).await
    }

    /// Deletes those; the key's second half is the row's own id.
    pub async fn delete(self, tx: &Tx, keys: &[ExecutionKey]) -> Result<u64, StoreError> {
        let (tenants, ids) = split(keys);
        tx.execute(self.delete_sql(), values![tenants_of(tenants.clone()), tenants, ids]).await
    }
}

/// Deletes sessions that ended before a time and hold nothing.
pub async fn delete_sessions(databases: &Databases, before: DateTime<Utc>) -> Result<u64, StoreError> {
    databases.execute_fleet("DELETE FROM executor_sessions WHERE ended_at < $1", values![before]).await
}
