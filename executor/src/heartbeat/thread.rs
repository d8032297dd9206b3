//! The heartbeat's own thread.

use std::io;
use std::thread::{self, JoinHandle};

use tokio_util::sync::CancellationToken;

use crate::heartbeat::sender::HeartbeatSender;

/// A running heartbeat thread.
pub struct HeartbeatThread {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl HeartbeatThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Fails when the runtime or the thread cannot be created.
    pub fn start(sender: HeartbeatSender) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = sender.serve() => {}
                }
            });
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops the thread and waits for it to end.
    pub async fn stop(self) {
        self.stop.cancel();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("heartbeat thread panicked");
        }
    }
}
