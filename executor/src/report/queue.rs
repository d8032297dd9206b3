//! A queue for one kind of report: items that wait while calls are in flight go into the next call
//! together.
//!
//! A call is repeated until the control plane responds. Items are idempotent by lease and seq, so
//! repeating a call that had arrived does nothing twice. An item leaves its batch when its attempt
//! stops waiting, which means that the lease is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use prost::Message;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;

use crate::control::{is_retryable, is_session_gone, requested_delay};
use crate::convert::{InvalidReport, ReportOutcome};

const MAX_ITEMS: usize = 64;
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Most calls of one kind in flight.
const MAX_CALLS: usize = 4;
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

/// Serves one queue until its senders are dropped and all calls have ended.
pub(crate) async fn serve<T: Message + Clone + 'static>(
    mut queue: mpsc::Receiver<QueuedItem<T>>,
    call: BatchCall<T>,
) {
    let permits = Arc::new(Semaphore::new(MAX_CALLS));
    let mut calls = JoinSet::new();
    // An item that did not fit into the previous batch.
    let mut left_over: Option<QueuedItem<T>> = None;
    loop {
        // The permit comes first: while none is free, items collect in the queue and share a call.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let first = match left_over.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => break,
            },
        };
        let mut bytes = first.item.encoded_len();
        let mut batch = vec![first];
        let full_at = Instant::now() + MAX_FILL;
        while calls.try_join_next().is_some() {}
        while batch.len() < MAX_ITEMS {
            let Some(next) = next_item(&mut queue, &mut calls, full_at).await else { break };
            bytes += next.item.encoded_len();
            if bytes > MAX_BATCH_BYTES {
                left_over = Some(next);
                break;
            }
            batch.push(next);
        }
        let call = Arc::clone(&call);
        calls.spawn(async move {
            deliver(batch, call).await;
            drop(permit);
        });
    }
    while calls.join_next().await.is_some() {}
}

/// Returns the next item of a batch; none when the batch has to be sent as it is.
///
/// While a call is in flight, items collect for the next one: until that call ends, the batch is
/// full, or the first item has waited long enough. So batches fill by themselves under load, and a
/// single report is sent at once.
async fn next_item<T>(
    queue: &mut mpsc::Receiver<QueuedItem<T>>,
    calls: &mut JoinSet<()>,
    full_at: Instant,
) -> Option<QueuedItem<T>> {
    if let Ok(next) = queue.try_recv() {
        return Some(next);
    }
    if calls.is_empty() {
        return None;
    }
    tokio::select! {
        next = queue.recv() => next,
        _ = calls.join_next() => queue.try_recv().ok(),
        () = tokio::time::sleep_until(full_at) => None,
    }
}

/// Repeats the call until each item has an outcome or its attempt stopped waiting.
async fn deliver<T: Message + Clone + 'static>(mut batch: Vec<QueuedItem<T>>, call: BatchCall<T>) {
    let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
    loop {
        batch.retain(|queued| !queued.reply.is_closed());
        if batch.is_empty() {
            return;
        }
        let items = batch.iter().map(|queued| queued.item.clone()).collect();
        match call(items).await {
            Ok(results) if results.len() == batch.len() => {
                for (queued, result) in batch.into_iter().zip(results) {
                    // Fails only if the attempt stopped waiting because its lease is lost.
                    let _ = queued.reply.send(ReportOutcome::from(result));
                }
                return;
            }
            Ok(results) => {
                tracing::error!(
                    items = batch.len(),
                    results = results.len(),
                    "number of results differs from number of reports: repeating the call"
                );
            }
            // A lost session loses all leases, and then the attempts stop waiting.
            Err(status) if is_retryable(&status) || is_session_gone(&status) => {
                tracing::debug!(%status, items = batch.len(), "reports not delivered: retrying");
                tokio::time::sleep(requested_delay(&status)).await;
            }
            Err(status) => {
                if batch.len() == 1 {
                    for queued in batch {
                        let _ = queued.reply.send(ReportOutcome::Invalid(InvalidReport::unreadable(
                            status.message().to_owned(),
                        )));
                    }
                    return;
                }
                // One invalid item fails the whole call. Alone, each item gets its own outcome.
                tracing::warn!(%status, items = batch.len(), "batch refused: sending its reports one by one");
                for queued in batch {
                    Box::pin(deliver(vec![queued], Arc::clone(&call))).await;
                }
                return;
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
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
        let serving = tokio::task::JoinSet::from_iter([serve(queued, call)]);
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
}
