//! Rows of `plan_executions`, `execution_attempts` and `execution_history`. No other module writes
//! these tables.
//!
//! An execution's row is the lock under which everything about it changes: its lease, its ready
//! row, its attempts and its checkpoints are written only by a transaction that holds the row.
//! Batches lock rows in the order of `ExecutionKey`, before ready rows, leases and schedules, so
//! that two transactions never wait for each other.

pub mod attempts;
pub mod change;
pub mod grant;
pub mod history;
pub mod insert;
pub mod locked;
pub mod overdue;
pub mod read;
pub mod status;
pub mod trigger;

pub use read::{Attempt, Execution, ExecutionFilter, HistoryEvent, SeenVersion};
