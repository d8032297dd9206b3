//! Says what is wrong with a config, and saves nothing.

use super::CreateConfig;
use crate::{
    commands::{CommandError, Diagnostic},
    store::db::{TenantTx, Transaction},
};

/// The config as it would be created.
pub struct ValidateConfig(pub CreateConfig);

impl Transaction<TenantTx> for ValidateConfig {
    type Output = Vec<Diagnostic>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Vec<Diagnostic>, CommandError> {
        match self.0.check(tx).await {
            Ok(_) => Ok(Vec::new()),
            Err(CommandError::Invalid { diagnostics, .. }) => Ok(diagnostics),
            Err(other) => Err(other),
        }
    }
}
