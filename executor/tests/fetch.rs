//! One try on a real socket: bodies are bounded, failures have their kind, redirects and addresses are guarded.

#![expect(clippy::unwrap_used, reason = "a test that finds nothing ends there")]

use std::sync::Arc;
use std::time::Duration;

use orchid_engine::{FetchErrorKind, HostPolicy, RedirectPolicy, Request};
use orchid_executor::beat::Fence;
use orchid_executor::fetch::{AddressGuard, Fetched, Fetcher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Answers each connection with these bytes, then closes it; remembers what it was asked.
struct Upstream {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Upstream {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 8192];
                let length = socket.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let _ = socket.write_all(&answer(&request)).await;
                seen.lock().await.push(request);
                let _ = socket.shutdown().await;
            }
        });
        Upstream { url, asked, _server: server }
    }
}

fn fetcher(open: &[&str]) -> Fetcher {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fence = Arc::new(Fence::new());
    fence.accepted(Instant::now(), Duration::ZERO, Duration::from_secs(600));
    let open = open.iter().map(|range| range.parse().unwrap()).collect();
    Fetcher::new(AddressGuard::new(open), fence).unwrap()
}

fn request(url: &str, allowed: &[&str]) -> Request {
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
        timeout: Duration::from_secs(5),
        max_body_bytes: 10_000,
        redirects: RedirectPolicy::new(hosts),
        max_stream_bytes: u64::MAX,
        decompress: orchid_plan::Decompress::Auto,
        pieces: orchid_engine::Pieces::Never,
    }
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {head}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn kind(fetched: &Fetched) -> FetchErrorKind {
    fetched.result.as_ref().unwrap_err().kind
}

const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1"];

/// 20,000 zero bytes.
const BOMB: &[u8] = &[
    0x1f, 0x8b, 0x8, 0x0, 0x0, 0x0, 0x0, 0x0, 0x2, 0x3, 0xed, 0xc1, 0x31, 0x1, 0x0, 0x0, 0x0, 0xc2, 0xa0,
    0xf5, 0x4f, 0x6d, 0xd, 0xf, 0xa0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0,
    0x0, 0x0, 0x0, 0x0, 0x0, 0x78, 0x30, 0x2, 0x53, 0x2f, 0x97, 0x20, 0x4e, 0x0, 0x0,
];

#[tokio::test]
async fn a_body_over_the_limit_is_stopped_whether_it_says_its_length_or_not() {
    let long = vec![b'a'; 10_001];
    for head in ["200 OK\r\ncontent-length: 10001", "200 OK\r\nconnection: close"] {
        let body = long.clone();
        let upstream = Upstream::start(move |_| answer(head, &body)).await;
        let fetched = fetcher(LOOPBACK).fetch(request(&upstream.url, &[])).await;
        let error = fetched.result.unwrap_err();
        assert_eq!((error.kind, error.status), (FetchErrorKind::TooLarge, Some(200)), "{head}");
    }
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken() {
    let upstream = Upstream::start(|_| answer("200 OK\r\nconnection: close", &[b'a'; 10_000])).await;
    let response = fetcher(LOOPBACK).fetch(request(&upstream.url, &[])).await.result.unwrap();
    assert_eq!(response.body.len(), 10_000);
    assert_eq!(response.url, upstream.url);
}

#[tokio::test]
async fn a_bomb_is_stopped_while_it_unpacks() {
    let upstream =
        Upstream::start(|_| answer("200 OK\r\ncontent-encoding: gzip\r\nconnection: close", BOMB)).await;
    let fetched = fetcher(LOOPBACK).fetch(request(&upstream.url, &[])).await;
    assert_eq!(kind(&fetched), FetchErrorKind::TooLarge);
}

#[tokio::test]
async fn a_body_that_does_not_decompress_is_told_from_a_broken_connection() {
    let garbled = answer("200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4", b"nope");
    let upstream = Upstream::start(move |_| garbled.clone()).await;
    assert_eq!(kind(&fetcher(LOOPBACK).fetch(request(&upstream.url, &[])).await), FetchErrorKind::Decode);
    let cut = answer("200 OK\r\ncontent-length: 400", b"begin");
    let upstream = Upstream::start(move |_| cut.clone()).await;
    assert_eq!(kind(&fetcher(LOOPBACK).fetch(request(&upstream.url, &[])).await), FetchErrorKind::Broken);
    let upstream = Upstream::start(|_| Vec::new()).await;
    assert_eq!(kind(&fetcher(LOOPBACK).fetch(request(&upstream.url, &[])).await), FetchErrorKind::Broken);
}

#[tokio::test]
async fn a_silent_upstream_is_a_timeout_and_a_closed_port_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let silent = Request { timeout: Duration::from_millis(200), ..request(&url, &[]) };
    let fetched = fetcher(LOOPBACK).fetch(silent).await;
    assert_eq!(kind(&fetched), FetchErrorKind::Timeout);
    assert!(fetched.duration >= Duration::from_millis(200));
    drop(listener);
    assert_eq!(kind(&fetcher(LOOPBACK).fetch(request(&url, &[])).await), FetchErrorKind::Connect);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_apart() {
    let fetched = fetcher(LOOPBACK).fetch(request("http://nothing.invalid/", &[])).await;
    assert_eq!(kind(&fetched), FetchErrorKind::Dns);
}

#[tokio::test]
async fn plain_http_on_a_tls_url_is_no_secure_connection() {
    let upstream = Upstream::start(|_| answer("200 OK", b"")).await;
    let url = upstream.url.replace("http://", "https://");
    assert_eq!(kind(&fetcher(LOOPBACK).fetch(request(&url, &[])).await), FetchErrorKind::Tls);
}

#[tokio::test]
async fn a_private_address_is_refused_as_a_literal_and_as_a_name() {
    let upstream = Upstream::start(|_| answer("200 OK\r\nconnection: close", b"")).await;
    let by_name = upstream.url.replace("127.0.0.1", "localhost");
    for url in [upstream.url.as_str(), &by_name, "http://[::ffff:127.0.0.1]:1/", "http://0x7f.1/"] {
        let fetched = fetcher(&[]).fetch(request(url, &[])).await;
        assert_eq!(kind(&fetched), FetchErrorKind::AddressRefused, "{url}");
    }
    assert!(upstream.asked.lock().await.is_empty());
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused_where_the_host_is_allowed() {
    let upstream = Upstream::start(|_| answer("302 Found\r\nlocation: http://10.0.0.1/", b"")).await;
    let fetched = fetcher(LOOPBACK).fetch(request(&upstream.url, &["127.0.0.1", "10.0.0.1"])).await;
    assert_eq!(kind(&fetched), FetchErrorKind::AddressRefused);
}

#[tokio::test]
async fn a_redirect_across_origins_leaves_credentials_behind() {
    let second = Upstream::start(|_| answer("200 OK\r\nconnection: close", b"there")).await;
    let to = second.url.clone();
    let first = Upstream::start(move |_| answer(&format!("307 Moved\r\nlocation: {to}?k=1"), b"")).await;
    let response = fetcher(LOOPBACK).fetch(request(&first.url, &["127.0.0.1"])).await.result.unwrap();
    assert_eq!(&response.body[..], b"there");
    assert_eq!(response.url, format!("{}?k=1", second.url));
    assert!(first.asked.lock().await[0].contains("Bearer t"));
    assert!(!second.asked.lock().await[0].contains("Bearer t"));
}

#[tokio::test]
async fn no_cookie_comes_back_in_a_later_request() {
    let upstream = Upstream::start(|_| {
        answer("200 OK\r\nset-cookie: a=b\r\nconnection: close\r\ncontent-length: 0", b"")
    })
    .await;
    let fetcher = fetcher(LOOPBACK);
    for _ in 0..2 {
        assert!(fetcher.fetch(request(&upstream.url, &[])).await.result.is_ok());
    }
    assert!(upstream.asked.lock().await.iter().all(|request| !request.contains("cookie")));
}
