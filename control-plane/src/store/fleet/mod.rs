//! Statements of leases and of what moves runs. Each names its tenants (`= ANY`), so that it stays inside one placement group, and locks
//! rows in the order of tenant and id: executions before ready rows, leases and schedules.
//!
//! Arrays in parameters hold no nulls: what may be missing has a value that says so.

pub mod announcements;
pub mod attempts;
pub mod checkpoints;
pub mod cursors;
pub mod grants;
pub mod leases;
mod new_runs;
pub mod overdue;
pub mod passes;
pub mod ready;
pub mod retention;
mod rows;
pub mod runs;
pub mod schedules;
pub mod sessions;

pub use rows::{ExecutionKey, tenants_of};
