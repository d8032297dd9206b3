//! Which steps of the schema the database has, against those that this build was made for.

use std::collections::BTreeSet;

use sea_orm::FromQueryResult;

use crate::{
    store::{db::Databases, error::StoreError},
    values,
};

/// The database's schema is not this build's.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database refused.
    #[error("cannot read which schema the database has: {0}")]
    Store(#[from] StoreError),
    /// Steps are missing.
    #[error(
        "the database's schema is older than this build: it lacks {missing}; run `orchid-control-plane migrate`"
    )]
    Older {
        /// The first step that is missing.
        missing: String,
    },
    /// Steps are there that this build does not know.
    #[error(
        "the database's schema is newer than this build: it has {unknown}, which this build does not know; run a newer build"
    )]
    Newer {
        /// The first step that is unknown.
        unknown: String,
    },
}

#[derive(FromQueryResult)]
struct Applied {
    version: String,
}

#[derive(FromQueryResult)]
struct Exists {
    exists: bool,
}

/// Fails unless the database has the steps of this build, and no others.
pub async fn check(databases: &Databases) -> Result<(), SchemaError> {
    let there: Vec<Exists> =
        databases.find("SELECT to_regclass('seaql_migrations') IS NOT NULL AS exists", values![]).await?;
    let applied: Vec<Applied> = if there.iter().any(|row| row.exists) {
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
    fn an_older_and_a_newer_schema_are_told_apart() {
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
