//! Beat: one heartbeat for all leases, on a thread of its own.
//!
//! In: what runs, and proof that the consume loop lives. Out: orders for runs, announcements, the drain, and the fence: until
//! when this process may work. Its runtime and its channels are its own, so that nothing the runs do can delay it.

mod fence;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub use fence::Fence;

use crate::announce::{AnnouncementKey, Announcer};
use crate::control::{Replicas, Session, SessionCell, is_session_gone};
use crate::intake::Pulse;
use crate::report::whole;
use crate::settings::ControlPlaneSettings;
use crate::sink::Sink;
use crate::worker::{Leases, Order, Running, Slots};

/// A beat that is not answered by then goes to the other replica.
const MAX_BEAT_TIME: Duration = Duration::from_secs(5);

/// What the heartbeat speaks for and to.
pub struct Beat {
    /// Where the control plane is.
    pub control_plane: ControlPlaneSettings,
    /// The current session.
    pub session: SessionCell,
    /// What runs.
    pub leases: Arc<Leases>,
    /// What is free.
    pub slots: Slots,
    /// Whether the consume loop lives.
    pub pulse: Pulse,
    /// Terminal events.
    pub announcer: Announcer,
    /// Until when this process may work.
    pub fence: Arc<Fence>,
    /// Its queue is purged when the fence shuts.
    pub sink: Sink,
    /// What others tell the heartbeat.
    pub signals: Arc<BeatSignals>,
}

/// What others tell the heartbeat, and what it tells the process.
#[derive(Debug, Default)]
pub struct BeatSignals {
    draining: AtomicBool,
    now: Notify,
    /// Cancelled when the control plane wants this executor to drain.
    pub drain_asked: CancellationToken,
}

/// The heartbeat's thread.
pub struct BeatThread {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl BeatSignals {
    /// From now on beats say that the executor drains; one goes out at once.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.now.notify_one();
    }

    /// Beat at once.
    pub fn now(&self) {
        self.now.notify_one();
    }
}

impl BeatThread {
    /// Starts the thread.
    pub fn start(beat: Beat) -> io::Result<BeatThread> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("beat".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = beat.serve() => {}
                }
            });
        })?;
        Ok(BeatThread { stop, thread })
    }

    /// Stops the thread and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the heartbeat's thread broke");
        }
    }
}

impl Beat {
    async fn serve(self) {
        // Another start in the list than the runs' calls: the fewer replicas both depend on, the better.
        let replicas = match Replicas::new(&self.control_plane, rand::random_range(0..1024)) {
            Ok(replicas) => replicas,
            Err(error) => {
                tracing::error!(%error, "the heartbeat has no way to the control plane");
                return;
            }
        };
        tokio::join!(self.watch_fence(), self.beat(&replicas));
    }

    /// Purges the producer's queue each time the fence shuts.
    async fn watch_fence(&self) {
        loop {
            self.fence.opened().await;
            self.fence.closed().await;
            self.sink.purge();
            self.fence.wake();
            tracing::warn!("no accepted beat for too long: fetching and producing pause");
        }
    }

    /// Beats through all sessions.
    async fn beat(&self, replicas: &Replicas) {
        while let Some(session) = self.session.wait().await {
            let mut interval = session.beat_interval;
            let mut beat_seq = 0;
            let mut next = Instant::now() + interval;
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
            let mut watch = self.session.watch();
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = self.signals.now.notified() => {}
                    _ = watch.wait_for(|current| current.as_ref().is_none_or(|it| it.id != session.id)) => break,
                }
                beat_seq += 1;
                let sent = Instant::now();
                match self.send(replicas, &session, beat_seq, sent, interval).await {
                    Ok(wanted) => {
                        interval = wanted;
                        next = sent + interval;
                        backoff.reset();
                    }
                    Err(status) if is_session_gone(&status) => {
                        self.lose(&session);
                        break;
                    }
                    Err(status) => {
                        tracing::warn!(code = ?status.code(), message = status.message(), "beat not accepted");
                        next = Instant::now() + backoff.next_delay().min(interval);
                    }
                }
            }
        }
    }

    /// The session has expired. A late answer about one that was replaced meanwhile changes nothing.
    fn lose(&self, session: &Session) {
        tracing::warn!(session = %session.id, "session has expired");
        self.leases.end_session(session.id);
        if self.session.get().is_some_and(|current| current.id == session.id) {
            self.fence.shut();
            self.session.lost(session.id);
        }
    }

    /// One beat; answers the interval that the server wants now.
    async fn send(
        &self,
        replicas: &Replicas,
        session: &Session,
        beat_seq: i64,
        sent: Instant,
        interval: Duration,
    ) -> Result<Duration, Status> {
        let confirmed = self.announcer.to_confirm();
        let request = self.request(beat_seq, &confirmed);
        let answer = replicas.heartbeat(session, request, interval.min(MAX_BEAT_TIME)).await?;
        let wire::HeartbeatResponse {
            heartbeat_seq: _,
            held_ms,
            ttl_ms,
            heartbeat_interval_ms,
            instructions,
            drain,
            announcements,
        } = answer;
        let ttl = positive(ttl_ms).unwrap_or(session.ttl);
        self.fence.accepted(sent, positive(held_ms).unwrap_or_default(), ttl);
        for instruction in instructions {
            self.tell(&instruction);
        }
        if drain {
            self.signals.drain_asked.cancel();
        }
        self.announcer.confirmed(&confirmed);
        self.announcer.announce(announcements);
        Ok(positive(heartbeat_interval_ms).unwrap_or(interval))
    }

    fn request(&self, beat_seq: i64, confirmed: &[AnnouncementKey]) -> wire::HeartbeatRequest {
        let picture = self.leases.picture();
        let leases = picture.running.into_iter().map(|Running { token, last_request, running }| {
            wire::ActiveLease { lease_token: token, last_request, attempt_ms: whole(running.as_millis()) }
        });
        let confirmed = confirmed.iter().cloned();
        wire::HeartbeatRequest {
            heartbeat_seq: beat_seq,
            resolved_acquire_seq: picture.answered_acquire_seq,
            leases: leases.collect(),
            free_slots: i32::try_from(self.slots.free()).unwrap_or(i32::MAX),
            consume_loop_age_ms: whole(self.pulse.age().as_millis()),
            draining: self.signals.draining.load(Ordering::Relaxed),
            confirmed_announcements: confirmed
                .map(|AnnouncementKey { tenant_id, id }| wire::AnnouncementKey { tenant_id, id })
                .collect(),
        }
    }

    fn tell(&self, instruction: &wire::LeaseInstruction) {
        let order = match instruction.command() {
            wire::LeaseCommand::Continue | wire::LeaseCommand::Unspecified => return,
            wire::LeaseCommand::Cancel => Order::Cancel,
            wire::LeaseCommand::Lost => Order::Lost,
        };
        match instruction.lease_id.parse() {
            Ok(id) => {
                tracing::info!(lease = %id, ?order, "order for a run");
                self.leases.tell(id, order);
            }
            Err(_) => {
                tracing::error!(lease = instruction.lease_id, "order for a lease whose id does not read")
            }
        }
    }
}

fn positive(value: i64) -> Option<Duration> {
    u64::try_from(value).ok().filter(|value| *value > 0).map(Duration::from_millis)
}
