//! Compares the schema of the database with the one that this build needs, by the names of applied
//! steps. A schema with steps that this build does not know serves it too, unless one of them
//! breaks it: so replicas go on while a newer release replaces them.

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
    /// The schema does not serve this build any more.
    #[error(
        "the database's schema does not serve this build: it needs a build that knows {needed}; run a newer build"
    )]
    Newer {
        /// The newest step that a build must know.
        needed: String,
    },
}

#[derive(FromQueryResult)]
struct AppliedStep {
    version: String,
}

#[derive(FromQueryResult)]
struct ExistingTables {
    steps: bool,
    compatibility: bool,
}

#[derive(FromQueryResult)]
struct OldestStep {
    oldest_step: String,
}

/// Checks that the database has the steps of this build, and none that breaks it.
///
/// # Errors
/// The schema is older or newer, or the database fails.
pub async fn check(databases: &Databases) -> Result<(), SchemaError> {
    // A new database has neither table yet.
    let existing: Vec<ExistingTables> = databases
        .find(
            "SELECT to_regclass('seaql_migrations') IS NOT NULL AS steps,
                    to_regclass('schema_compatibility') IS NOT NULL AS compatibility",
            values![],
        )
        .await?;
    let has = |table: fn(&ExistingTables) -> bool| existing.iter().any(table);
    let applied: Vec<AppliedStep> = if has(|tables| tables.steps) {
        databases.find("SELECT version FROM seaql_migrations ORDER BY version", values![]).await?
    } else {
        Vec::new()
    };
    let oldest: Vec<OldestStep> = if has(|tables| tables.compatibility) {
        databases.find("SELECT oldest_step FROM schema_compatibility", values![]).await?
    } else {
        Vec::new()
    };
    compare(
        &applied.iter().map(|step| step.version.as_str()).collect(),
        &orchid_migrations::step_names().collect(),
        oldest.first().map(|row| row.oldest_step.as_str()),
    )
}

/// Compares the applied steps with those of this build. `oldest` is the newest step that a build
/// must know; without one it must know all.
fn compare(
    applied: &BTreeSet<&str>,
    known: &BTreeSet<&str>,
    oldest: Option<&str>,
) -> Result<(), SchemaError> {
    if let Some(missing) = known.difference(applied).next() {
        return Err(SchemaError::Older { missing: (*missing).to_owned() });
    }
    match oldest.or_else(|| applied.difference(known).next().copied()) {
        Some(needed) if !known.contains(needed) => Err(SchemaError::Newer { needed: needed.to_owned() }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_breaking_schemas_are_refused() {
        let check = |applied: &[&'static str], known: &[&'static str], oldest| {
            compare(&applied.iter().copied().collect(), &known.iter().copied().collect(), oldest)
        };
        assert!(
            matches!(check(&["1"], &["1", "2"], Some("1")), Err(SchemaError::Older { missing }) if missing == "2")
        );
        assert!(
            matches!(check(&["1", "2", "3"], &["1", "2"], Some("3")), Err(SchemaError::Newer { needed }) if needed == "3")
        );
        assert!(
            matches!(check(&["1", "2", "3"], &["1", "2"], None), Err(SchemaError::Newer { needed }) if needed == "3")
        );
        // The previous release goes on serving after a step that it can work with.
        assert!(check(&["1", "2", "3"], &["1", "2"], Some("2")).is_ok());
        assert!(check(&["1", "2"], &["1", "2"], Some("2")).is_ok());
    }
}
