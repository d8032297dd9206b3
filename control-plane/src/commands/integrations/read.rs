//! Reads integrations and their config schemas.

use uuid::Uuid;

use super::WHAT;
use crate::commands::CommandError;
use crate::commands::pagination::{PageRequest, ResultPage};
use crate::store::db::{TenantTx, Transaction};
use crate::store::integrations::{self, ConfigSchema, Integration};

/// Query for one integration.
pub struct GetIntegration {
    /// Key of the resource.
    pub key: String,
}

impl Transaction<TenantTx> for GetIntegration {
    type Output = Integration;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Integration, CommandError> {
        integrations::by_key(tx, &self.key).await?.ok_or_else(|| CommandError::not_found(WHAT, &self.key))
    }
}

/// Query for integrations, newest first.
pub struct ListIntegrations {
    /// Page to return.
    pub page: PageRequest<Uuid>,
}

impl Transaction<TenantTx> for ListIntegrations {
    type Output = ResultPage<Integration, Uuid>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let rows = integrations::list(tx, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}

/// Query for the versions of an integration's config schema, newest first.
pub struct ListConfigSchemas {
    /// Key of the integration.
    pub integration: String,
    /// Page to return.
    pub page: PageRequest<i32>,
}

impl Transaction<TenantTx> for ListConfigSchemas {
    type Output = ResultPage<ConfigSchema, i32>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let integration = integrations::by_key(tx, &self.integration)
            .await?
            .ok_or_else(|| CommandError::not_found(WHAT, &self.integration))?;
        let rows = integrations::list_schemas(tx, integration.id, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.version))
    }
}
