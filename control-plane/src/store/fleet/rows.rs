//! What batches of rows have in common.

use std::fmt::Write as _;

use sea_orm::FromQueryResult;
use uuid::Uuid;

/// Names an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionKey {
    /// Whose.
    pub tenant_id: Uuid,
    /// Its id.
    pub execution_id: Uuid,
}

#[derive(FromQueryResult)]
pub(super) struct KeyRow {
    tenant_id: Uuid,
    id: Uuid,
}

impl From<KeyRow> for ExecutionKey {
    fn from(row: KeyRow) -> Self {
        Self { tenant_id: row.tenant_id, execution_id: row.id }
    }
}

/// The tenants of some rows, each once: what `= ANY` compares with.
pub fn tenants_of(tenants: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
    let mut tenants: Vec<Uuid> = tenants.into_iter().collect();
    tenants.sort_unstable();
    tenants.dedup();
    tenants
}

/// `($1, $2), ($3, $4)`: the rows of an INSERT.
pub(super) fn placeholders(rows: usize, columns: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn numbers_go_on_from_row_to_row() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
