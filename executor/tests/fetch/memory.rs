//! The byte budget: bodies are charged as long as anything holds them, and fetches wait for it.

use std::time::Duration;

use futures_util::FutureExt as _;
use orchid_engine::{BodyStreaming, Request};
use orchid_executor::fetch::{FetchAgent, Transport};
use orchid_executor::memory::MemoryBudget;

use crate::upstream::{
    LOOPBACK, Upstream, compressed, fetcher_with, kind, open_fence, request, streamed_response,
    whole_response,
};

const LIMIT: u64 = 1 << 20;

/// Returns agents of two attempts that share a budget.
fn agents(budget: &MemoryBudget) -> (FetchAgent, FetchAgent) {
    let fetcher = fetcher_with(LOOPBACK, open_fence(), budget.clone());
    let agent = || fetcher.agent(&Transport::default()).unwrap();
    (agent(), agent())
}

#[tokio::test]
async fn whole_body_is_charged_until_its_last_slice_is_dropped() {
    let plain = vec![b'x'; 9_000];
    for (head, body) in [
        ("200 OK\r\nconnection: close", plain.clone()),
        ("200 OK\r\nconnection: close\r\ncontent-encoding: gzip", compressed("gzip", &plain).await),
        ("200 OK\r\nconnection: close", compressed("gzip", &plain).await),
    ] {
        let budget = MemoryBudget::new(LIMIT);
        let upstream = Upstream::responding(head, &body).await;
        let response = whole_response(agents(&budget).0.fetch(request(&upstream.url, &[])).await);
        assert_eq!((response.body.len(), budget.used()), (9_000, 9_000), "{head}");
        let row = response.body.slice(10..20);
        drop(response);
        assert_eq!((row.len(), budget.used()), (10, 9_000), "{head}: the row holds the body");
        drop(row);
        assert_eq!(budget.used(), 0, "{head}");
    }
}

#[tokio::test]
async fn streamed_body_is_charged_piece_by_piece() {
    let budget = MemoryBudget::new(LIMIT);
    let upstream = Upstream::responding("200 OK\r\nconnection: close", &vec![b'x'; 600_000]).await;
    let request = Request {
        max_stream_bytes: 1 << 20,
        streaming: BodyStreaming::Always,
        ..request(&upstream.url, &[])
    };
    let (_, mut body) = streamed_response(agents(&budget).0.fetch(request).await);
    let (mut read, mut most) = (0, 0);
    while let Some(piece) = body.next().await.unwrap() {
        read += piece.bytes.len();
        most = most.max(budget.used());
        drop(piece);
    }
    drop(body);
    assert_eq!((read, budget.used()), (600_000, 0));
    assert!(most < 600_000, "{most}");
}

#[tokio::test]
async fn failed_and_abandoned_fetches_release_their_bytes() {
    let budget = MemoryBudget::new(LIMIT);
    let large = Upstream::responding("200 OK\r\nconnection: close", &vec![b'x'; 20_000]).await;
    let (agent, _) = agents(&budget);
    kind(agent.fetch(request(&large.url, &[])).await);
    assert_eq!(budget.used(), 0, "the body was too large");
    assert!(agent.fetch(request(&large.url, &[])).now_or_never().is_none());
    assert_eq!(budget.used(), 0, "the fetch was dropped");
}

#[tokio::test]
async fn fetches_wait_while_others_hold_the_memory() {
    let budget = MemoryBudget::new(LIMIT);
    let upstream = Upstream::responding("200 OK\r\nconnection: close", b"{}").await;
    let (first, second) = agents(&budget);
    let held = first.memory().charge(LIMIT);
    // The first attempt that would have to wait goes on: it may be the one to release memory.
    whole_response(first.fetch(request(&upstream.url, &[])).await);
    let waiting = second.fetch(request(&upstream.url, &[]));
    let mut waiting = Box::pin(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await.is_err());
    assert_eq!((budget.waiting(), upstream.requests.lock().await.len()), (1, 1), "nothing was sent");
    drop(held);
    let fetched = waiting.await;
    assert!(fetched.duration < Duration::from_secs(60), "waiting is not the upstream's time");
    whole_response(fetched);
    assert_eq!((budget.waiting(), budget.used()), (0, 0));
}
