//! Plans and their revisions.

mod context_override;
mod create;
mod delete;
mod document;
mod read;
mod revise;
mod rollback;
mod trigger;
mod update;
mod validate;

pub use context_override::ContextOverride;
pub use create::CreatePlan;
pub use delete::DeletePlan;
pub use document::{PlanChanges, PlanDocument};
pub use read::{GetPlan, GetPlanRevision, ListPlanRevisions, ListPlans};
pub use rollback::RollbackPlan;
pub use trigger::TriggerPlan;
pub use update::UpdatePlan;
pub use validate::{ValidationReport, validate_plan, warnings_of};

/// Name of the resource in errors.
const WHAT: &str = "plan";
