//! Says what is wrong with a plan, and saves nothing.

use orchid_plan::ServerLimits;

use super::document::PlanDocument;
use crate::{
    commands::{CommandError, Fault},
    store::db::{TenantTx, Work},
};

/// The plan as it would be created.
pub struct ValidatePlan {
    /// The plan.
    pub document: PlanDocument,
    /// What this server allows a plan.
    pub limits: ServerLimits,
}

impl Work<TenantTx> for ValidatePlan {
    type Done = Vec<Fault>;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Vec<Fault>, CommandError> {
        match self.document.check(tx, &self.limits).await {
            Ok(_) => Ok(Vec::new()),
            Err(CommandError::Invalid { faults, .. }) => Ok(faults),
            Err(other) => Err(other),
        }
    }
}
