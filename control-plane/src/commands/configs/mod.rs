//! Configs: one tenant's values for an integration.

mod create;
mod delete;
mod document;
mod hosts;
mod read;
pub mod schema;
pub mod secrets;
mod transport;
mod update;
mod validate;

pub use create::CreateConfig;
pub use delete::DeleteConfig;
pub use document::MAX_VALUES_BYTES;
pub use read::{GetConfig, ListConfigs};
pub use schema::{MAX_SCHEMA_BYTES, declared_secrets};
pub use transport::{ClientCertificate, TransportSettings};
pub use update::UpdateConfig;
pub use validate::validate_config;

/// Name of the resource in errors.
const WHAT: &str = "config";
