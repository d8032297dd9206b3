//! Access to Postgres, the only source of truth: connections and transactions in `db`, and one file
//! of statements for each kind of row.
//!
//! Transactions and values come in, rows go out. Nothing here makes a decision, knows of gRPC, or
//! reads a clock.

mod batch;
pub mod configs;
pub mod db;
pub mod error;
pub mod executions;
pub mod fleet;
pub mod integrations;
pub mod keys;
mod name_row;
pub mod plans;
pub mod requests;
pub mod schedules;
pub mod schema;
pub mod tenants;
mod timing;
