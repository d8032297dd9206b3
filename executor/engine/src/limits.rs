//! Limits that the engine shares with the executor.

use std::time::Duration;

/// Unacknowledged messages of one attempt from which on the engine emits no further rows, until
/// half of them are acknowledged.
pub const UNACKED_MESSAGES_MAX: usize = 256;

/// Unacknowledged bytes of one attempt from which on the engine emits no further rows, until half
/// of them are acknowledged. One message may be larger.
pub const UNACKED_BYTES_MAX: usize = 8 << 20;

/// Time that a stopped execution has for cancelling the async jobs that upstreams still work on.
///
/// A cancel reaches an executor with the next heartbeat (10 s), and the control plane ends an
/// execution that has not ended 30 s after the cancel was requested. This bound lies between the
/// two.
pub const CANCEL_GRACE: Duration = Duration::from_secs(15);
