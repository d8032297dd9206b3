//! Grants leases to an executor.
//!
//! `call` is the command: it takes the executions that the doorbell announced, or any of the pool
//! with a long poll. `batch` grants executions of one placement group in one transaction, and
//! `material` reads what their grants contain. `unstartable` ends executions for which that is
//! impossible.

mod batch;
mod call;
pub mod grant;
pub(in crate::commands::fleet) mod material;
mod repeat;
pub mod request;
mod unstartable;

pub use call::run;
pub use grant::{Grant, GrantedCheckpoint, GrantedConfig, PersistentState};
pub use request::{AcquireRequest, AcquireResponse};
