//! Building blocks of statements that work on many rows at once.
//!
//! A batch travels as parallel arrays (`unnest($2::uuid[], $3::uuid[], …)`) or as one `VALUES`
//! list. Arrays in parameters hold no nulls, so a missing value has a stand-in that the statement
//! turns back into `NULL`.

use std::fmt::Write as _;

use sea_orm::Value;
use uuid::Uuid;

/// Returns the distinct tenants of some rows: the array that `tenant_id = ANY($1)` compares with.
///
/// Every statement of the fleet names its tenants like this, beside the join on the row's own key.
/// Citus routes a statement to one shard only where it sees the tenants as a plain parameter.
pub(crate) fn distinct_tenants(tenants: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
    distinct(tenants)
}

/// Returns each id once, sorted.
pub(crate) fn distinct(ids: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Returns the placeholders of an `INSERT` with this many rows: `($1, $2), ($3, $4)`.
pub(crate) fn placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(text, "{comma}${}", row * columns + column);
        }
        text.push(')');
    }
    text
}

/// The conditions and values of a list: `$1` is the tenant, `$2` the limit, and only what the list
/// is restricted to follows.
///
/// A condition such as `$3 IS NULL OR id < $3` would keep Postgres from using an index.
pub(crate) struct ListStatement {
    /// The conditions beside the tenant, each with a leading ` AND `.
    pub(crate) conditions: String,
    /// The values of all parameters.
    pub(crate) values: Vec<Value>,
}

impl ListStatement {
    /// Creates a list of a tenant's rows without conditions.
    pub(crate) fn new(tenant_id: Uuid, limit: i64) -> Self {
        Self { conditions: String::new(), values: vec![tenant_id.into(), limit.into()] }
    }

    /// Adds a condition whose right side is a value.
    pub(crate) fn only(mut self, condition: &str, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        // Writing to a String does not fail.
        let _ = write!(self.conditions, " AND {condition} ${}", self.values.len());
        self
    }

    /// Adds a condition if there is a value for it.
    pub(crate) fn only_if(self, condition: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.only(condition, value),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ListStatement, placeholders};

    #[test]
    fn list_holds_only_the_conditions_that_are_set() {
        let list = ListStatement::new(uuid::Uuid::nil(), 5)
            .only_if("a =", None::<i64>)
            .only_if("b <", Some(7_i64))
            .only("c >=", 8_i64);
        assert_eq!(list.conditions, " AND b < $3 AND c >= $4");
        assert_eq!(list.values.len(), 4);
    }

    #[test]
    fn placeholders_count_on_across_rows() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
