//! Takes announcements over, and the loop that sends them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchid_engine::Topic;
use orchid_proto::executor::v1 as wire;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::announce::tracker::{AnnouncementKey, AnnouncementTracker};
use crate::lease::SelfFence;
use crate::sink::{DeliveryOutcome, DeliveryReport, DeliveryTicket, MessageSink};

const QUEUE: usize = 1024;
/// Most messages in flight, and the capacity of the channel for their delivery reports.
const MAX_IN_FLIGHT: usize = 512;
const TOPICS: [Topic; 2] = [Topic::Events, Topic::Responses];

/// Takes announcements over. Clones share one queue and one tracker.
#[derive(Clone)]
pub struct Announcer {
    queue: mpsc::Sender<QueuedAnnouncement>,
    tracker: Arc<Mutex<AnnouncementTracker>>,
}

/// An announcement to send, with its round in the tracker.
struct QueuedAnnouncement {
    key: AnnouncementKey,
    round: u64,
    announcement: wire::Announcement,
}

/// The loop that sends the announcements of an [`Announcer`].
pub struct AnnouncementLoop {
    queue: mpsc::Receiver<QueuedAnnouncement>,
    tracker: Arc<Mutex<AnnouncementTracker>>,
    sink: MessageSink,
    fence: Arc<SelfFence>,
}

/// Creates an announcer and the loop that serves it.
pub fn announcer(sink: MessageSink, fence: Arc<SelfFence>) -> (Announcer, AnnouncementLoop) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let tracker = Arc::new(Mutex::new(AnnouncementTracker::default()));
    let announcer = Announcer { queue: sender, tracker: Arc::clone(&tracker) };
    (announcer, AnnouncementLoop { queue: receiver, tracker, sink, fence })
}

impl Announcer {
    /// Takes announcements over. Ignores those that are already tracked. Those for which there is
    /// no room come again with a later heartbeat response.
    pub fn announce(&self, announcements: Vec<wire::Announcement>) {
        for announcement in announcements {
            let Some(key) = announcement.key.as_ref().map(own_key) else { continue };
            let messages = u32::try_from(TOPICS.len()).unwrap_or(u32::MAX);
            let Some(round) = lock(&self.tracker).start(&key, messages) else { continue };
            let queued = QueuedAnnouncement { key: key.clone(), round, announcement };
            // Never waits: the heartbeat calls this, and the announcement comes again anyway.
            if self.queue.try_send(queued).is_err() {
                lock(&self.tracker).fail(&key, round);
            }
        }
    }

    /// Returns the announcements that the next heartbeat confirms.
    pub fn to_confirm(&self) -> Vec<AnnouncementKey> {
        lock(&self.tracker).to_confirm()
    }

    /// Forgets announcements that an accepted heartbeat has confirmed.
    pub fn confirmed(&self, keys: &[AnnouncementKey]) {
        lock(&self.tracker).confirmed(keys);
    }

    /// Returns whether nothing is left to send or to confirm.
    pub fn is_idle(&self) -> bool {
        lock(&self.tracker).is_empty()
    }
}

impl AnnouncementLoop {
    /// Serves until `stop` is cancelled. The control plane hands the announcements that are still
    /// in flight then to another executor.
    pub async fn serve(mut self, stop: CancellationToken) {
        let (tickets, mut reports) = mpsc::channel(MAX_IN_FLIGHT);
        let mut in_flight: HashMap<u64, (AnnouncementKey, u64)> = HashMap::new();
        let mut next_id: u64 = 0;
        loop {
            // Room for both messages, so that an announcement is never sent to one topic only. A
            // closed fence stops new messages; reports of sent ones still count.
            let has_room = in_flight.len() + TOPICS.len() <= MAX_IN_FLIGHT && self.fence.is_open();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(DeliveryReport { id, outcome }) = reports.recv() => {
                    if let Some((key, round)) = in_flight.remove(&id) {
                        self.apply(&key, round, &outcome);
                    }
                }
                () = self.fence.wait_open(), if !self.fence.is_open() => {}
                queued = self.queue.recv(), if has_room => {
                    let Some(queued) = queued else { return };
                    for topic in TOPICS {
                        next_id += 1;
                        let ticket = DeliveryTicket { id: next_id, to: tickets.clone() };
                        if self.send(topic, &queued, ticket) {
                            in_flight.insert(next_id, (queued.key.clone(), queued.round));
                        }
                    }
                }
            }
        }
    }

    /// Sends one message. Returns whether a delivery report will follow.
    fn send(&self, topic: Topic, queued: &QueuedAnnouncement, ticket: DeliveryTicket) -> bool {
        let wire::Announcement { key: _, message_key, headers, payload } = &queued.announcement;
        let mut headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // Sorted, because the wire's map has no order and equal messages should be equal bytes.
        headers.sort_unstable();
        let sent = self.sink.send_raw(topic, message_key, headers.into_iter(), payload, ticket);
        if let Err(error) = &sent {
            tracing::warn!(%error, announcement = queued.key.id, "announcement not sent");
            lock(&self.tracker).fail(&queued.key, queued.round);
        }
        sent.is_ok()
    }

    fn apply(&self, key: &AnnouncementKey, round: u64, outcome: &DeliveryOutcome) {
        let mut tracker = lock(&self.tracker);
        match outcome {
            DeliveryOutcome::Acked => tracker.acknowledge(key, round),
            DeliveryOutcome::Unknown(_) | DeliveryOutcome::TooLarge => {
                tracing::warn!(?outcome, announcement = key.id, "announcement not acknowledged by kafka");
                tracker.fail(key, round);
            }
        }
    }
}

fn own_key(key: &wire::AnnouncementKey) -> AnnouncementKey {
    let wire::AnnouncementKey { tenant_id, id } = key;
    AnnouncementKey { tenant_id: tenant_id.clone(), id: id.clone() }
}

fn lock(tracker: &Mutex<AnnouncementTracker>) -> MutexGuard<'_, AnnouncementTracker> {
    tracker.lock().unwrap_or_else(PoisonError::into_inner)
}
