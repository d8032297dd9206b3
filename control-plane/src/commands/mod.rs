//! One file per command: its input, its outcome, one transaction. What comes in was decoded and belongs to a known tenant or
//! session; what goes out is an outcome or a typed error. No command knows of gRPC.

pub mod configs;
pub mod error;
pub mod etag;
pub mod executions;
pub mod fleet;
pub mod idempotency;
pub mod integrations;
pub mod pagination;
pub mod plans;
pub mod resource_key;
pub mod schedules;
pub mod tenants;
pub mod update_mask;

pub use error::{CommandError, Diagnostic};
pub use resource_key::ResourceKey;
