//! Compressed bodies.

use orchid_engine::{FetchErrorKind, Request};
use orchid_plan::Decompression;

use crate::upstream::{LOOPBACK, Upstream, agent, compressed, error, request, text, whole_response};

const CODINGS: [(&str, &str); 6] = [
    ("gzip", "gzip"),
    ("X-Gzip", "x-gzip"),
    ("deflate", "deflate"),
    ("deflate", "raw"),
    ("br", "br"),
    ("zstd", "zstd"),
];

fn decompressing(decompress: Decompression, url: &str) -> Request {
    Request { max_body_bytes: 1 << 20, decompress, ..request(url, &[]) }
}

fn encoded(encoding: &str) -> String {
    format!("200 OK\r\ncontent-encoding: {encoding}\r\nconnection: close")
}

#[tokio::test]
async fn truncated_body_is_an_error() {
    let agent = agent(LOOPBACK);
    let plain = text(20_000);
    for (encoding, coding) in CODINGS {
        let bytes = compressed(coding, &plain).await;
        for cut in [1, 5, bytes.len() / 2, bytes.len() - 1] {
            let upstream = Upstream::responding(&encoded(encoding), &bytes[..cut]).await;
            let error = error(agent.fetch(decompressing(Decompression::Auto, &upstream.url)).await);
            assert_eq!(
                (error.kind, error.status),
                (FetchErrorKind::Decode, Some(200)),
                "{coding} cut at {cut}: {error}"
            );
            let head = format!("200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}", bytes.len());
            let upstream = Upstream::responding(&head, &bytes[..cut]).await;
            let error = error_of(&upstream, Decompression::Auto).await;
            assert_eq!(error.kind, FetchErrorKind::Broken, "{coding} cut at {cut}: {error}");
        }
    }
}

async fn error_of(upstream: &Upstream, decompress: Decompression) -> orchid_engine::FetchError {
    error(agent(LOOPBACK).fetch(decompressing(decompress, &upstream.url)).await)
}

#[tokio::test]
async fn every_coding_is_decoded_alone_and_in_chains() {
    let agent = agent(LOOPBACK);
    let plain = text(300_000);
    let mut cases = Vec::new();
    for (encoding, coding) in CODINGS {
        cases.push((encoding.to_owned(), compressed(coding, &plain).await));
    }
    let inner = compressed("gzip", &plain).await;
    cases.push(("gzip, br".to_owned(), compressed("br", &inner).await));
    cases.push(("gzip\r\ncontent-encoding: identity, zstd".to_owned(), compressed("zstd", &inner).await));
    cases.push(("utf-8".to_owned(), plain.clone()));
    for (encoding, bytes) in cases {
        let upstream = Upstream::responding(&encoded(&encoding), &bytes).await;
        let response = whole_response(agent.fetch(decompressing(Decompression::Auto, &upstream.url)).await);
        assert!(response.body == plain, "{encoding}: {} bytes", response.body.len());
        let is_kept = response.headers.iter().any(|(name, _)| name == "content-encoding");
        assert_eq!(is_kept, encoding == "utf-8", "{encoding}: the header is removed after decoding");
    }
}

#[tokio::test]
async fn gzip_members_and_zstd_frames_form_one_body() {
    let agent = agent(LOOPBACK);
    for coding in ["gzip", "zstd"] {
        let mut bytes = compressed(coding, b"first ").await;
        bytes.extend(compressed(coding, b"").await);
        bytes.extend(compressed(coding, b"second").await);
        let upstream = Upstream::responding(&encoded(coding), &bytes).await;
        let response = whole_response(agent.fetch(decompressing(Decompression::Auto, &upstream.url)).await);
        assert_eq!(&response.body[..], b"first second", "{coding}");
    }
}

#[tokio::test]
async fn empty_body_is_valid_under_any_content_encoding() {
    let agent = agent(LOOPBACK);
    for (encoding, _) in CODINGS {
        let upstream = Upstream::responding(&encoded(encoding), b"").await;
        let response = whole_response(agent.fetch(decompressing(Decompression::Auto, &upstream.url)).await);
        assert!(response.body.is_empty());
    }
    for decompress in [Decompression::Gzip, Decompression::Zip] {
        let upstream = Upstream::responding("200 OK\r\ncontent-length: 0", b"").await;
        assert_eq!(error_of(&upstream, decompress).await.kind, FetchErrorKind::Decode);
        let upstream = Upstream::responding("204 No Content\r\ncontent-encoding: gzip", b"").await;
        assert!(agent.fetch(decompressing(decompress, &upstream.url)).await.result.is_ok());
    }
}

#[tokio::test]
async fn unsupported_coding_is_named() {
    let upstream = Upstream::responding(&encoded("compress"), b"x").await;
    let error = error_of(&upstream, Decompression::Auto).await;
    assert_eq!(error.kind, FetchErrorKind::Decode);
    assert!(error.message.contains("\"compress\""), "{error}");
}

#[tokio::test]
async fn gzip_file_is_detected_unless_the_type_excludes_it() {
    let agent = agent(LOOPBACK);
    let bytes = compressed("gzip", b"a,b\n1,2\n").await;
    for (content_type, plain) in [
        ("text/csv", true),
        ("application/gzip", true),
        ("application/octet-stream", true),
        ("image/png", false),
    ] {
        let head = format!("200 OK\r\ncontent-type: {content_type}\r\nconnection: close");
        let upstream = Upstream::responding(&head, &bytes).await;
        let response = whole_response(agent.fetch(decompressing(Decompression::Auto, &upstream.url)).await);
        assert_eq!(response.body[..] == b"a,b\n1,2\n"[..], plain, "{content_type}");
    }
}

#[tokio::test]
async fn gzip_file_in_tiny_chunks_is_detected() {
    let agent = agent(LOOPBACK);
    let bytes = compressed("gzip", b"late").await;
    let mut chunked = Vec::new();
    for byte in &bytes {
        chunked.extend_from_slice(b"1\r\n");
        chunked.push(*byte);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let upstream = Upstream::responding("200 OK\r\ntransfer-encoding: chunked", &chunked).await;
    let response = whole_response(agent.fetch(decompressing(Decompression::Auto, &upstream.url)).await);
    assert_eq!(&response.body[..], b"late");
}

#[tokio::test]
async fn decompress_gzip_requires_a_gzip_body() {
    let agent = agent(LOOPBACK);
    let upstream = Upstream::responding("200 OK\r\ncontent-length: 2", b"{}").await;
    let error = error_of(&upstream, Decompression::Gzip).await;
    assert_eq!(error.kind, FetchErrorKind::Decode);
    assert_eq!(error.message, "the body is not gzip: it begins with the bytes 7b 7d");
    let compressed = compressed("gzip", b"{}").await;
    for head in ["200 OK\r\nconnection: close".to_owned(), encoded("gzip")] {
        let upstream = Upstream::responding(&head, &compressed).await;
        let response = whole_response(agent.fetch(decompressing(Decompression::Gzip, &upstream.url)).await);
        assert_eq!(&response.body[..], b"{}", "{head}");
    }
    let upstream = Upstream::responding("503 Busy\r\ncontent-length: 4", b"busy").await;
    let response = whole_response(agent.fetch(decompressing(Decompression::Gzip, &upstream.url)).await);
    assert_eq!(
        (response.status, &response.body[..]),
        (503, &b"busy"[..]),
        "an error response is not decompressed"
    );
}

#[tokio::test]
async fn decompress_none_returns_the_received_bytes() {
    let agent = agent(LOOPBACK);
    let bytes = compressed("gzip", b"compressed").await;
    let upstream = Upstream::responding(&encoded("gzip"), &bytes).await;
    let response = whole_response(agent.fetch(decompressing(Decompression::None, &upstream.url)).await);
    assert!(response.body == bytes);
    assert!(response.headers.contains(&("content-encoding".to_owned(), "gzip".to_owned())));
    assert!(upstream.requests.lock().await[0].contains("accept-encoding: identity\r\n"));
}

#[tokio::test]
async fn accept_encoding_is_sent_unless_the_plan_sets_it() {
    let agent = agent(LOOPBACK);
    let upstream = Upstream::responding("200 OK\r\ncontent-length: 0", b"").await;
    let mut own = decompressing(Decompression::Auto, &upstream.url);
    agent.fetch(own.clone()).await.result.map(drop).unwrap();
    own.headers.push(("accept-encoding".to_owned(), "br;q=0.5".to_owned()));
    agent.fetch(own).await.result.map(drop).unwrap();
    let requests = upstream.requests.lock().await;
    assert!(requests[0].contains("accept-encoding: gzip, br, zstd, deflate\r\n"), "{}", requests[0]);
    assert!(
        requests[1].contains("accept-encoding: br;q=0.5\r\n") && !requests[1].contains("zstd"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn decompression_bomb_is_stopped() {
    let agent = agent(LOOPBACK);
    let zeros = vec![0; 8 << 20];
    let layered = {
        let inner = compressed("gzip", &zeros).await;
        compressed("gzip", &inner).await
    };
    let mut cases = vec![("gzip, gzip".to_owned(), layered)];
    for (encoding, coding) in CODINGS {
        cases.push((encoding.to_owned(), compressed(coding, &zeros).await));
    }
    for (encoding, bytes) in cases {
        let upstream = Upstream::responding(&encoded(&encoding), &bytes).await;
        let small = error_of(&upstream, Decompression::Auto).await;
        assert_eq!((small.kind, small.status), (FetchErrorKind::TooLarge, Some(200)), "{encoding}");
        let large = Request { max_body_bytes: 1 << 30, ..decompressing(Decompression::Auto, &upstream.url) };
        let error = error(agent.fetch(large).await);
        assert_eq!(error.kind, FetchErrorKind::TooLarge, "{encoding}");
        assert!(error.message.contains("more than 200 times"), "{encoding}: {error}");
    }
}

#[tokio::test]
async fn highly_compressed_body_below_1_mib_is_accepted() {
    let agent = agent(LOOPBACK);
    let zeros = vec![0; 1 << 20];
    let bytes = compressed("gzip", &zeros).await;
    let upstream = Upstream::responding(&encoded("gzip"), &bytes).await;
    let response = whole_response(agent.fetch(decompressing(Decompression::Auto, &upstream.url)).await);
    assert_eq!(response.body.len(), 1 << 20);
}

#[tokio::test]
async fn compressed_bytes_count_against_the_limit() {
    let agent = agent(LOOPBACK);
    let noise: Vec<u8> = text(60_000)
        .chunks(3)
        .map(|three| three[0] ^ three[1].rotate_left(3) ^ three[2].rotate_left(5))
        .collect();
    let bytes = compressed("gzip", &noise).await;
    assert!(bytes.len() > 10_000 && noise.len() == 20_000, "{}", bytes.len());
    let upstream = Upstream::responding(&encoded("gzip"), &bytes).await;
    let request = Request {
        max_body_bytes: bytes.len() as u64 - 1,
        ..decompressing(Decompression::Auto, &upstream.url)
    };
    let error = error(agent.fetch(request).await);
    assert_eq!((error.kind, error.message.contains("while")), (FetchErrorKind::TooLarge, true), "{error}");
}
