//! One file per command: its input, its outcome, one transaction. What comes in was decoded and belongs to a known tenant or
//! session; what goes out is an outcome or a typed error. No command knows of gRPC.

pub mod configs;
pub mod error;
pub mod etag;
pub mod executions;
pub mod fleet;
pub mod integrations;
pub mod key;
pub mod list;
pub mod mask;
pub mod once;
pub mod plans;
pub mod schedules;
pub mod tenants;

pub use error::{CommandError, Fault};
pub use key::Key;
