//! Compares the schema of the database with the one that this build needs, by the names of applied
//! steps.

use std::collections::BTreeSet;

use sea_orm::FromQueryResult;

use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::values;

/// An error when the schema of the database does not fit this build.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database fails.
    #[error("cannot read the schema version of the database: {0}")]
    Store(#[from] StoreError),
    /// The database lacks steps.
    #[error(
        "the database's schema is older than this build: it lacks {missing}; run `orchid-control-plane migrate`"
    )]
    Older {
        /// The first missing step.
        missing: String,
    },
    /// The database has steps that this build does not know.
    #[error(
        "the database's schema is newer than this build: it has {unknown}, which this build does not know; run a newer build"
    )]
    Newer {
        /// The first unknown step.
        unknown: String,
    },
}

#[derive(FromQueryResult)]
struct AppliedStep {
    version: String,
}

#[derive(FromQueryResult)]
struct TableExists {
    exists: bool,
}

/// Checks that the database has exactly the steps of this build.
///
/// # Errors
/// The schema is older or newer, or the database fails.
pub async fn check(databases: &Databases) -> Result<(), SchemaError> {
    // A new database does not have the table of applied steps yet.
    let there: Vec<TableExists> =
        databases.find("SELECT to_regclass('seaql_migrations') IS NOT NULL AS exists", values![]).await?;
    let applied: Vec<AppliedStep> = if there.iter().any(|row| row.exists) {
        databases.find("SELECT version FROM seaql_migrations ORDER BY version", values![]).await?
    } else {
        Vec::new()
    };
    compare(
        applied.iter().map(|step| step.version.as_str()).collect(),
        orchid_migrations::step_names().collect(),
    )
}

fn compare(applied: BTreeSet<&str>, known: BTreeSet<&str>) -> Result<(), SchemaError> {
    if let Some(unknown) = applied.difference(&known).next() {
        return Err(SchemaError::Newer { unknown: (*unknown).to_owned() });
    }
    match known.difference(&applied).next() {
        Some(missing) => Err(SchemaError::Older { missing: (*missing).to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_newer_schemas_are_distinguished() {
        let check = |applied: &[&'static str], known: &[&'static str]| {
            compare(applied.iter().copied().collect(), known.iter().copied().collect())
        };
        assert!(matches!(check(&["1"], &["1", "2"]), Err(SchemaError::Older { missing }) if missing == "2"));
        assert!(
            matches!(check(&["1", "2", "3"], &["1", "2"]), Err(SchemaError::Newer { unknown }) if unknown == "3")
        );
        assert!(check(&["1", "2"], &["1", "2"]).is_ok());
    }
}
