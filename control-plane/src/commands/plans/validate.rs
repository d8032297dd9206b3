//! Validates a plan without saving it.

use orchid_plan::{ServerLimits, Warning};
use uuid::Uuid;

use super::CreatePlan;
use crate::commands::document_checks::DocumentChecks;
use crate::commands::{CommandError, Diagnostic, checked};
use crate::store::db::Databases;

/// Result of the validation. Warnings are only reported for a plan without diagnostics.
#[derive(Debug, Default)]
pub struct ValidationReport {
    /// Problems that make the plan invalid.
    pub diagnostics: Vec<Diagnostic>,
    /// Findings that are allowed, but probably not intended.
    pub warnings: Vec<Warning>,
}

/// Returns the problems of a plan to be created.
///
/// # Errors
/// Fails if the database does.
pub async fn validate_plan(
    databases: &Databases,
    checks: &DocumentChecks,
    tenant_id: Uuid,
    plan: CreatePlan,
) -> Result<ValidationReport, CommandError> {
    match checked::validate(databases, checks, tenant_id, plan).await {
        Ok(checked) => Ok(ValidationReport { warnings: checked.warnings, ..ValidationReport::default() }),
        Err(CommandError::Invalid { diagnostics, .. }) => {
            Ok(ValidationReport { diagnostics, ..ValidationReport::default() })
        }
        Err(other) => Err(other),
    }
}

/// Returns the warnings about a stored definition.
///
/// # Errors
/// Fails if the check stops.
pub async fn warnings_of(
    checks: &DocumentChecks,
    definition: serde_json::Value,
    limits: ServerLimits,
) -> Result<Vec<Warning>, CommandError> {
    let compile = move || orchid_plan::compile(&definition, &limits);
    Ok(checks.run(move || compile().map(|definition| definition.warnings())).await?.unwrap_or_default())
}
