//! Postgres, the only truth: connections and transactions in `db`, and one file of statements per kind of row.
//!
//! What comes in are transactions and values, what goes out are rows; nothing here decides anything, knows of gRPC, or reads
//! a clock.

pub mod db;
pub mod error;
