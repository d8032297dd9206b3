//! Keys of rows that transactions lock. Sorting keys gives the order of locking, which all
//! transactions share.

use sea_orm::FromQueryResult;
use uuid::Uuid;

/// Identifies an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionKey {
    /// The tenant that owns the execution.
    pub tenant_id: Uuid,
    /// The execution's id, a UUID v7.
    pub execution_id: Uuid,
}

impl ExecutionKey {
    /// Splits keys into the two parallel arrays that statements take.
    pub(crate) fn unzip(keys: &[Self]) -> (Vec<Uuid>, Vec<Uuid>) {
        keys.iter().map(|key| (key.tenant_id, key.execution_id)).unzip()
    }

    /// Splits keys like [`unzip`](Self::unzip), sorted: a statement that joins the arrays with a
    /// table locks its rows in their order.
    pub(crate) fn unzip_sorted(keys: &[Self]) -> (Vec<Uuid>, Vec<Uuid>) {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        Self::unzip(&keys)
    }
}

/// A tenant and an id, as statements return the key of an execution.
#[derive(FromQueryResult)]
pub(crate) struct ExecutionKeyRow {
    tenant_id: Uuid,
    id: Uuid,
}

impl From<ExecutionKeyRow> for ExecutionKey {
    fn from(row: ExecutionKeyRow) -> Self {
        Self { tenant_id: row.tenant_id, execution_id: row.id }
    }
}

/// Identifies the schedule of a plan for a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleKey {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The plan.
    pub plan_id: Uuid,
    /// The config.
    pub config_id: Uuid,
}

impl ScheduleKey {
    /// A key below all others.
    pub const LOWEST: Self = Self { tenant_id: Uuid::nil(), plan_id: Uuid::nil(), config_id: Uuid::nil() };

    /// Splits keys into the three parallel arrays that statements take.
    pub(crate) fn unzip(keys: &[Self]) -> (Vec<Uuid>, Vec<Uuid>, Vec<Uuid>) {
        keys.iter().map(|key| (key.tenant_id, key.plan_id, key.config_id)).collect()
    }
}
