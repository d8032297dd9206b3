//! Size limits, error kinds, redirects and addresses.

use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{FetchErrorKind, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::upstream::{LOOPBACK, Upstream, agent, error, kind, request, response_bytes, whole_response};

#[tokio::test]
async fn body_over_the_limit_is_refused_with_and_without_length() {
    let long = vec![b'a'; 10_001];
    for head in ["200 OK\r\ncontent-length: 10001", "200 OK\r\nconnection: close"] {
        let body = long.clone();
        let upstream = Upstream::start(move |_| response_bytes(head, &body)).await;
        let fetched = agent(LOOPBACK).fetch(request(&upstream.url, &[])).await;
        let error = error(fetched);
        assert_eq!((error.kind, error.status), (FetchErrorKind::TooLarge, Some(200)), "{head}");
    }
}

#[tokio::test]
async fn body_at_the_limit_is_accepted() {
    let upstream = Upstream::start(|_| response_bytes("200 OK\r\nconnection: close", &[b'a'; 10_000])).await;
    let response = whole_response(agent(LOOPBACK).fetch(request(&upstream.url, &[])).await);
    assert_eq!(response.body.len(), 10_000);
    assert_eq!(response.url, upstream.url);
}

#[tokio::test]
async fn decode_errors_differ_from_broken_connections() {
    let invalid = response_bytes("200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4", b"nope");
    let upstream = Upstream::start(move |_| invalid.clone()).await;
    assert_eq!(kind(agent(LOOPBACK).fetch(request(&upstream.url, &[])).await), FetchErrorKind::Decode);
    let cut = response_bytes("200 OK\r\ncontent-length: 400", b"begin");
    let upstream = Upstream::start(move |_| cut.clone()).await;
    assert_eq!(kind(agent(LOOPBACK).fetch(request(&upstream.url, &[])).await), FetchErrorKind::Broken);
    let upstream = Upstream::start(|_| Vec::new()).await;
    assert_eq!(kind(agent(LOOPBACK).fetch(request(&upstream.url, &[])).await), FetchErrorKind::Broken);
}

#[tokio::test]
async fn error_behind_the_head_holds_what_arrived() {
    let cut = response_bytes("200 OK\r\ncontent-length: 400\r\nx-page: 3", b"begin");
    let long = response_bytes("200 OK\r\nconnection: close\r\nx-page: 3", &[b'a'; 2_000]);
    let declared = response_bytes("200 OK\r\ncontent-length: 2000\r\nx-page: 3", &[b'a'; 2_000]);
    for (bytes, kind, body) in [
        (cut, FetchErrorKind::Broken, Some(&b"begin"[..])),
        (long, FetchErrorKind::TooLarge, None),
        (declared, FetchErrorKind::TooLarge, Some(&b""[..])),
    ] {
        let upstream = Upstream::start(move |_| bytes.clone()).await;
        let bounded = Request { max_body_bytes: 1_000, ..request(&upstream.url, &[]) };
        let error = error(agent(LOOPBACK).fetch(bounded).await);
        let received = error.received.expect("the head had arrived");
        assert_eq!((error.kind, error.status, received.status), (kind, Some(200), 200));
        assert!(received.headers.contains(&("x-page".to_owned(), "3".to_owned())));
        if let Some(body) = body {
            assert_eq!(received.body, body);
        }
    }
    let upstream = Upstream::start(|_| Vec::new()).await;
    let error = error(agent(LOOPBACK).fetch(request(&upstream.url, &[])).await);
    assert!(error.received.is_none());
}

#[tokio::test]
async fn silent_upstream_times_out_and_closed_port_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let silent = Request { timeout: Duration::from_millis(200), ..request(&url, &[]) };
    let fetched = agent(LOOPBACK).fetch(silent).await;
    assert!(fetched.duration >= Duration::from_millis(200));
    assert_eq!(kind(fetched), FetchErrorKind::Timeout);
    drop(listener);
    assert_eq!(kind(agent(LOOPBACK).fetch(request(&url, &[])).await), FetchErrorKind::Connect);
}

#[tokio::test]
async fn body_that_does_not_end_in_time_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
        let partial = response_bytes("200 OK\r\ncontent-length: 10", b"begun");
        socket.write_all(&partial).await.unwrap();
        // Keeps the connection open without sending more.
        std::future::pending::<()>().await;
    });
    let slow = Request { timeout: Duration::from_millis(200), ..request(&url, &[]) };
    let fetched = agent(LOOPBACK).fetch(slow).await;
    assert!(fetched.duration >= Duration::from_millis(200));
    assert_eq!(kind(fetched), FetchErrorKind::Timeout);
}

#[tokio::test]
async fn header_names_are_lower_case() {
    let upstream =
        Upstream::responding("200 OK\r\nETag: \"V1\"\r\nX-Rate-LIMIT: 5\r\nconnection: close", b"").await;
    let response = whole_response(agent(LOOPBACK).fetch(request(&upstream.url, &[])).await);
    for (name, value) in [("etag", "\"V1\""), ("x-rate-limit", "5")] {
        assert!(response.headers.contains(&(name.to_owned(), value.to_owned())), "{:?}", response.headers);
    }
}

#[tokio::test]
async fn unknown_host_name_is_a_dns_error() {
    let fetched = agent(LOOPBACK).fetch(request("http://nothing.invalid/", &[])).await;
    assert_eq!(kind(fetched), FetchErrorKind::Dns);
}

#[tokio::test]
async fn plain_http_on_an_https_url_is_a_tls_error() {
    let upstream = Upstream::start(|_| response_bytes("200 OK", b"")).await;
    let url = upstream.url.replace("http://", "https://");
    assert_eq!(kind(agent(LOOPBACK).fetch(request(&url, &[])).await), FetchErrorKind::Tls);
}

#[tokio::test]
async fn private_address_is_refused_as_literal_and_as_name() {
    let upstream = Upstream::start(|_| response_bytes("200 OK\r\nconnection: close", b"")).await;
    let by_name = upstream.url.replace("127.0.0.1", "localhost");
    for url in [upstream.url.as_str(), &by_name, "http://[::ffff:127.0.0.1]:1/", "http://0x7f.1/"] {
        let fetched = agent(&[]).fetch(request(url, &[])).await;
        assert_eq!(kind(fetched), FetchErrorKind::AddressRefused, "{url}");
    }
    assert!(upstream.requests.lock().await.is_empty());
}

#[tokio::test]
async fn redirect_to_private_address_is_refused() {
    let upstream = Upstream::start(|_| response_bytes("302 Found\r\nlocation: http://10.0.0.1/", b"")).await;
    let fetched = agent(LOOPBACK).fetch(request(&upstream.url, &["127.0.0.1", "10.0.0.1"])).await;
    assert_eq!(kind(fetched), FetchErrorKind::AddressRefused);
}

#[tokio::test]
async fn redirect_to_another_origin_drops_credentials() {
    let second = Upstream::start(|_| response_bytes("200 OK\r\nconnection: close", b"there")).await;
    let to = second.url.clone();
    let first =
        Upstream::start(move |_| response_bytes(&format!("307 Moved\r\nlocation: {to}?k=1"), b"")).await;
    let response = whole_response(agent(LOOPBACK).fetch(request(&first.url, &["127.0.0.1"])).await);
    assert_eq!(&response.body[..], b"there");
    assert_eq!(response.url, format!("{}?k=1", second.url));
    assert!(first.requests.lock().await[0].contains("Bearer t"));
    assert!(!second.requests.lock().await[0].contains("Bearer t"));
}

#[tokio::test]
async fn redirect_on_the_same_origin_keeps_the_credentials_of_the_url() {
    let upstream = Upstream::start(|request| {
        if request.starts_with("GET /x ") {
            return response_bytes("302 Found\r\nlocation: /there\r\nconnection: close", b"");
        }
        response_bytes("200 OK\r\nconnection: close", b"there")
    })
    .await;
    let url = upstream.url.replace("http://", "http://me:key@");
    let mut request = request(&url, &[]);
    request.headers.clear();
    let response = whole_response(agent(LOOPBACK).fetch(request).await);
    assert_eq!(&response.body[..], b"there");
    let requests = upstream.requests.lock().await;
    assert_eq!(requests.len(), 2);
    // The Base64 of `me:key`.
    assert!(requests.iter().all(|request| request.contains("Basic bWU6a2V5")), "{requests:?}");
}

#[tokio::test]
async fn redirect_takes_a_body_to_another_origin_only_by_allowed_hosts() {
    let second = Upstream::start(|_| response_bytes("200 OK\r\nconnection: close", b"there")).await;
    let to = second.url.clone();
    let first = Upstream::start(move |_| {
        response_bytes(&format!("307 Moved\r\nlocation: {to}\r\nconnection: close"), b"")
    })
    .await;
    let post = |allowed: &[&str]| Request {
        method: "POST",
        body: Some(Bytes::from_static(b"secret")),
        ..request(&first.url, allowed)
    };
    assert_eq!(kind(agent(LOOPBACK).fetch(post(&[])).await), FetchErrorKind::HostNotAllowed);
    assert!(second.requests.lock().await.is_empty());
    let response = whole_response(agent(LOOPBACK).fetch(post(&["127.0.0.1"])).await);
    assert_eq!(&response.body[..], b"there");
    assert!(second.requests.lock().await[0].starts_with("POST "));
}
