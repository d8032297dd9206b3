//! Validates a config without saving it.

use uuid::Uuid;

use super::CreateConfig;
use crate::commands::document_checks::DocumentChecks;
use crate::commands::{CommandError, Diagnostic, checked};
use crate::store::db::Databases;

/// Returns the problems of a config to be created.
///
/// # Errors
/// Fails if the database does.
pub async fn validate_config(
    databases: &Databases,
    checks: &DocumentChecks,
    tenant_id: Uuid,
    config: CreateConfig,
) -> Result<Vec<Diagnostic>, CommandError> {
    match checked::validate(databases, checks, tenant_id, config).await {
        Ok(_) => Ok(Vec::new()),
        Err(CommandError::Invalid { diagnostics, .. }) => Ok(diagnostics),
        Err(other) => Err(other),
    }
}
