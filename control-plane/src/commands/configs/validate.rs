//! Validates a config without saving it.

use super::CreateConfig;
use crate::commands::{CommandError, Diagnostic};
use crate::store::db::{TenantTx, Transaction};

/// Command that validates a config to be created.
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
