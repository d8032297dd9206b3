//! Heartbeats: one call per session that keeps all its leases alive.
//!
//! `call` answers the heartbeat. `leases` confirms leases and takes back lost grants, and
//! `announcements` exchanges terminal announcements with the executor.

mod announcements;
mod call;
mod leases;

pub use call::{Heartbeat, HeartbeatResponse, LeaseCommand, run};
