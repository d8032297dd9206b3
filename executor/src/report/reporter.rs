//! The reporter: one queue per kind of report, and the calls that empty them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orchid_proto::executor::v1 as wire;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::announce::Announcer;
use crate::control::{ControlPlaneClient, CurrentSession, Session, is_session_gone};
use crate::convert::ReportOutcome;
use crate::report::queue::{BatchCall, QueuedItem, serve};

const QUEUE: usize = 1024;

/// Takes reports of attempts. Clones share the queues.
#[derive(Clone)]
pub struct Reporter {
    checkpoints: mpsc::Sender<QueuedItem<wire::CheckpointItem>>,
    completes: mpsc::Sender<QueuedItem<wire::CompleteItem>>,
    parks: mpsc::Sender<QueuedItem<wire::ParkItem>>,
    releases: mpsc::Sender<QueuedItem<wire::ReleaseItem>>,
}

/// The loop that serves the queues of a [`Reporter`].
pub struct ReportLoop {
    checkpoints: (mpsc::Receiver<QueuedItem<wire::CheckpointItem>>, BatchCall<wire::CheckpointItem>),
    completes: (mpsc::Receiver<QueuedItem<wire::CompleteItem>>, BatchCall<wire::CompleteItem>),
    parks: (mpsc::Receiver<QueuedItem<wire::ParkItem>>, BatchCall<wire::ParkItem>),
    releases: (mpsc::Receiver<QueuedItem<wire::ReleaseItem>>, BatchCall<wire::ReleaseItem>),
}

/// The process is shutting down and takes no more reports.
#[derive(Debug, thiserror::Error)]
#[error("the report queue is closed")]
pub struct ReportsClosed;

/// The calls to the control plane, with what all of them need.
#[derive(Clone)]
struct ReportCalls {
    control: Arc<ControlPlaneClient>,
    session: CurrentSession,
    announcer: Announcer,
}

/// Creates a reporter and the loop that serves it.
pub fn reporter(
    control: Arc<ControlPlaneClient>,
    session: CurrentSession,
    announcer: Announcer,
) -> (Reporter, ReportLoop) {
    let calls = ReportCalls { control, session, announcer };
    let (checkpoints, queued_checkpoints) = mpsc::channel(QUEUE);
    let (completes, queued_completes) = mpsc::channel(QUEUE);
    let (parks, queued_parks) = mpsc::channel(QUEUE);
    let (releases, queued_releases) = mpsc::channel(QUEUE);
    let report_loop = ReportLoop {
        checkpoints: (queued_checkpoints, calls.batch(|calls, items| Box::pin(calls.checkpoint(items)))),
        completes: (queued_completes, calls.batch(|calls, items| Box::pin(calls.complete(items)))),
        parks: (queued_parks, calls.batch(|calls, items| Box::pin(calls.park(items)))),
        releases: (queued_releases, calls.batch(|calls, items| Box::pin(calls.release(items)))),
    };
    (Reporter { checkpoints, completes, parks, releases }, report_loop)
}

impl ReportLoop {
    /// Serves until all reporters are dropped and all calls have ended.
    pub async fn serve(self) {
        let Self { checkpoints, completes, parks, releases } = self;
        tokio::join!(
            serve(checkpoints.0, checkpoints.1),
            serve(completes.0, completes.1),
            serve(parks.0, parks.1),
            serve(releases.0, releases.1),
        );
    }
}

impl Reporter {
    /// Saves a checkpoint and waits for the outcome.
    ///
    /// # Errors
    ///
    /// Like all reports, fails only when the process shuts down.
    pub async fn checkpoint(&self, item: wire::CheckpointItem) -> Result<ReportOutcome, ReportsClosed> {
        report(&self.checkpoints, item).await
    }

    /// Ends an execution and waits for the outcome.
    ///
    /// # Errors
    ///
    /// See [`checkpoint`](Self::checkpoint).
    pub async fn complete(&self, item: wire::CompleteItem) -> Result<ReportOutcome, ReportsClosed> {
        report(&self.completes, item).await
    }

    /// Hands an execution back, to be continued at a later time, and waits for the outcome.
    ///
    /// # Errors
    ///
    /// See [`checkpoint`](Self::checkpoint).
    pub async fn park(&self, item: wire::ParkItem) -> Result<ReportOutcome, ReportsClosed> {
        report(&self.parks, item).await
    }

    /// Hands an execution back, to be continued at once, and waits for the outcome.
    ///
    /// # Errors
    ///
    /// See [`checkpoint`](Self::checkpoint).
    pub async fn release(&self, item: wire::ReleaseItem) -> Result<ReportOutcome, ReportsClosed> {
        report(&self.releases, item).await
    }
}

async fn report<T: Message>(
    queue: &mpsc::Sender<QueuedItem<T>>,
    item: T,
) -> Result<ReportOutcome, ReportsClosed> {
    let (reply, outcome) = oneshot::channel();
    queue.send(QueuedItem { item, reply }).await.map_err(|_| ReportsClosed)?;
    outcome.await.map_err(|_| ReportsClosed)
}

impl ReportCalls {
    fn batch<T: 'static>(
        &self,
        send: impl Fn(Self, Vec<T>) -> BoxFuture<'static, Result<Vec<wire::ItemResult>, Status>>
        + Send
        + Sync
        + 'static,
    ) -> BatchCall<T> {
        let calls = self.clone();
        Arc::new(move |items| send(calls.clone(), items))
    }

    async fn checkpoint(self, items: Vec<wire::CheckpointItem>) -> Result<Vec<wire::ItemResult>, Status> {
        let session = self.current_session()?;
        let result = self.control.checkpoint(&session, wire::CheckpointRequest { items }).await;
        let wire::CheckpointResponse { results } = self.check_session(&session, result)?;
        Ok(results)
    }

    async fn complete(self, items: Vec<wire::CompleteItem>) -> Result<Vec<wire::ItemResult>, Status> {
        let session = self.current_session()?;
        // The call could acquire the next leases, too. The intake does that, because it owns the
        // slots.
        let request = wire::CompleteRequest { items, acquire: None };
        let result = self.control.complete(&session, request).await;
        let wire::CompleteResponse { results, announcements, acquired: _ } =
            self.check_session(&session, result)?;
        // The ends just committed. The next heartbeat would hand them over as well, only later.
        self.announcer.announce(announcements);
        Ok(results)
    }

    async fn park(self, items: Vec<wire::ParkItem>) -> Result<Vec<wire::ItemResult>, Status> {
        let session = self.current_session()?;
        let result = self.control.park(&session, wire::ParkRequest { items }).await;
        let wire::ParkResponse { results } = self.check_session(&session, result)?;
        Ok(results)
    }

    async fn release(self, items: Vec<wire::ReleaseItem>) -> Result<Vec<wire::ItemResult>, Status> {
        let session = self.current_session()?;
        let result = self.control.release(&session, wire::ReleaseRequest { items }).await;
        let wire::ReleaseResponse { results } = self.check_session(&session, result)?;
        Ok(results)
    }

    fn current_session(&self) -> Result<Arc<Session>, Status> {
        self.session.get().ok_or_else(|| Status::unavailable("no session"))
    }

    /// Clears the session if the result says that it is gone.
    fn check_session<T>(&self, session: &Session, result: Result<T, Status>) -> Result<T, Status> {
        if let Err(status) = &result
            && is_session_gone(status)
        {
            self.session.clear(session.id);
        }
        result
    }
}
