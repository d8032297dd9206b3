//! Postgres, the only truth: connections and transactions in `db`, and one file of statements per kind of row.
//!
//! What comes in are transactions and values, what goes out are rows; nothing here decides anything, knows of gRPC, or reads
//! a clock.

pub mod configs;
pub mod db;
pub mod error;
pub mod executions;
pub mod fleet;
pub mod integrations;
pub mod plans;
pub mod requests;
pub mod schedules;
pub mod schema;
pub mod status;
pub mod tenants;
mod timing;

/// A row of one name.
#[derive(sea_orm::FromQueryResult)]
pub(crate) struct Name {
    pub(crate) name: String,
}
