//! A run's progress on its way to the control plane.
//!
//! In: the engine's checkpoints. Out: one call at a time, since a later one that overtook would void the changes of an
//! earlier. It never saves what Kafka has not acknowledged: the engine hands out nothing else.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use orchid_engine::{Checkpoint, Progress, SavedCheckpoint};
use orchid_proto::executor::v1 as wire;
use tokio::time::Instant;

use crate::report::{Closed, Reporter, Stamp, Verdict, checkpoint_item, place_again, whole};
use crate::worker::Lease;

/// Numbers a run's checkpoints, and holds the call that is under way.
pub(crate) struct Saver {
    reporter: Reporter,
    token: Bytes,
    begun: Instant,
    seq: i64,
    /// The newest place handed to the control plane or got from it.
    place: Bytes,
    progress: Progress,
    resumes: bool,
    under_way: Option<BoxFuture<'static, Result<Verdict, Closed>>>,
}

impl Saver {
    pub(crate) fn new(
        reporter: Reporter,
        lease: &Lease,
        seq: i64,
        resume: Option<&SavedCheckpoint>,
    ) -> Saver {
        Saver {
            reporter,
            token: lease.token().clone(),
            begun: lease.begun(),
            seq,
            place: resume.map(|saved| saved.resume_state.clone()).unwrap_or_default(),
            progress: resume.map(|saved| saved.progress.clone()).unwrap_or_default(),
            resumes: resume.is_some(),
            under_way: None,
        }
    }

    /// Whether the run goes on from a place.
    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// A call is not answered yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to save. Only while no call is under way.
    pub(crate) fn save(&mut self, checkpoint: Checkpoint) {
        let item = self.item(Some(checkpoint));
        let reporter = self.reporter.clone();
        self.under_way = Some(Box::pin(async move { reporter.checkpoint(item).await }));
    }

    /// Waits for the verdict of the call that is under way; for ever where none is. Cancel safe.
    pub(crate) async fn answered(&mut self) -> Result<Verdict, Closed> {
        let verdict = match &mut self.under_way {
            Some(call) => call.await,
            None => std::future::pending().await,
        };
        self.under_way = None;
        verdict
    }

    /// The checkpoint of the next call: a new one, or the last place again where there is nothing new.
    pub(crate) fn item(&mut self, checkpoint: Option<Checkpoint>) -> wire::CheckpointItem {
        self.seq += 1;
        let stamp = Stamp { lease_token: self.token.clone(), seq: self.seq, running: self.running() };
        let Some(checkpoint) = checkpoint else {
            return place_again(&stamp, self.place.clone(), self.progress.clone());
        };
        self.place = checkpoint.resume_state.clone();
        self.progress = checkpoint.progress.clone();
        checkpoint_item(&stamp, checkpoint)
    }

    /// Stands for: this attempt saved nothing.
    pub(crate) fn nothing(&self) -> wire::CheckpointItem {
        wire::CheckpointItem {
            lease_token: self.token.clone(),
            attempt_ms: whole(self.running().as_millis()),
            ..wire::CheckpointItem::default()
        }
    }

    fn running(&self) -> Duration {
        self.begun.elapsed()
    }
}
