//! Heartbeats: one call proves all leases of the process.
//!
//! `sender` runs on its own thread, with its own runtime and channels, so that a busy attempt
//! cannot delay a heartbeat. The response is the command channel: commands for leases,
//! announcements, a request to drain, and the time until which this process may work.

mod sender;
mod signals;
mod thread;

pub use sender::HeartbeatSender;
pub use signals::HeartbeatSignals;
pub use thread::HeartbeatThread;
