//! Validates a plan without saving it.

use orchid_plan::{ServerLimits, Warning};

use super::document::PlanDocument;
use crate::commands::{CommandError, Diagnostic};
use crate::store::db::{TenantTx, Transaction};

/// Command that validates a plan to be created.
pub struct ValidatePlan {
    /// The plan.
    pub document: PlanDocument,
    /// Limits of plans on this server.
    pub limits: ServerLimits,
}

/// Result of the validation. Warnings are only reported for a plan without diagnostics.
#[derive(Debug, Default)]
pub struct ValidationReport {
    /// Problems that make the plan invalid.
    pub diagnostics: Vec<Diagnostic>,
    /// Findings that are allowed, but probably not intended.
    pub warnings: Vec<Warning>,
}

impl Transaction<TenantTx> for ValidatePlan {
    type Output = ValidationReport;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<ValidationReport, CommandError> {
        match self.document.check(tx, &self.limits).await {
            Ok((checked, _, _)) => {
                Ok(ValidationReport { warnings: checked.warnings, ..ValidationReport::default() })
            }
            Err(CommandError::Invalid { diagnostics, .. }) => {
                Ok(ValidationReport { diagnostics, ..ValidationReport::default() })
            }
            Err(other) => Err(other),
        }
    }
}
