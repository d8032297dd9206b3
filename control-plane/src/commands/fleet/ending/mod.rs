//! The calls that end an attempt: Complete, Park and Release. Each checks its own request;
//! `attempt` holds what they share.

pub mod attempt;
pub mod complete;
pub mod park;
pub mod release;
