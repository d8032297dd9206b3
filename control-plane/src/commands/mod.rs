//! Commands, one file each: the input, the result, and one transaction. Callers pass decoded input
//! of an authenticated tenant or session. Commands know nothing of gRPC.

pub mod checked;
pub mod configs;
pub mod document_checks;
pub mod error;
pub mod etag;
pub mod executions;
pub mod fleet;
pub mod idempotency;
pub mod integrations;
pub mod json_pointer;
pub mod pagination;
pub mod plans;
pub mod resource_key;
pub mod schedules;
pub mod tenants;
pub mod update_mask;

pub use error::{CommandError, Diagnostic};
pub use resource_key::ResourceKey;
