//! Integrations and their config schemas.

mod create;
mod create_schema;
mod delete;
mod read;
mod update;

pub use create::CreateIntegration;
pub use create_schema::CreateConfigSchema;
pub use delete::DeleteIntegration;
pub use read::{GetIntegration, ListConfigSchemas, ListIntegrations};
pub use update::UpdateIntegration;

/// Name of the resource in errors.
const WHAT: &str = "integration";
