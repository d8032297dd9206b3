//! Says what is wrong with a plan, and saves nothing.

use orchid_plan::{ServerLimits, Warning};

use super::document::PlanDocument;
use crate::{
    commands::{CommandError, Fault},
    store::db::{TenantTx, Transaction},
};

/// The plan as it would be created.
pub struct ValidatePlan {
    /// The plan.
    pub document: PlanDocument,
    /// What this server allows a plan.
    pub limits: ServerLimits,
}

/// What was found. A plan that has faults has no warnings yet.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Why it would be refused.
    pub faults: Vec<Fault>,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<Warning>,
}

impl Transaction<TenantTx> for ValidatePlan {
    type Output = Verdict;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Verdict, CommandError> {
        match self.document.check(tx, &self.limits).await {
            Ok((checked, _, _)) => Ok(Verdict { warnings: checked.warnings, ..Verdict::default() }),
            Err(CommandError::Invalid { faults, .. }) => Ok(Verdict { faults, ..Verdict::default() }),
            Err(other) => Err(other),
        }
    }
}
