//! Configs: one tenant's values for an integration.

mod create;
mod declared;
mod delete;
mod document;
mod hosts;
mod read;
pub mod schema;
mod schema_diagnostics;
pub mod secrets;
mod transport;
mod update;
mod validate;

pub use create::CreateConfig;
pub use declared::declared_secrets;
pub use delete::DeleteConfig;
pub use read::{GetConfig, ListConfigs};
pub use transport::{ClientCertificate, TransportSettings};
pub use update::UpdateConfig;
pub use validate::ValidateConfig;

/// Name of the resource in errors.
const WHAT: &str = "config";
