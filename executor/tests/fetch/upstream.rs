//! An HTTP upstream that sends prepared bytes, and helpers to fetch from it.

use std::sync::Arc;
use std::time::Duration;

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use orchid_engine::{
    BodyStreaming, FetchError, FetchErrorKind, HostPolicy, RedirectPolicy, Request, Response,
};
use orchid_executor::fetch::{
    AddressGuard, BodyReader, FetchAgent, FetchOutcome, FetchedResponse, Fetcher, Transport,
};
use orchid_executor::lease::SelfFence;
use orchid_executor::memory::MemoryBudget;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1"];

/// Sends prepared bytes on each connection, then closes it. Records the requests.
pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Upstream {
    pub(crate) async fn start(respond: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 8192];
                let length = socket.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                seen.lock().await.push(request.clone());
                let _ = socket.write_all(&respond(&request)).await;
                let _ = socket.shutdown().await;
            }
        });
        Self { url, requests, _server: server }
    }

    /// Starts an upstream that always sends the same response.
    pub(crate) async fn responding(head: &str, body: &[u8]) -> Self {
        let bytes = response_bytes(head, body);
        Self::start(move |_| bytes.clone()).await
    }
}

pub(crate) fn open_fence() -> Arc<SelfFence> {
    let fence = Arc::new(SelfFence::new());
    fence.extend(Instant::now(), Duration::ZERO, Duration::from_secs(6000));
    fence
}

pub(crate) fn fetcher(open: &[&str], fence: Arc<SelfFence>) -> Fetcher {
    fetcher_with(open, fence, MemoryBudget::new(64 << 20))
}

pub(crate) fn fetcher_with(open: &[&str], fence: Arc<SelfFence>, memory: MemoryBudget) -> Fetcher {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let open = open.iter().map(|range| range.parse().unwrap()).collect();
    Fetcher::new(AddressGuard::new(open), fence, memory).unwrap()
}

/// Creates an agent that may reach these addresses.
pub(crate) fn agent(open: &[&str]) -> FetchAgent {
    agent_with(open, &Transport::default())
}

pub(crate) fn agent_with(open: &[&str], transport: &Transport) -> FetchAgent {
    fetcher(open, open_fence()).agent(transport).unwrap()
}

pub(crate) fn request(url: &str, allowed: &[&str]) -> Request {
    let url: url::Url = url.parse().unwrap();
    let hosts = if allowed.is_empty() {
        HostPolicy::SameAs(url.clone())
    } else {
        HostPolicy::Allowed(allowed.iter().map(|host| (*host).to_owned()).collect())
    };
    Request {
        method: "GET",
        url,
        headers: vec![("authorization".to_owned(), "Bearer t".to_owned())],
        body: None,
        timeout: Duration::from_secs(60),
        max_body_bytes: 10_000,
        label: String::new(),
        max_stream_bytes: 10_000,
        redirects: RedirectPolicy::new(hosts),
        decompress: orchid_plan::Decompression::Auto,
        archive_files: None,
        streaming: BodyStreaming::Never,
    }
}

pub(crate) fn response_bytes(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {head}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn whole_response(fetched: FetchOutcome) -> Response {
    match fetched.result.unwrap() {
        FetchedResponse::Whole(response) => response,
        FetchedResponse::Streaming(..) => panic!("the body is streamed"),
    }
}

pub(crate) fn streamed_response(fetched: FetchOutcome) -> (Response, BodyReader) {
    match fetched.result.unwrap() {
        FetchedResponse::Streaming(response, body) => (response, body),
        FetchedResponse::Whole(_) => panic!("the body is not streamed"),
    }
}

pub(crate) fn error(fetched: FetchOutcome) -> FetchError {
    fetched.result.err().expect("an error")
}

pub(crate) fn kind(fetched: FetchOutcome) -> FetchErrorKind {
    error(fetched).kind
}

/// Compresses bytes with a coding: `deflate` is deflate within zlib, `raw` deflate alone.
pub(crate) async fn compressed(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" | "x-gzip" => {
            through(GzipEncoder::with_quality(Vec::new(), Level::Fastest), plain, GzipEncoder::into_inner)
                .await
        }
        "deflate" => {
            through(ZlibEncoder::with_quality(Vec::new(), Level::Fastest), plain, ZlibEncoder::into_inner)
                .await
        }
        "raw" => {
            through(
                DeflateEncoder::with_quality(Vec::new(), Level::Fastest),
                plain,
                DeflateEncoder::into_inner,
            )
            .await
        }
        "br" => {
            through(BrotliEncoder::with_quality(Vec::new(), Level::Fastest), plain, BrotliEncoder::into_inner)
                .await
        }
        "zstd" => {
            through(ZstdEncoder::with_quality(Vec::new(), Level::Fastest), plain, ZstdEncoder::into_inner)
                .await
        }
        other => panic!("{other}"),
    }
}

async fn through<E: AsyncWrite + Unpin>(
    mut encoder: E,
    plain: &[u8],
    end: impl FnOnce(E) -> Vec<u8>,
) -> Vec<u8> {
    encoder.write_all(plain).await.unwrap();
    encoder.shutdown().await.unwrap();
    end(encoder)
}

/// Creates text that compresses moderately.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let mut number = 1_u64;
    let mut text = Vec::with_capacity(bytes + 32);
    while text.len() < bytes {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(format!("{{\"id\": {}}}\n", number >> 40).as_bytes());
    }
    text.truncate(bytes);
    text
}
