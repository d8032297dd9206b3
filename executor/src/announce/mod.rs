//! Announcements: terminal events that are committed and must reach Kafka.
//!
//! In: announcements from the answers to Complete and from heartbeats. Out: each as one message to the events topic and,
//! under the same key, one to the responses topic; and, for the next heartbeat, which of them Kafka has. A run's own
//! messages are all acknowledged before its Complete is called, so these follow them. It makes up no event itself.

mod ledger;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchid_engine::Topic;
use orchid_proto::executor::v1 as wire;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use ledger::AnnouncementKey;

use crate::beat::Fence;
use crate::sink::{Delivery, DeliveryOutcome, Sink, Ticket};
use ledger::AnnouncementLedger;

const QUEUE: usize = 1024;
/// Messages on their way at once; also the room for their answers.
const MAX_IN_FLIGHT: usize = 512;
const TOPICS: [Topic; 2] = [Topic::Events, Topic::Responses];

/// Takes announcements over. Clones share one queue and one ledger.
#[derive(Clone)]
pub struct Announcer {
    queue: mpsc::Sender<Taken>,
    ledger: Arc<Mutex<AnnouncementLedger>>,
}

/// An announcement to send, in a round of the ledger.
struct Taken {
    key: AnnouncementKey,
    round: u64,
    announcement: wire::Announcement,
}

/// Sends what an [`Announcer`] takes.
pub struct AnnounceLoop {
    queued: mpsc::Receiver<Taken>,
    ledger: Arc<Mutex<AnnouncementLedger>>,
    sink: Sink,
    fence: Arc<Fence>,
}

/// An announcer, and the loop that serves it.
pub fn announcer(sink: Sink, fence: Arc<Fence>) -> (Announcer, AnnounceLoop) {
    let (queue, queued) = mpsc::channel(QUEUE);
    let ledger = Arc::new(Mutex::new(AnnouncementLedger::default()));
    (Announcer { queue, ledger: Arc::clone(&ledger) }, AnnounceLoop { queued, ledger, sink, fence })
}

impl Announcer {
    /// Takes announcements over; those that there is no room for, a later beat hands over again.
    pub fn announce(&self, announcements: Vec<wire::Announcement>) {
        for announcement in announcements {
            let Some(key) = announcement.key.as_ref().map(own_key) else { continue };
            let messages = u32::try_from(TOPICS.len()).unwrap_or(u32::MAX);
            let Some(round) = lock(&self.ledger).take(&key, messages) else { continue };
            let taken = Taken { key: key.clone(), round, announcement };
            if self.queue.try_send(taken).is_err() {
                lock(&self.ledger).failed(&key, round);
            }
        }
    }

    /// What the next beat confirms.
    pub fn to_confirm(&self) -> Vec<AnnouncementKey> {
        lock(&self.ledger).to_confirm()
    }

    /// A beat that named these was accepted.
    pub fn confirmed(&self, keys: &[AnnouncementKey]) {
        lock(&self.ledger).confirmed(keys);
    }

    /// Nothing is left to send or to confirm.
    pub fn is_idle(&self) -> bool {
        lock(&self.ledger).is_empty()
    }
}

impl AnnounceLoop {
    /// Serves until told to stop. What is on its way then, others hand over again.
    pub async fn serve(mut self, stop: CancellationToken) {
        let (answers, mut answered) = mpsc::channel(MAX_IN_FLIGHT);
        let mut going: HashMap<u64, (AnnouncementKey, u64)> = HashMap::new();
        let mut next_id: u64 = 0;
        loop {
            let has_room = going.len() + TOPICS.len() <= MAX_IN_FLIGHT && self.fence.is_open();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(Delivery { id, outcome }) = answered.recv() => {
                    if let Some((key, round)) = going.remove(&id) {
                        self.settle(&key, round, &outcome);
                    }
                }
                () = self.fence.opened(), if !self.fence.is_open() => {}
                taken = self.queued.recv(), if has_room => {
                    let Some(taken) = taken else { return };
                    for topic in TOPICS {
                        next_id += 1;
                        let ticket = Ticket { id: next_id, to: answers.clone() };
                        if self.send(topic, &taken, ticket) {
                            going.insert(next_id, (taken.key.clone(), taken.round));
                        }
                    }
                }
            }
        }
    }

    /// Sends one message; answers whether its ticket will come back.
    fn send(&self, topic: Topic, taken: &Taken, ticket: Ticket) -> bool {
        let wire::Announcement { key: _, message_key, headers, payload } = &taken.announcement;
        let mut headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.sort_unstable();
        let sent = self.sink.send_raw(topic, message_key, headers.into_iter(), payload, ticket);
        if let Err(error) = &sent {
            tracing::warn!(%error, announcement = taken.key.id, "announcement not sent");
            lock(&self.ledger).failed(&taken.key, taken.round);
        }
        sent.is_ok()
    }

    fn settle(&self, key: &AnnouncementKey, round: u64, outcome: &DeliveryOutcome) {
        let mut ledger = lock(&self.ledger);
        match outcome {
            DeliveryOutcome::Acked => ledger.acknowledged(key, round),
            DeliveryOutcome::Unknown(_) | DeliveryOutcome::TooLarge => {
                tracing::warn!(?outcome, announcement = key.id, "announcement not acknowledged");
                ledger.failed(key, round);
            }
        }
    }
}

fn own_key(key: &wire::AnnouncementKey) -> AnnouncementKey {
    let wire::AnnouncementKey { tenant_id, id } = key;
    AnnouncementKey { tenant_id: tenant_id.clone(), id: id.clone() }
}

fn lock(ledger: &Mutex<AnnouncementLedger>) -> MutexGuard<'_, AnnouncementLedger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
