//! Reads configs.

use uuid::Uuid;

use super::WHAT;
use crate::commands::CommandError;
use crate::commands::pagination::{PageRequest, ResultPage};
use crate::store::configs::{self, Config};
use crate::store::db::{TenantTx, Transaction};
use crate::store::integrations;

/// Query for one config.
pub struct GetConfig {
    /// Key of the integration.
    pub integration: String,
    /// Key of the config.
    pub key: String,
}

impl Transaction<TenantTx> for GetConfig {
    type Output = Config;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Config, CommandError> {
        configs::by_key(tx, &self.integration, &self.key)
            .await?
            .ok_or_else(|| CommandError::not_found(WHAT, format!("{}/{}", self.integration, self.key)))
    }
}

/// Query for configs, newest first.
pub struct ListConfigs {
    /// Filter by integration.
    pub integration: Option<String>,
    /// Page to return.
    pub page: PageRequest<Uuid>,
}

impl Transaction<TenantTx> for ListConfigs {
    type Output = ResultPage<Config, Uuid>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let integration_id = match &self.integration {
            Some(key) => match integrations::by_key(tx, key).await? {
                Some(integration) => Some(integration.id),
                None => return Ok(ResultPage::empty()),
            },
            None => None,
        };
        let rows = configs::list(tx, integration_id, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}
