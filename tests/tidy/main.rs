//! The house rules that no other tool enforces: sizes of files, who may use which crate, licences,
//! words, settings, SQL. Needs no servers.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod circles;
mod crates;
mod files;
mod language;
mod literals;
mod settings;
mod sql;
mod tree;
