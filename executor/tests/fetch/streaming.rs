//! Bodies that are read piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use orchid_engine::{BodyStreaming, FetchError, FetchErrorKind, Request};
use orchid_executor::fetch::{BodyReader, PIECE_BYTES};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::upstream::{
    LOOPBACK, Upstream, agent, compressed, fetcher, open_fence, request, response_bytes, streamed_response,
    text, whole_response,
};

fn streaming_request(url: &str) -> Request {
    Request { max_stream_bytes: 1 << 30, streaming: BodyStreaming::Always, ..request(url, &[]) }
}

async fn rest(body: &mut BodyReader) -> Result<Vec<u8>, FetchError> {
    let mut read = Vec::new();
    while let Some(piece) = body.next().await? {
        let bytes = piece.bytes;
        assert!(!bytes.is_empty() && bytes.len() <= PIECE_BYTES, "{}", bytes.len());
        read.extend_from_slice(&bytes);
    }
    Ok(read)
}

/// An upstream whose connections the test holds.
struct ManualUpstream {
    url: String,
    listener: TcpListener,
}

impl ManualUpstream {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { url: format!("http://{}/x", listener.local_addr().unwrap()), listener }
    }

    async fn accept(&self) -> TcpStream {
        let (mut socket, _) = self.listener.accept().await.unwrap();
        let mut request = vec![0; 8192];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        socket
    }
}

#[tokio::test]
async fn only_successful_bodies_are_streamed() {
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
    for (streaming, method, head, is_streamed) in cases {
        let upstream = Upstream::responding(&format!("{head}\r\nconnection: close"), b"a,b\n").await;
        let fetched = agent.fetch(Request { method, streaming, ..streaming_request(&upstream.url) }).await;
        if is_streamed {
            let (head, mut body) = streamed_response(fetched);
            assert!(head.body.is_empty() && head.status == 200);
            assert_eq!(rest(&mut body).await.unwrap(), b"a,b\n");
            assert_eq!(body.next().await.unwrap(), None, "the end is repeated");
        } else {
            let _ = whole_response(fetched);
        }
    }
}

#[tokio::test]
async fn large_body_is_streamed_in_bounded_pieces() {
    let plain = text(3 << 20);
    let gzip = compressed("gzip", &plain).await;
    let agent = agent(LOOPBACK);
    for (head, bytes) in [
        ("200 OK\r\nconnection: close", &plain),
        ("200 OK\r\ncontent-encoding: gzip\r\nconnection: close", &gzip),
        ("200 OK\r\nconnection: close", &gzip),
    ] {
        let upstream = Upstream::responding(head, bytes).await;
        let (_, mut body) = streamed_response(agent.fetch(streaming_request(&upstream.url)).await);
        assert!(rest(&mut body).await.unwrap() == plain, "{head}");
    }
}

#[tokio::test]
async fn broken_or_too_large_body_ends_with_an_error() {
    let agent = agent(LOOPBACK);
    let upstream = Upstream::responding("200 OK\r\ncontent-length: 400", b"begin").await;
    let (_, mut body) = streamed_response(agent.fetch(streaming_request(&upstream.url)).await);
    assert_eq!(body.next().await.unwrap().unwrap().bytes, "begin");
    let error = body.next().await.unwrap_err();
    assert_eq!((error.kind, error.status), (FetchErrorKind::Broken, Some(200)));
    assert_eq!(body.next().await.unwrap(), None, "nothing follows an error");

    let upstream = Upstream::responding("200 OK\r\nconnection: close", &text(2_000)).await;
    let (_, mut body) = streamed_response(
        agent.fetch(Request { max_stream_bytes: 1_000, ..streaming_request(&upstream.url) }).await,
    );
    assert_eq!(rest(&mut body).await.unwrap_err().kind, FetchErrorKind::TooLarge);
}

#[tokio::test]
async fn body_is_not_read_ahead() {
    let upstream = ManualUpstream::new().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let url = upstream.url.clone();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut socket = upstream.accept().await;
        socket.write_all(&response_bytes("200 OK\r\nconnection: close", b"")).await.unwrap();
        let chunk = vec![b'x'; 64 << 10];
        // Until the reader drops the body.
        while socket.write_all(&chunk).await.is_ok() {
            counter.fetch_add(chunk.len(), Ordering::Relaxed);
        }
    });
    let (_, mut body) = streamed_response(agent(LOOPBACK).fetch(streaming_request(&url)).await);
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
    assert!(still > 100, "the upstream must block");
    assert!(last < 32 << 20, "{last} bytes went into the sockets' buffers");
    // Reading on unblocks the upstream; dropping the body ends its connection.
    let mut read = first.bytes.len();
    while read < last + (1 << 20) {
        read += body.next().await.unwrap().unwrap().bytes.len();
    }
    drop(body);
    server.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn only_waits_for_the_upstream_count_as_timeout() {
    let upstream = ManualUpstream::new().await;
    let request = Request { timeout: Duration::from_secs(10), ..streaming_request(&upstream.url) };
    let agent = agent(LOOPBACK);
    let (fetched, mut socket) = tokio::join!(agent.fetch(request), async {
        let mut socket = upstream.accept().await;
        socket.write_all(&response_bytes("200 OK\r\nconnection: close", b"one")).await.unwrap();
        socket
    });
    let (_, mut body) = streamed_response(fetched);
    assert_eq!(body.next().await.unwrap().unwrap().bytes, "one");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    socket.write_all(b"two").await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap().bytes, "two", "the pause did not count");
    // Now the reader waits for the upstream. The paused clock advances by itself to the timeout.
    tokio::time::pause();
    let error = body.next().await.unwrap_err();
    assert_eq!((error.kind, error.status), (FetchErrorKind::Timeout, Some(200)));
}

#[tokio::test]
async fn closed_fence_pauses_reading() {
    let upstream = Upstream::responding("200 OK\r\nconnection: close", &text(1 << 20)).await;
    let fence = open_fence();
    let agent = fetcher(LOOPBACK, Arc::clone(&fence)).agent(&Default::default()).unwrap();
    let (_, mut body) = streamed_response(agent.fetch(streaming_request(&upstream.url)).await);
    let first = body.next().await.unwrap().unwrap();
    fence.close();
    let rest_of_first = {
        // The rest of a received chunk needs no reading. After it, nothing is ready.
        let mut left = Vec::new();
        while let Some(piece) = body.next().now_or_never() {
            left.extend_from_slice(&piece.unwrap().unwrap().bytes);
        }
        left
    };
    assert!(body.next().now_or_never().is_none());
    fence.extend(tokio::time::Instant::now(), Duration::ZERO, Duration::from_secs(600));
    let rest = rest(&mut body).await.unwrap();
    assert_eq!(first.bytes.len() + rest_of_first.len() + rest.len(), 1 << 20);
}
