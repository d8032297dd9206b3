//! Tests of the engine through its public API: golden cases, and properties of every execution.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

mod async_jobs;
mod back_pressure;
mod case_index;
mod chaos;
mod checkpoint_growth;
mod checkpoints;
mod cursor_limits;
mod fan_outs;
mod for_each;
mod golden;
mod hostile;
mod how_do_i;
mod offered_pages;
mod properties;
mod redaction;
mod response_excerpts;
mod row_accounting;
mod rule_tests;
mod sink;
mod start;
mod streams;
mod support;
mod warnings_guide;
mod windows;
