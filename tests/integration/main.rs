//! End-to-end tests with real binaries, real servers and real failures.
//!
//! They need the tools of `.ci/install test` and the binaries of `cargo build --workspace`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and then says why"
)]

mod beats;
mod bounded_work;
mod cli;
mod continuations;
mod control_plane_lost;
mod cron;
mod cursors;
mod demo;
mod doorbell_lost;
mod examples;
mod executions;
mod executor_lost;
mod fairness;
mod fleet;
mod held_cursors;
mod hostile_documents;
mod hostile_texts;
mod isolation;
mod json_server;
mod kafka_away;
mod lease_calls;
mod lease_moves;
mod lock_order;
mod management;
mod messages;
mod partitions;
mod plans;
mod poisoned_reports;
mod price;
mod readme;
mod real_kafka;
mod refusals;
mod rolling;
mod schedule;
mod schema;
mod scripted_executor;
mod secrets;
mod statement_plans;
mod stranded;
mod testkit;
mod transport;
mod ungrantable;
mod waits;
