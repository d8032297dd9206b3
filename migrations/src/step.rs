//! A migration step: its name and its two SQL files.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::prelude::{DbErr, MigrationName, MigrationTrait, SchemaManager};
use sea_orm_migration::sea_orm::ConnectionTrait as _;

use crate::statements::split;

/// A change of the schema, and the SQL that reverts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MigrationStep {
    pub(crate) name: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
}

impl MigrationName for MigrationStep {
    fn name(&self) -> &str {
        self.name
    }
}

/// Runs the statements of a file, one by one: Citus takes one command per message.
async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    for statement in split(sql) {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}

// The lifetime is elided as in the trait: with '_ the signature would differ for async_trait.
#[expect(elided_lifetimes_in_paths, reason = "as in the trait")]
#[async_trait]
impl MigrationTrait for MigrationStep {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, self.up).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, self.down).await
    }
}
