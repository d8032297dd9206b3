//! Bodies that are handed over piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use orchid_engine::{BodyStreaming, FetchError, FetchErrorKind, Request};
use orchid_executor::fetch::{Body, PIECE_BYTES};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::upstream::{
    LOOPBACK, Upstream, agent, answer, fetcher, in_pieces, open_fence, packed, request, text, whole,
};

fn streamed(url: &str) -> Request {
    Request { max_stream_bytes: 1 << 30, streaming: BodyStreaming::Always, ..request(url, &[]) }
}

async fn rest(body: &mut Body) -> Result<Vec<u8>, FetchError> {
    let mut read = Vec::new();
    while let Some(piece) = body.next().await? {
        assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES, "{}", piece.len());
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

/// One connection, with the request read, and the url to reach it by.
struct Line {
    url: String,
    listener: TcpListener,
}

impl Line {
    async fn new() -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Line { url: format!("http://{}/x", listener.local_addr().unwrap()), listener }
    }

    async fn asked(&self) -> TcpStream {
        let (mut socket, _) = self.listener.accept().await.unwrap();
        let mut request = vec![0; 8192];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        socket
    }
}

#[tokio::test]
async fn only_successes_whose_body_is_wanted_in_pieces_come_so() {
    let cases = [
        (BodyStreaming::Never, "GET", "200 OK\r\ncontent-type: text/csv", false),
        (BodyStreaming::ByContentType, "GET", "200 OK\r\ncontent-type: application/json", false),
        (BodyStreaming::ByContentType, "GET", "200 OK\r\ncontent-type: Text/CSV; charset=utf-8", true),
        (BodyStreaming::Always, "GET", "200 OK", true),
        (BodyStreaming::Always, "HEAD", "200 OK", false),
        (BodyStreaming::Always, "GET", "204 No Content", false),
        (BodyStreaming::Always, "GET", "404 Not Found", false),
        (BodyStreaming::Always, "GET", "500 Oops", false),
    ];
    let agent = agent(LOOPBACK);
    for (streaming, method, head, comes_so) in cases {
        let upstream = Upstream::saying(&format!("{head}\r\nconnection: close"), b"a,b\n").await;
        let fetched = agent.fetch(Request { method, streaming, ..streamed(&upstream.url) }).await;
        if comes_so {
            let (head, mut body) = in_pieces(fetched);
            assert!(head.body.is_empty() && head.status == 200);
            assert_eq!(rest(&mut body).await.unwrap(), b"a,b\n");
            assert_eq!(body.next().await.unwrap(), None, "it stays ended");
        } else {
            let _ = whole(fetched);
        }
    }
}

#[tokio::test]
async fn a_large_body_comes_in_bounded_pieces_packed_or_not() {
    let plain = text(3 << 20);
    let gzip = packed("gzip", &plain).await;
    let agent = agent(LOOPBACK);
    for (head, bytes) in [
        ("200 OK\r\nconnection: close", &plain),
        ("200 OK\r\ncontent-encoding: gzip\r\nconnection: close", &gzip),
        ("200 OK\r\nconnection: close", &gzip),
    ] {
        let upstream = Upstream::saying(head, bytes).await;
        let (_, mut body) = in_pieces(agent.fetch(streamed(&upstream.url)).await);
        assert!(rest(&mut body).await.unwrap() == plain, "{head}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_or_grows_too_large_ends_with_its_error() {
    let agent = agent(LOOPBACK);
    let upstream = Upstream::saying("200 OK\r\ncontent-length: 400", b"begin").await;
    let (_, mut body) = in_pieces(agent.fetch(streamed(&upstream.url)).await);
    assert_eq!(body.next().await.unwrap().unwrap(), "begin");
    let error = body.next().await.unwrap_err();
    assert_eq!((error.kind, error.status), (FetchErrorKind::Broken, Some(200)));
    assert_eq!(body.next().await.unwrap(), None, "nothing follows an error");

    let upstream = Upstream::saying("200 OK\r\nconnection: close", &text(2_000)).await;
    let (_, mut body) =
        in_pieces(agent.fetch(Request { max_stream_bytes: 1_000, ..streamed(&upstream.url) }).await);
    assert_eq!(rest(&mut body).await.unwrap_err().kind, FetchErrorKind::TooLarge);
}

#[tokio::test]
async fn nothing_is_read_before_it_is_asked_for() {
    let line = Line::new().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let url = line.url.clone();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut socket = line.asked().await;
        socket.write_all(&answer("200 OK\r\nconnection: close", b"")).await.unwrap();
        let chunk = vec![b'x'; 64 << 10];
        // Until the reader is gone.
        while socket.write_all(&chunk).await.is_ok() {
            counter.fetch_add(chunk.len(), Ordering::Relaxed);
        }
    });
    let (_, mut body) = in_pieces(agent(LOOPBACK).fetch(streamed(&url)).await);
    let first = body.next().await.unwrap().unwrap();
    let (mut last, mut still) = (0, 0);
    for _ in 0..2_000 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let now = sent.load(Ordering::Relaxed);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still > 100 {
            break;
        }
    }
    assert!(still > 100, "it goes on sending");
    assert!(last < 32 << 20, "{last} bytes went into the sockets' buffers");
    // Who reads on goes on; who gives up lets the upstream go.
    let mut read = first.len();
    while read < last + (1 << 20) {
        read += body.next().await.unwrap().unwrap().len();
    }
    drop(body);
    server.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn time_in_which_nobody_reads_does_not_count_and_the_upstreams_does() {
    let line = Line::new().await;
    let request = Request { timeout: Duration::from_secs(10), ..streamed(&line.url) };
    let agent = agent(LOOPBACK);
    let (fetched, mut socket) = tokio::join!(agent.fetch(request), async {
        let mut socket = line.asked().await;
        socket.write_all(&answer("200 OK\r\nconnection: close", b"one")).await.unwrap();
        socket
    });
    let (_, mut body) = in_pieces(fetched);
    assert_eq!(body.next().await.unwrap().unwrap(), "one");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    socket.write_all(b"two").await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), "two", "the upstream was not waited for");
    // Now it is, for as long as the step allows: the paused clock goes on by itself to the end of the wait.
    tokio::time::pause();
    let error = body.next().await.unwrap_err();
    assert_eq!((error.kind, error.status), (FetchErrorKind::Timeout, Some(200)));
}

#[tokio::test]
async fn a_shut_fence_pauses_reading() {
    let upstream = Upstream::saying("200 OK\r\nconnection: close", &text(1 << 20)).await;
    let fence = open_fence();
    let agent = fetcher(LOOPBACK, Arc::clone(&fence)).agent(&Default::default()).unwrap();
    let (_, mut body) = in_pieces(agent.fetch(streamed(&upstream.url)).await);
    let first = body.next().await.unwrap().unwrap();
    fence.shut();
    let rest_of_first = {
        // What is left of a chunk that came needs no upstream; then there is nothing but the wait.
        let mut left = Vec::new();
        while let Some(piece) = body.next().now_or_never() {
            left.extend_from_slice(&piece.unwrap().unwrap());
        }
        left
    };
    assert!(body.next().now_or_never().is_none());
    fence.accepted(tokio::time::Instant::now(), Duration::ZERO, Duration::from_secs(600));
    let rest = rest(&mut body).await.unwrap();
    assert_eq!(first.len() + rest_of_first.len() + rest.len(), 1 << 20);
}
