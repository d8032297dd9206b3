//! Says what is wrong with a plan, and saves nothing.

use orchid_plan::{ServerLimits, Warning};

use super::document::PlanDocument;
use crate::{
    commands::{CommandError, Diagnostic},
    store::db::{TenantTx, Transaction},
};

/// The plan as it would be created.
pub struct ValidatePlan {
    /// The plan.
    pub document: PlanDocument,
    /// What this server allows a plan.
    pub limits: ServerLimits,
}

/// What was found. A plan that has diagnostics has no warnings yet.
#[derive(Debug, Default)]
pub struct ValidationReport {
    /// Why it would be refused.
    pub diagnostics: Vec<Diagnostic>,
    /// What is allowed, and probably not meant.
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
