//! The runner: one attempt, from its grant to the response to its final report.
//!
//! The engine decides what to do; the runner does it: it sends requests, produces messages, runs
//! timers and saves checkpoints. The runner itself decides only when to save, when to hold back,
//! and when to stop waiting. Every attempt ends with one Complete, Park or Release, or with a lost
//! lease. An attempt never touches another attempt's lease.

mod attempt;
mod attempt_loop;
mod checkpoint_timer;
mod checkpoint_writer;
mod exit;
mod finish;
mod message_flow;
mod prepare;
mod requests;
mod services;
mod slow_lane;
mod timers;

pub use attempt::{GrantedAttempt, run_attempt};
pub use services::RunnerServices;
pub use slow_lane::SlowLane;
