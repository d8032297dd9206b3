//! Reports: checkpoints and final reports of attempts, sent to the control plane.
//!
//! Calls are batched across attempts and repeated until the control plane responds. A report is
//! dropped only when its attempt no longer waits for the outcome.

mod queue;
mod reporter;

pub use reporter::{ReportLoop, Reporter, ReportsClosed, reporter};
