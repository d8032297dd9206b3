//! Time limits that the engine shares with the executor.

use std::time::Duration;

/// Time that a stopped execution has for cancelling the async jobs that upstreams still work on.
///
/// A cancel reaches an executor with the next heartbeat (10 s), and the control plane ends an
/// execution that has not ended 30 s after the cancel was requested. This bound lies between the
/// two.
pub const CANCEL_GRACE: Duration = Duration::from_secs(15);
