//! One kind of report, batched: whatever waits while calls are under way goes into the next call together.
//!
//! In: items, each with somebody who waits for its verdict. Out: the verdict. A call is repeated until it is answered; an
//! item whose run does not wait any more (its lease is lost) leaves the batch. Items are idempotent by lease and seq, so a
//! repeated call does nothing twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use prost::Message;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::Status;

use crate::control::{asked_delay, is_retryable, is_session_gone};
use crate::report::Verdict;

const MAX_ITEMS: usize = 64;
const MAX_BATCH_BYTES: usize = 4 << 20;
const MAX_CALLS: usize = 4;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(3);

/// An item and who waits for its verdict.
pub(crate) struct Queued<T> {
    pub(crate) item: T,
    pub(crate) reply: oneshot::Sender<Verdict>,
}

/// Sends one batch; answers one result for each item, in order.
pub(crate) type Call<T> =
    Arc<dyn Fn(Vec<T>) -> BoxFuture<'static, Result<Vec<wire::ItemResult>, Status>> + Send + Sync>;

/// Serves one queue until its senders are gone and all calls are answered.
pub(crate) async fn serve<T: Message + Clone + 'static>(mut queue: mpsc::Receiver<Queued<T>>, call: Call<T>) {
    let room = Arc::new(Semaphore::new(MAX_CALLS));
    let mut calls = JoinSet::new();
    let mut left: Option<Queued<T>> = None;
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let first = match left.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => break,
            },
        };
        let mut bytes = first.item.encoded_len();
        let mut batch = vec![first];
        while batch.len() < MAX_ITEMS {
            let Ok(next) = queue.try_recv() else { break };
            bytes += next.item.encoded_len();
            if bytes > MAX_BATCH_BYTES {
                left = Some(next);
                break;
            }
            batch.push(next);
        }
        while calls.try_join_next().is_some() {}
        let call = Arc::clone(&call);
        calls.spawn(async move {
            deliver(batch, call).await;
            drop(permit);
        });
    }
    while calls.join_next().await.is_some() {}
}

/// Repeats the call until each item has its verdict or nobody waits for it.
async fn deliver<T: Message + Clone + 'static>(mut batch: Vec<Queued<T>>, call: Call<T>) {
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
                    // A run that stopped waiting has lost its lease.
                    let _ = queued.reply.send(Verdict::from(result));
                }
                return;
            }
            Ok(results) => {
                tracing::error!(
                    items = batch.len(),
                    results = results.len(),
                    "answer does not match the batch"
                );
            }
            // The runs hear of it by their leases, and stop waiting.
            Err(status) if is_retryable(&status) || is_session_gone(&status) => {
                tracing::debug!(%status, items = batch.len(), "report not answered");
                tokio::time::sleep(asked_delay(&status)).await;
            }
            Err(status) => {
                if batch.len() == 1 {
                    for queued in batch {
                        let _ = queued.reply.send(Verdict::Invalid(status.message().to_owned()));
                    }
                    return;
                }
                tracing::warn!(%status, items = batch.len(), "batch refused: sending its items alone");
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

    /// Sends the items at once, then serves them with this call; answers the verdicts.
    async fn verdicts(items: usize, call: Call<wire::CheckpointItem>) -> Vec<Verdict> {
        let (queue, queued) = mpsc::channel(items.max(1));
        let mut replies = Vec::new();
        for seq in 0..items {
            let (reply, verdict) = oneshot::channel();
            queue.send(Queued { item: item(seq as i64), reply }).await.ok().unwrap();
            replies.push(verdict);
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
    async fn a_call_without_an_answer_is_repeated_with_the_same_items() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let call: Call<wire::CheckpointItem> = Arc::new(move |items| {
            let seqs: Vec<i64> = items.iter().map(|item| item.seq).collect();
            let mut seen = seen.lock().unwrap();
            seen.push(seqs);
            let answered = seen.len() == 3;
            Box::pin(async move {
                if answered { Ok(vec![accepted(); items.len()]) } else { Err(Status::unavailable("away")) }
            })
        });
        assert_eq!(verdicts(2, call).await, [Verdict::Accepted, Verdict::Accepted]);
        assert_eq!(*calls.lock().unwrap(), [[0, 1], [0, 1], [0, 1]]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_wrong_item_does_not_spoil_its_batch() {
        let call: Call<wire::CheckpointItem> = Arc::new(|items| {
            Box::pin(async move {
                if items.iter().any(|item| item.seq == 1) {
                    return Err(Status::invalid_argument("seq 1"));
                }
                Ok(vec![accepted(); items.len()])
            })
        });
        assert_eq!(
            verdicts(3, call).await,
            [Verdict::Accepted, Verdict::Invalid("seq 1".to_owned()), Verdict::Accepted]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_repeated_for_a_run_that_does_not_wait_any_more() {
        let calls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&calls);
        let call: Call<wire::CheckpointItem> = Arc::new(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(Status::unavailable("away")) })
        });
        let (queue, queued) = mpsc::channel(1);
        let (reply, verdict) = oneshot::channel();
        queue.send(Queued { item: item(1), reply }).await.ok().unwrap();
        drop((queue, verdict));
        serve(queued, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_out_together_up_to_a_size() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sizes);
        let call: Call<wire::CheckpointItem> = Arc::new(move |items| {
            seen.lock().unwrap().push(items.len());
            Box::pin(async move { Ok(vec![accepted(); items.len()]) })
        });
        assert_eq!(verdicts(150, call).await.len(), 150);
        assert_eq!(*sizes.lock().unwrap(), [64, 64, 22]);
    }
}
