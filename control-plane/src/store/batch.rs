//! Building blocks of statements that work on many rows at once.
//!
//! A batch travels as parallel arrays (`unnest($2::uuid[], $3::uuid[], …)`) or as one `VALUES`
//! list. Arrays in parameters hold no nulls, so a missing value has a stand-in that the statement
//! turns back into `NULL`.

use std::fmt::Write as _;

use uuid::Uuid;

/// Returns the distinct tenants of some rows: the array that `tenant_id = ANY($1)` compares with.
///
/// Every statement of the fleet names its tenants like this, beside the join on the row's own key.
/// Citus routes a statement to one shard only where it sees the tenants as a plain parameter.
pub(crate) fn distinct_tenants(tenants: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
    let mut tenants: Vec<Uuid> = tenants.into_iter().collect();
    tenants.sort_unstable();
    tenants.dedup();
    tenants
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

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn placeholders_count_on_across_rows() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
