//! Worker: so many slots, one run in each.
//!
//! In: granted runs with their slots. Out: each run driven to its end in a task of its own. It owns all these tasks, and
//! returns only when they have ended.

mod leases;
mod slots;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

pub use leases::{Lease, Leases, Order, Picture, Running};
pub use slots::{Slot, Slots};

use crate::drive::{Granted, Parts, drive};

/// A granted run with the slot that it runs in.
pub struct Start {
    /// What to run.
    pub granted: Granted,
    /// Given back when the run has ended.
    pub slot: Slot,
}

/// Runs what comes until the intake is gone and all runs have ended.
pub async fn work(mut starts: mpsc::Receiver<Start>, parts: Arc<Parts>) {
    let mut runs = JoinSet::new();
    loop {
        tokio::select! {
            start = starts.recv() => {
                let Some(Start { granted, slot }) = start else { break };
                let parts = Arc::clone(&parts);
                runs.spawn(async move {
                    drive(parts, granted).await;
                    drop(slot);
                });
            }
            Some(ended) = runs.join_next() => note(ended),
        }
    }
    while let Some(ended) = runs.join_next().await {
        note(ended);
    }
}

/// A run that panicked has let go of its lease: the next beat does not list it, and it goes back to the queue.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "run broke");
    }
}
