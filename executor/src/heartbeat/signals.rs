//! Signals between the heartbeat and the rest of the process.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Signals to and from the heartbeat.
#[derive(Debug, Default)]
pub struct HeartbeatSignals {
    draining: AtomicBool,
    send_now: Notify,
    /// Cancelled when the control plane asks this executor to drain.
    pub drain_requested: CancellationToken,
}

impl HeartbeatSignals {
    /// Marks all further heartbeats as draining and sends one at once.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.send_now.notify_one();
    }

    /// Sends a heartbeat at once.
    pub fn send_now(&self) {
        self.send_now.notify_one();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Waits for [`send_now`](Self::send_now) or [`start_draining`](Self::start_draining).
    pub(super) async fn wait_send_now(&self) {
        self.send_now.notified().await;
    }
}
