//! Sends an attempt's checkpoints to the control plane.
//!
//! Only one call is in flight at a time: the control plane ignores a checkpoint with a lower seq
//! than the last, so a call that was overtaken would lose its changes. The engine hands out only
//! what Kafka has acknowledged, so nothing else is ever saved.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use orchid_engine::{Checkpoint, Progress, SavedCheckpoint};
use orchid_proto::executor::v1 as wire;
use tokio::time::Instant;

use crate::convert::{
    CheckpointHeader, ReportOutcome, checkpoint_item, empty_checkpoint_item, repeated_checkpoint_item,
};
use crate::lease::LeaseHandle;
use crate::report::{Reporter, ReportsClosed};

/// Numbers an attempt's checkpoints, and holds the call in flight.
pub(crate) struct CheckpointWriter {
    reporter: Reporter,
    lease_token: Bytes,
    granted_at: Instant,
    seq: i64,
    /// The newest resume state that was sent to the control plane or came from it.
    resume_state: Bytes,
    progress: Progress,
    is_resumed: bool,
    in_flight: Option<BoxFuture<'static, Result<ReportOutcome, ReportsClosed>>>,
}

impl CheckpointWriter {
    /// Creates the writer of an attempt. `seq` is that of the last accepted checkpoint, or 0.
    pub(crate) fn new(
        reporter: Reporter,
        lease: &LeaseHandle,
        seq: i64,
        saved: Option<&SavedCheckpoint>,
    ) -> Self {
        Self {
            reporter,
            lease_token: lease.token().clone(),
            granted_at: lease.granted_at(),
            seq,
            resume_state: saved.map(|saved| saved.resume_state.clone()).unwrap_or_default(),
            progress: saved.map(|saved| saved.progress.clone()).unwrap_or_default(),
            is_resumed: saved.is_some(),
            in_flight: None,
        }
    }

    /// Returns whether the attempt resumes an earlier one.
    pub(crate) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Returns whether a call is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Starts to save a checkpoint. No other call may be in flight.
    pub(crate) fn save(&mut self, checkpoint: Checkpoint) {
        let item = self.next_item(Some(checkpoint));
        let reporter = self.reporter.clone();
        self.in_flight = Some(Box::pin(async move { reporter.checkpoint(item).await }));
    }

    /// Waits for the outcome of the call in flight; for ever if there is none. Cancel safe.
    pub(crate) async fn outcome(&mut self) -> Result<ReportOutcome, ReportsClosed> {
        let outcome = match &mut self.in_flight {
            Some(call) => call.await,
            None => std::future::pending().await,
        };
        self.in_flight = None;
        outcome
    }

    /// Creates the item of the next call: the new checkpoint, or the last resume state again if
    /// there is no new one.
    pub(crate) fn next_item(&mut self, checkpoint: Option<Checkpoint>) -> wire::CheckpointItem {
        // Also without a new checkpoint: the control plane ignores a call that repeats a seq.
        self.seq += 1;
        let header = CheckpointHeader {
            lease_token: self.lease_token.clone(),
            seq: self.seq,
            running: self.running(),
        };
        // An item without a resume state would say that this attempt has saved nothing.
        let Some(checkpoint) = checkpoint else {
            return repeated_checkpoint_item(&header, self.resume_state.clone(), self.progress.clone());
        };
        self.resume_state = checkpoint.resume_state.clone();
        self.progress = checkpoint.progress.clone();
        checkpoint_item(&header, checkpoint)
    }

    /// Creates an item that says: this attempt has made no progress.
    pub(crate) fn empty_item(&self) -> wire::CheckpointItem {
        empty_checkpoint_item(self.lease_token.clone(), self.running())
    }

    fn running(&self) -> Duration {
        self.granted_at.elapsed()
    }
}
