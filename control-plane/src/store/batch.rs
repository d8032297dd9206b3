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

/// Maximum number of rows of one `INSERT`. A statement has at most 65,535 parameters, and no table
/// here has more than 21 columns.
pub(crate) const MAX_ROWS: usize = 2000;

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

/// Returns the condition that ids of a batch, `v.…`, are ids.
///
/// It is always true, and Postgres takes it for one that few rows meet: it plans from the batch to
/// the table, row by row by key. Otherwise it may read all rows of the batch's tenants, as long as
/// the statistics of a table that fills and empties say that there are few.
pub(crate) fn short_batch(column: &str) -> String {
    format!("{column} >= '{}' AND {column} <= '{}'", Uuid::nil(), Uuid::max())
}

/// Milliseconds of a week: the range of one partition of the history.
const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Milliseconds from the Monday before 1970 until 1970. Partitions begin on Mondays.
const MONDAY_MS: u64 = 3 * 24 * 60 * 60 * 1000;
/// Times of UUIDs of version 7 have 48 bits.
const TIME_BITS: u32 = 48;

/// Returns the condition that a column with ids of executions lies in the weeks of these ids.
///
/// It changes no result: it lets Postgres leave out the partitions of all other weeks when it
/// plans. The weeks are part of the text, so the plan is prepared once a week.
pub(crate) fn within_weeks(column: &str, ids: &[Uuid]) -> String {
    let time_ms = |id: &Uuid| u64::try_from(id.as_u128() >> (128 - TIME_BITS)).unwrap_or(0);
    let week = |id: &Uuid| (time_ms(id) + MONDAY_MS) / WEEK_MS;
    let first_id = |week: u64| {
        let begin_ms = (week * WEEK_MS).saturating_sub(MONDAY_MS);
        Uuid::from_u128(u128::from(begin_ms) << (128 - TIME_BITS))
    };
    let Some((first, last)) = ids.iter().map(week).min().zip(ids.iter().map(week).max()) else {
        return "true".to_owned();
    };
    let lower = format!("{column} >= '{}'", first_id(first));
    // The last week of all has no end in 48 bits.
    if ((last + 1) * WEEK_MS).saturating_sub(MONDAY_MS) >> TIME_BITS > 0 {
        return lower;
    }
    format!("{lower} AND {column} < '{}'", first_id(last + 1))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{ListStatement, placeholders, within_weeks};

    #[test]
    fn list_holds_only_the_conditions_that_are_set() {
        let list = ListStatement::new(Uuid::nil(), 5)
            .only_if("a =", None::<i64>)
            .only_if("b <", Some(7_i64))
            .only("c >=", 8_i64);
        assert_eq!(list.conditions, " AND b < $3 AND c >= $4");
        assert_eq!(list.values.len(), 4);
    }

    #[test]
    fn weeks_begin_on_mondays_and_contain_every_id() {
        // Monday 2026-11-30, and the last moment of the Sunday before it.
        let monday = Uuid::from_u128(1_795_996_800_000 << 80);
        let sunday = Uuid::from_u128(((1_795_996_800_000 << 80) - 1) & !(0xf000 << 64));
        let next = Uuid::from_u128((1_795_996_800_000 + 7 * 86_400_000) << 80);
        assert_eq!(within_weeks("e.id", &[monday]), format!("e.id >= '{monday}' AND e.id < '{next}'"));
        let before = Uuid::from_u128((1_795_996_800_000 - 7 * 86_400_000) << 80);
        assert_eq!(within_weeks("id", &[monday, sunday]), format!("id >= '{before}' AND id < '{next}'"));
    }

    #[test]
    fn id_of_the_last_week_has_no_upper_bound() {
        assert!(!within_weeks("id", &[Uuid::max()]).contains('<'));
        assert_eq!(within_weeks("id", &[]), "true");
        let first = within_weeks("id", &[Uuid::nil()]);
        assert!(first.starts_with(&format!("id >= '{}'", Uuid::nil())), "{first}");
    }

    #[test]
    fn placeholders_count_on_across_rows() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
