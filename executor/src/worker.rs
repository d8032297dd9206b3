//! The worker: runs each granted attempt in a task of its own, bounded by slots.
//!
//! The worker owns all these tasks and returns only when they have ended.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::lease::SlotPermit;
use crate::runner::{GrantedAttempt, RunnerServices, run_attempt};

/// A granted attempt with the slot that it occupies.
pub struct AttemptStart {
    /// The attempt to run.
    pub attempt: GrantedAttempt,
    /// Freed when the attempt has ended.
    pub slot: SlotPermit,
}

/// Runs attempts until the intake has closed the channel and all attempts have ended.
pub async fn run_attempts(mut starts: mpsc::Receiver<AttemptStart>, services: Arc<RunnerServices>) {
    let mut attempts = JoinSet::new();
    loop {
        tokio::select! {
            start = starts.recv() => {
                let Some(AttemptStart { attempt, slot }) = start else { break };
                let services = Arc::clone(&services);
                attempts.spawn(async move {
                    run_attempt(services, attempt).await;
                    // Only now: the attempt counts against the bound until its final report has a
                    // response.
                    drop(slot);
                });
            }
            // Joined as they end, so that the set does not grow.
            Some(ended) = attempts.join_next() => log_panic(ended),
        }
    }
    while let Some(ended) = attempts.join_next().await {
        log_panic(ended);
    }
}

/// Logs an attempt that panicked. Its lease handle is dropped, so the next heartbeat does not list
/// the lease, and the control plane queues the execution again.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "attempt panicked");
    }
}
