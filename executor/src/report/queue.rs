//! A queue for one kind of report: items that wait while calls are in flight go into the next call
//! together.
//!
//! A call that failed for a passing reason is repeated until the control plane responds. Items are
//! idempotent by lease and seq, so repeating a call that had arrived does nothing twice. An item
//! leaves the queue without an outcome only when its attempt stops waiting, which means that the
//! lease is lost.
//!
//! A call that the control plane fails at may contain one item that it cannot store. The batch is
//! then halved until that item is alone, and is given up after a few tries. Batches that wait to be
//! repeated wait here, not in a call, so that they never keep other reports from being sent.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use orchid_kit::backoff;
use orchid_proto::executor::v1 as wire;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::control::{CallFailure, MAX_INTERNAL_ERRORS, failure_of, requested_delay};
use crate::convert::{InvalidReport, ReportOutcome};

const MAX_ITEMS: usize = 64;
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Most calls of one kind in flight.
const MAX_CALLS: usize = 4;
/// Most of them that are repeated calls. A report that the control plane takes long to fail at must
/// not keep all calls busy.
const MAX_RETRIES: usize = MAX_CALLS / 2;
/// Longest time that an item waits for others while a call is in flight.
const MAX_FILL: Duration = Duration::from_millis(50);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(3);

/// An item, and the attempt that waits for its outcome.
pub(crate) struct QueuedItem<T> {
    pub(crate) item: T,
    pub(crate) reply: oneshot::Sender<ReportOutcome>,
}

/// Sends one batch and returns one result per item, in order.
pub(crate) type BatchCall<T> =
    Arc<dyn Fn(Vec<T>) -> BoxFuture<'static, Result<Vec<wire::ItemResult>, Status>> + Send + Sync>;

/// Serves one queue until its senders are dropped and all items have an outcome.
pub(crate) async fn serve<T: Message + Clone + 'static>(
    queue: mpsc::Receiver<QueuedItem<T>>,
    call: BatchCall<T>,
) {
    let mut waiting = WaitingReports {
        queue,
        is_open: true,
        collected: Vec::new(),
        collected_bytes: 0,
        full_at: Instant::now(),
        left_over: None,
        retries: Vec::new(),
    };
    let mut calls: JoinSet<EndedCall<T>> = JoinSet::new();
    let mut retries_in_flight = 0;
    loop {
        let may_call = calls.len() < MAX_CALLS;
        let may_retry = retries_in_flight < MAX_RETRIES;
        let is_busy = !calls.is_empty();
        tokio::select! {
            Some(ended) = calls.join_next() => {
                // Batches fill while calls are in flight, not longer.
                waiting.full_at = Instant::now();
                match ended {
                    Ok(EndedCall { was_retry, failed }) => {
                        retries_in_flight -= usize::from(was_retry);
                        waiting.retries.extend(failed);
                    }
                    Err(error) => tracing::error!(%error, "a call with reports panicked"),
                }
            }
            Some(batch) = waiting.next_batch(may_retry, is_busy), if may_call => {
                let was_retry = batch.is_retry;
                retries_in_flight += usize::from(was_retry);
                let call = Arc::clone(&call);
                calls.spawn(async move { EndedCall { was_retry, failed: send(batch, call).await } });
            }
            else => return,
        }
    }
}

/// The end of a call.
struct EndedCall<T> {
    was_retry: bool,
    /// The batches to send again.
    failed: Vec<Batch<T>>,
}

/// Items that go into one call.
struct Batch<T> {
    items: Vec<QueuedItem<T>>,
    /// Failed calls with exactly these items.
    failures: u32,
    /// Earliest time of the call.
    due: Instant,
    /// True if a call with these items failed before.
    is_retry: bool,
}

impl<T> Batch<T> {
    fn new(items: Vec<QueuedItem<T>>) -> Self {
        Self { items, failures: 0, due: Instant::now(), is_retry: false }
    }

    /// Drops the items whose attempts stopped waiting, and returns whether any are left.
    fn retain_wanted(&mut self) -> bool {
        self.items.retain(|queued| !queued.reply.is_closed());
        !self.items.is_empty()
    }

    /// Returns the batch to be sent again after a back-off, and no earlier than `requested`.
    fn again(self, requested: Duration) -> Self {
        let delay = backoff::delay(FIRST_DELAY, MAX_DELAY, self.failures, rand::random());
        let due = Instant::now() + delay.max(requested);
        Self { failures: self.failures + 1, due, is_retry: true, ..self }
    }

    /// Returns the two halves of a batch that the control plane fails at.
    fn halves(mut self) -> Vec<Self> {
        let second = self.items.split_off(self.items.len() / 2);
        [self.items, second].map(|items| Self { is_retry: true, ..Self::new(items) }).into()
    }
}

/// The reports that wait for a call.
struct WaitingReports<T> {
    queue: mpsc::Receiver<QueuedItem<T>>,
    /// False once all senders of the queue are dropped.
    is_open: bool,
    /// Items of the next batch.
    collected: Vec<QueuedItem<T>>,
    collected_bytes: usize,
    /// Time at which the collected items are sent, however few there are.
    full_at: Instant,
    /// An item that did not fit into the next batch.
    left_over: Option<QueuedItem<T>>,
    /// Batches of failed calls. They keep their items, because what made one fail may make others
    /// fail with it. Attempts wait for their outcomes, so there are no more than slots.
    retries: Vec<Batch<T>>,
}

impl<T: Message> WaitingReports<T> {
    /// Waits for the next batch; returns none when the queue is closed and empty. Cancel safe.
    ///
    /// While a call is in flight, items collect for the next one: until that call ends, the batch
    /// is full, or the first item has waited long enough. So batches fill by themselves under load,
    /// and a single report is sent at once.
    async fn next_batch(&mut self, may_retry: bool, is_busy: bool) -> Option<Batch<T>> {
        loop {
            self.retries.retain_mut(Batch::retain_wanted);
            if may_retry && let Some(batch) = self.take_due_retry() {
                return Some(batch);
            }
            let is_full = self.collect();
            if is_full || !is_busy || !self.is_open || Instant::now() >= self.full_at {
                let mut batch = Batch::new(std::mem::take(&mut self.collected));
                self.collected_bytes = 0;
                if batch.retain_wanted() {
                    return Some(batch);
                }
                if self.left_over.is_some() {
                    continue;
                }
            }
            let retry_at = self.retries.iter().map(|batch| batch.due).min().filter(|_| may_retry);
            let full_at = (!self.collected.is_empty()).then_some(self.full_at);
            let wake_at = retry_at.into_iter().chain(full_at).min();
            tokio::select! {
                received = self.queue.recv(), if self.is_open => match received {
                    Some(item) => self.add(item),
                    None => self.is_open = false,
                },
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
                else => return None,
            }
        }
    }

    /// Takes the retry that has been due for longest.
    fn take_due_retry(&mut self) -> Option<Batch<T>> {
        let now = Instant::now();
        let due = self.retries.iter().enumerate().filter(|(_, batch)| batch.due <= now);
        let index = due.min_by_key(|(_, batch)| batch.due).map(|(index, _)| index)?;
        Some(self.retries.swap_remove(index))
    }

    /// Collects what has arrived, and returns whether the next batch is full.
    fn collect(&mut self) -> bool {
        while self.collected.len() < MAX_ITEMS {
            let Some(next) = self.left_over.take().or_else(|| self.queue.try_recv().ok()) else {
                return false;
            };
            self.add(next);
            if self.left_over.is_some() {
                return true;
            }
        }
        true
    }

    /// Adds an item to the next batch, if it fits.
    fn add(&mut self, item: QueuedItem<T>) {
        let bytes = self.collected_bytes + item.item.encoded_len();
        if self.collected.is_empty() {
            self.full_at = Instant::now() + MAX_FILL;
        } else if bytes > MAX_BATCH_BYTES {
            self.left_over = Some(item);
            return;
        }
        self.collected_bytes = bytes;
        self.collected.push(item);
    }
}

/// Sends a batch once. Returns the batches to send again.
async fn send<T: Message + Clone>(batch: Batch<T>, call: BatchCall<T>) -> Vec<Batch<T>> {
    let items: Vec<T> = batch.items.iter().map(|queued| queued.item.clone()).collect();
    let status = match call(items).await {
        Ok(results) if results.len() == batch.items.len() => {
            for (queued, result) in batch.items.into_iter().zip(results) {
                // Fails only if the attempt stopped waiting because its lease is lost.
                let _ = queued.reply.send(ReportOutcome::from(result));
            }
            return Vec::new();
        }
        Ok(results) => {
            let message = format!("{} results for {} reports", results.len(), batch.items.len());
            Status::internal(message)
        }
        Err(status) => status,
    };
    let failure = failure_of(&status);
    match failure {
        // A lost session loses all leases, and then the attempts stop waiting.
        CallFailure::Passing | CallFailure::SessionGone => {
            tracing::debug!(%status, items = batch.items.len(), "reports not delivered: retrying");
            vec![batch.again(requested_delay(&status))]
        }
        CallFailure::Internal | CallFailure::Refused if batch.items.len() > 1 => {
            tracing::warn!(%status, items = batch.items.len(), "reports refused together: sending each half");
            batch.halves()
        }
        CallFailure::Internal if batch.failures + 1 < MAX_INTERNAL_ERRORS => {
            tracing::debug!(%status, "the control plane failed at a report: retrying");
            vec![batch.again(Duration::ZERO)]
        }
        CallFailure::Internal | CallFailure::Refused => {
            tracing::warn!(%status, "the control plane cannot accept a report: giving it up");
            for queued in batch.items {
                let refused = InvalidReport::unreadable(status.message().to_owned());
                let _ = queued.reply.send(ReportOutcome::Invalid(refused));
            }
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn item(seq: i64) -> wire::CheckpointItem {
        wire::CheckpointItem { seq, ..wire::CheckpointItem::default() }
    }

    fn accepted() -> wire::ItemResult {
        wire::ItemResult { status: wire::LeaseStatus::Ok.into(), ..wire::ItemResult::default() }
    }

    /// Queues the items, serves them with this call, and returns their outcomes.
    async fn outcomes(items: usize, call: BatchCall<wire::CheckpointItem>) -> Vec<ReportOutcome> {
        let (queue, queued) = mpsc::channel(items.max(1));
        let mut replies = Vec::new();
        for seq in 0..items {
            let (reply, outcome) = oneshot::channel();
            queue.send(QueuedItem { item: item(seq as i64), reply }).await.ok().unwrap();
            replies.push(outcome);
        }
        drop(queue);
        serve(queued, call).await;
        let mut found = Vec::new();
        for reply in replies {
            found.push(reply.await.unwrap());
        }
        found
    }

    #[tokio::test(start_paused = true)]
    async fn failed_call_is_repeated_with_the_same_items() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let call: BatchCall<wire::CheckpointItem> = Arc::new(move |items| {
            let seqs: Vec<i64> = items.iter().map(|item| item.seq).collect();
            let mut seen = seen.lock().unwrap();
            seen.push(seqs);
            let responds = seen.len() == 3;
            Box::pin(async move {
                if responds { Ok(vec![accepted(); items.len()]) } else { Err(Status::unavailable("away")) }
            })
        });
        assert_eq!(outcomes(2, call).await, [ReportOutcome::Accepted, ReportOutcome::Accepted]);
        assert_eq!(*calls.lock().unwrap(), [[0, 1], [0, 1], [0, 1]]);
    }

    #[tokio::test(start_paused = true)]
    async fn invalid_item_does_not_fail_its_batch() {
        let call: BatchCall<wire::CheckpointItem> = Arc::new(|items| {
            Box::pin(async move {
                if items.iter().any(|item| item.seq == 1) {
                    return Err(Status::invalid_argument("seq 1"));
                }
                Ok(vec![accepted(); items.len()])
            })
        });
        assert_eq!(
            outcomes(3, call).await,
            [
                ReportOutcome::Accepted,
                ReportOutcome::Invalid(InvalidReport::unreadable("seq 1".to_owned())),
                ReportOutcome::Accepted
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn item_whose_attempt_stopped_waiting_is_not_sent() {
        let calls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&calls);
        let call: BatchCall<wire::CheckpointItem> = Arc::new(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(Status::unavailable("away")) })
        });
        let (queue, queued) = mpsc::channel(1);
        let (reply, outcome) = oneshot::channel();
        queue.send(QueuedItem { item: item(1), reply }).await.ok().unwrap();
        drop((queue, outcome));
        serve(queued, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn items_collect_while_a_call_is_in_flight() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sizes);
        let call: BatchCall<wire::CheckpointItem> = Arc::new(move |items| {
            seen.lock().unwrap().push(items.len());
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(vec![accepted(); items.len()])
            })
        });
        let (queue, queued) = mpsc::channel(16);
        let serving = JoinSet::from_iter([serve(queued, call)]);
        let mut outcomes = Vec::new();
        for seq in 0..10 {
            let (reply, outcome) = oneshot::channel();
            outcomes.push(outcome);
            queue.send(QueuedItem { item: item(seq), reply }).await.ok().unwrap();
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        drop(queue);
        serving.join_all().await;
        assert_eq!(sizes.lock().unwrap().first(), Some(&1), "a single report is sent at once");
        assert!(sizes.lock().unwrap().len() <= 4, "{sizes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_items_share_a_call_up_to_the_limit() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sizes);
        let call: BatchCall<wire::CheckpointItem> = Arc::new(move |items| {
            seen.lock().unwrap().push(items.len());
            Box::pin(async move { Ok(vec![accepted(); items.len()]) })
        });
        assert_eq!(outcomes(150, call).await.len(), 150);
        assert_eq!(*sizes.lock().unwrap(), [64, 64, 22]);
    }

    /// A call that fails with this status for items with these seqs.
    fn failing(status: fn() -> Status, poisoned: &'static [i64]) -> BatchCall<wire::CheckpointItem> {
        Arc::new(move |items| {
            let fails = items.iter().any(|item| poisoned.contains(&item.seq));
            Box::pin(async move { if fails { Err(status()) } else { Ok(vec![accepted(); items.len()]) } })
        })
    }

    #[tokio::test(start_paused = true)]
    async fn item_that_the_server_fails_at_is_given_up_alone() {
        let found = outcomes(64, failing(|| Status::internal("trace 7"), &[0, 40])).await;
        for (seq, outcome) in found.into_iter().enumerate() {
            let expected = if [0, 40].contains(&seq) {
                ReportOutcome::Invalid(InvalidReport::unreadable("trace 7".to_owned()))
            } else {
                ReportOutcome::Accepted
            };
            assert_eq!(outcome, expected, "{seq}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reports_in_back_off_do_not_hold_up_others() {
        // More of them than calls in flight, and none is ever delivered.
        static AWAY: [i64; 6] = [0, 1, 2, 3, 4, 5];
        let call = failing(|| Status::unavailable("away"), &AWAY);
        let (queue, queued) = mpsc::channel(16);
        let mut served = JoinSet::new();
        served.spawn(serve(queued, call));
        let mut unanswered = Vec::new();
        for seq in AWAY {
            let (reply, outcome) = oneshot::channel();
            queue.send(QueuedItem { item: item(seq), reply }).await.ok().unwrap();
            unanswered.push(outcome);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Long enough for the back-off to reach its maximum.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let started = Instant::now();
        let mut slowest = Duration::ZERO;
        for seq in 10..20 {
            let (reply, outcome) = oneshot::channel();
            let sent = Instant::now();
            queue.send(QueuedItem { item: item(seq), reply }).await.ok().unwrap();
            assert_eq!(outcome.await.unwrap(), ReportOutcome::Accepted, "{seq}");
            slowest = slowest.max(sent.elapsed());
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        assert!(slowest < Duration::from_millis(100), "{slowest:?} of {:?}", started.elapsed());
        drop((queue, unanswered));
        served.join_next().await.unwrap().unwrap();
    }
}
