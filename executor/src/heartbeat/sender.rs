//! Sends heartbeats and applies their responses.

use std::sync::Arc;
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use tokio::time::Instant;
use tonic::Status;

use crate::announce::{AnnouncementKey, Announcer};
use crate::control::{ControlPlaneClient, CurrentSession, Session, is_session_gone};
use crate::convert::{to_i32, whole_ms};
use crate::heartbeat::signals::HeartbeatSignals;
use crate::lease::{LeaseCommand, LeaseRegistry, LeaseSnapshot, Liveness, SelfFence, SlotPool};
use crate::settings::ControlPlaneSettings;
use crate::sink::MessageSink;

/// Longest wait for a response before the next heartbeat goes to the other replica.
const MAX_CALL_TIME: Duration = Duration::from_secs(5);

/// Sends the heartbeats of this process, on the thread that calls [`serve`](Self::serve).
pub struct HeartbeatSender {
    /// Addresses of the control plane.
    pub control_plane: ControlPlaneSettings,
    /// The current session.
    pub session: CurrentSession,
    /// Leases to list, and to send commands to.
    pub leases: Arc<LeaseRegistry>,
    /// Slots, to report the free ones.
    pub slots: SlotPool,
    /// Proof that the consume loop makes progress.
    pub liveness: Liveness,
    /// Announcements to confirm and to take over.
    pub announcer: Announcer,
    /// Extended by every accepted heartbeat.
    pub fence: Arc<SelfFence>,
    /// Purged when the fence closes.
    pub sink: MessageSink,
    /// Signals to and from the rest of the process.
    pub signals: Arc<HeartbeatSignals>,
}

impl HeartbeatSender {
    pub(super) async fn serve(self) {
        // Starts at another replica than the attempts' calls: the fewer replicas both depend on,
        // the better.
        let control = match ControlPlaneClient::new(&self.control_plane, rand::random_range(0..1024)) {
            Ok(control) => control,
            Err(error) => {
                tracing::error!(%error, "heartbeat cannot create a client for the control plane");
                return;
            }
        };
        tokio::join!(self.watch_fence(), self.serve_sessions(&control));
    }

    /// Purges the producer's queue each time the fence closes, so that no message is sent that
    /// another executor may be producing again by then.
    async fn watch_fence(&self) {
        loop {
            self.fence.wait_open().await;
            self.fence.wait_closed().await;
            self.sink.purge();
            self.fence.notify_waiters();
            tracing::warn!("no heartbeat was accepted for too long: fetching and producing pause");
        }
    }

    async fn serve_sessions(&self, control: &ControlPlaneClient) {
        while let Some(session) = self.session.wait().await {
            self.serve_session(control, &session).await;
        }
    }

    /// Sends heartbeats until the session is gone or replaced.
    async fn serve_session(&self, control: &ControlPlaneClient, session: &Session) {
        let mut interval = session.heartbeat_interval;
        let mut heartbeat_seq = 0;
        // The registration counts as the first heartbeat.
        let mut next = Instant::now() + interval;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut watch = self.session.watch();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.signals.wait_send_now() => {}
                _ = watch.wait_for(|current| current.as_ref().is_none_or(|it| it.id != session.id)) => return,
            }
            heartbeat_seq += 1;
            let sent = Instant::now();
            match self.send(control, session, heartbeat_seq, sent, interval).await {
                Ok(wanted) => {
                    interval = wanted;
                    // From the time of sending, so that slow responses do not stretch the interval.
                    next = sent + interval;
                    backoff.reset();
                }
                Err(status) if is_session_gone(&status) => {
                    self.lose_session(session);
                    return;
                }
                Err(status) => {
                    tracing::warn!(code = ?status.code(), message = status.message(), "heartbeat not accepted");
                    next = Instant::now() + backoff.next_delay().min(interval);
                }
            }
        }
    }

    /// Ends an expired session. If a newer one is current already, only the old leases are lost.
    fn lose_session(&self, session: &Session) {
        tracing::warn!(session = %session.id, "session has expired");
        self.leases.end_session(session.id);
        if self.session.get().is_some_and(|current| current.id == session.id) {
            self.fence.close();
            self.session.clear(session.id);
        }
    }

    /// Sends one heartbeat and returns the interval that the server wants from now on.
    async fn send(
        &self,
        control: &ControlPlaneClient,
        session: &Session,
        heartbeat_seq: i64,
        sent: Instant,
        interval: Duration,
    ) -> Result<Duration, Status> {
        // Kept until the response: only what this heartbeat named is confirmed.
        let confirmed = self.announcer.to_confirm();
        let request = self.request(heartbeat_seq, &confirmed);
        let response = control.heartbeat(session, request, interval.min(MAX_CALL_TIME)).await?;
        let wire::HeartbeatResponse {
            heartbeat_seq: _,
            held_ms,
            ttl_ms,
            heartbeat_interval_ms,
            instructions,
            drain,
            announcements,
        } = response;
        let ttl = positive_ms(ttl_ms).unwrap_or(session.ttl);
        // First of all, and from the time of sending: the response may have taken long.
        self.fence.extend(sent, positive_ms(held_ms).unwrap_or_default(), ttl);
        for instruction in instructions {
            self.apply(&instruction);
        }
        if drain {
            self.signals.drain_requested.cancel();
        }
        self.announcer.confirmed(&confirmed);
        self.announcer.announce(announcements);
        Ok(positive_ms(heartbeat_interval_ms).unwrap_or(interval))
    }

    fn request(&self, heartbeat_seq: i64, confirmed: &[AnnouncementKey]) -> wire::HeartbeatRequest {
        let snapshot = self.leases.snapshot();
        let leases = snapshot.leases.into_iter().map(|LeaseSnapshot { token, last_request, running }| {
            wire::ActiveLease { lease_token: token, last_request, attempt_ms: whole_ms(running) }
        });
        let confirmed = confirmed.iter().cloned();
        wire::HeartbeatRequest {
            heartbeat_seq,
            resolved_acquire_seq: snapshot.resolved_acquire_seq,
            leases: leases.collect(),
            free_slots: to_i32(self.slots.free()),
            consume_loop_age_ms: whole_ms(self.liveness.age()),
            draining: self.signals.is_draining(),
            confirmed_announcements: confirmed
                .map(|AnnouncementKey { tenant_id, id }| wire::AnnouncementKey { tenant_id, id })
                .collect(),
        }
    }

    fn apply(&self, instruction: &wire::LeaseInstruction) {
        let command = match instruction.command() {
            wire::LeaseCommand::Continue | wire::LeaseCommand::Unspecified => return,
            wire::LeaseCommand::Cancel => LeaseCommand::Cancel,
            wire::LeaseCommand::Lost => LeaseCommand::Lost,
        };
        match instruction.lease_id.parse() {
            Ok(id) => {
                tracing::info!(lease = %id, ?command, "command for a lease");
                self.leases.send_command(id, command);
            }
            Err(_) => {
                tracing::error!(lease = instruction.lease_id, "command for an invalid lease id ignored")
            }
        }
    }
}

fn positive_ms(value: i64) -> Option<Duration> {
    u64::try_from(value).ok().filter(|value| *value > 0).map(Duration::from_millis)
}
