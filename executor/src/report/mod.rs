//! Report: what runs tell the control plane, and the one border between the wire's types and ours.
//!
//! In: checkpoints, ends and hand-backs of runs. Out: their verdicts, and announcements that come with a Complete. Calls
//! are batched across runs and repeated until they are answered; nothing is reported for a run that stopped waiting.

mod grant;
mod queue;
mod verdict;
mod wire;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orchid_proto::executor::v1 as proto;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

pub use grant::{Assignment, GrantedCheckpoint, GrantedDefinition, InvalidGrant, Kept};
pub use verdict::Verdict;
pub use wire::{ReleaseReason, Stamp};

pub(crate) use wire::{checkpoint_item, complete_item, park_item, place_again, release_item, whole};

use crate::announce::Announcer;
use crate::control::{Replicas, Session, SessionCell, is_session_gone};
use queue::{Call, Queued, serve};

const QUEUE: usize = 1024;

/// Takes reports. Clones share the queues.
#[derive(Clone)]
pub struct Reporter {
    checkpoints: mpsc::Sender<Queued<proto::CheckpointItem>>,
    completes: mpsc::Sender<Queued<proto::CompleteItem>>,
    parks: mpsc::Sender<Queued<proto::ParkItem>>,
    releases: mpsc::Sender<Queued<proto::ReleaseItem>>,
}

/// Serves the queues of a [`Reporter`].
pub struct ReportLoop {
    checkpoints: (mpsc::Receiver<Queued<proto::CheckpointItem>>, Call<proto::CheckpointItem>),
    completes: (mpsc::Receiver<Queued<proto::CompleteItem>>, Call<proto::CompleteItem>),
    parks: (mpsc::Receiver<Queued<proto::ParkItem>>, Call<proto::ParkItem>),
    releases: (mpsc::Receiver<Queued<proto::ReleaseItem>>, Call<proto::ReleaseItem>),
}

/// The process is ending: nobody takes reports any more.
#[derive(Debug, thiserror::Error)]
#[error("reports are closed")]
pub struct Closed;

/// What every call needs.
#[derive(Clone)]
struct Line {
    replicas: Arc<Replicas>,
    session: SessionCell,
    announcer: Announcer,
}

/// A reporter, and the loop that serves it.
pub fn reporter(
    replicas: Arc<Replicas>,
    session: SessionCell,
    announcer: Announcer,
) -> (Reporter, ReportLoop) {
    let line = Line { replicas, session, announcer };
    let (checkpoints, queued_checkpoints) = mpsc::channel(QUEUE);
    let (completes, queued_completes) = mpsc::channel(QUEUE);
    let (parks, queued_parks) = mpsc::channel(QUEUE);
    let (releases, queued_releases) = mpsc::channel(QUEUE);
    let reports = ReportLoop {
        checkpoints: (queued_checkpoints, line.call(|line, items| Box::pin(line.checkpoint(items)))),
        completes: (queued_completes, line.call(|line, items| Box::pin(line.complete(items)))),
        parks: (queued_parks, line.call(|line, items| Box::pin(line.park(items)))),
        releases: (queued_releases, line.call(|line, items| Box::pin(line.release(items)))),
    };
    (Reporter { checkpoints, completes, parks, releases }, reports)
}

impl ReportLoop {
    /// Serves until all reporters are gone and everything is answered.
    pub async fn serve(self) {
        let ReportLoop { checkpoints, completes, parks, releases } = self;
        tokio::join!(
            serve(checkpoints.0, checkpoints.1),
            serve(completes.0, completes.1),
            serve(parks.0, parks.1),
            serve(releases.0, releases.1),
        );
    }
}

impl Reporter {
    /// Saves progress.
    pub async fn checkpoint(&self, item: proto::CheckpointItem) -> Result<Verdict, Closed> {
        report(&self.checkpoints, item).await
    }

    /// Ends a run.
    pub async fn complete(&self, item: proto::CompleteItem) -> Result<Verdict, Closed> {
        report(&self.completes, item).await
    }

    /// Hands a run back until a time.
    pub async fn park(&self, item: proto::ParkItem) -> Result<Verdict, Closed> {
        report(&self.parks, item).await
    }

    /// Hands a run back at once.
    pub async fn release(&self, item: proto::ReleaseItem) -> Result<Verdict, Closed> {
        report(&self.releases, item).await
    }
}

async fn report<T: Message>(queue: &mpsc::Sender<Queued<T>>, item: T) -> Result<Verdict, Closed> {
    let (reply, verdict) = oneshot::channel();
    queue.send(Queued { item, reply }).await.map_err(|_| Closed)?;
    verdict.await.map_err(|_| Closed)
}

impl Line {
    fn call<T: 'static>(
        &self,
        send: impl Fn(Line, Vec<T>) -> BoxFuture<'static, Result<Vec<proto::ItemResult>, Status>>
        + Send
        + Sync
        + 'static,
    ) -> Call<T> {
        let line = self.clone();
        Arc::new(move |items| send(line.clone(), items))
    }

    fn session(&self) -> Result<Arc<Session>, Status> {
        self.session.get().ok_or_else(|| Status::unavailable("there is no session"))
    }

    fn notice<T>(&self, session: &Session, answer: Result<T, Status>) -> Result<T, Status> {
        if let Err(status) = &answer
            && is_session_gone(status)
        {
            self.session.lost(session.id);
        }
        answer
    }

    async fn checkpoint(self, items: Vec<proto::CheckpointItem>) -> Result<Vec<proto::ItemResult>, Status> {
        let session = self.session()?;
        let answer = self.replicas.checkpoint(&session, proto::CheckpointRequest { items }).await;
        let proto::CheckpointResponse { results } = self.notice(&session, answer)?;
        Ok(results)
    }

    async fn complete(self, items: Vec<proto::CompleteItem>) -> Result<Vec<proto::ItemResult>, Status> {
        let session = self.session()?;
        let request = proto::CompleteRequest { items, acquire: None };
        let answer = self.replicas.complete(&session, request).await;
        let proto::CompleteResponse { results, announcements, acquired: _ } =
            self.notice(&session, answer)?;
        self.announcer.announce(announcements);
        Ok(results)
    }

    async fn park(self, items: Vec<proto::ParkItem>) -> Result<Vec<proto::ItemResult>, Status> {
        let session = self.session()?;
        let answer = self.replicas.park(&session, proto::ParkRequest { items }).await;
        let proto::ParkResponse { results } = self.notice(&session, answer)?;
        Ok(results)
    }

    async fn release(self, items: Vec<proto::ReleaseItem>) -> Result<Vec<proto::ItemResult>, Status> {
        let session = self.session()?;
        let answer = self.replicas.release(&session, proto::ReleaseRequest { items }).await;
        let proto::ReleaseResponse { results } = self.notice(&session, answer)?;
        Ok(results)
    }
}
