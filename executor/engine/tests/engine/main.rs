//! The engine from outside: golden cases, and what holds for every run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod canary;
mod chaos;
mod cursors;
mod each;
mod fan_outs;
mod golden;
mod hostile;
mod jobs;
mod mapping;
mod places;
mod properties;
mod sink;
mod start;
mod streams;
mod support;
mod walks;
