//! Bodies that come packed.

use orchid_engine::{FetchErrorKind, Request};
use orchid_plan::Decompression;

use crate::upstream::{LOOPBACK, Upstream, agent, error, packed, request, text, whole};

const CODINGS: [(&str, &str); 6] = [
    ("gzip", "gzip"),
    ("X-Gzip", "x-gzip"),
    ("deflate", "deflate"),
    ("deflate", "raw"),
    ("br", "br"),
    ("zstd", "zstd"),
];

fn with(decompress: Decompression, url: &str) -> Request {
    Request { max_body_bytes: 1 << 20, decompress, ..request(url, &[]) }
}

fn close(encoding: &str) -> String {
    format!("200 OK\r\ncontent-encoding: {encoding}\r\nconnection: close")
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_never_taken_for_whole() {
    let agent = agent(LOOPBACK);
    let plain = text(20_000);
    for (encoding, coding) in CODINGS {
        let bytes = packed(coding, &plain).await;
        for cut in [1, 5, bytes.len() / 2, bytes.len() - 1] {
            let upstream = Upstream::saying(&close(encoding), &bytes[..cut]).await;
            let error = error(agent.fetch(with(Decompression::Auto, &upstream.url)).await);
            assert_eq!(
                (error.kind, error.status),
                (FetchErrorKind::Decode, Some(200)),
                "{coding} cut at {cut}: {error}"
            );
            let head = format!("200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}", bytes.len());
            let upstream = Upstream::saying(&head, &bytes[..cut]).await;
            let error = error_of(&upstream, Decompression::Auto).await;
            assert_eq!(error.kind, FetchErrorKind::Broken, "{coding} cut at {cut}: {error}");
        }
    }
}

async fn error_of(upstream: &Upstream, decompress: Decompression) -> orchid_engine::FetchError {
    error(agent(LOOPBACK).fetch(with(decompress, &upstream.url)).await)
}

#[tokio::test]
async fn every_coding_is_undone_and_chains_from_their_end() {
    let agent = agent(LOOPBACK);
    let plain = text(300_000);
    let mut cases = Vec::new();
    for (encoding, coding) in CODINGS {
        cases.push((encoding.to_owned(), packed(coding, &plain).await));
    }
    let inner = packed("gzip", &plain).await;
    cases.push(("gzip, br".to_owned(), packed("br", &inner).await));
    cases.push(("gzip\r\ncontent-encoding: identity, zstd".to_owned(), packed("zstd", &inner).await));
    cases.push(("utf-8".to_owned(), plain.clone()));
    for (encoding, bytes) in cases {
        let upstream = Upstream::saying(&close(&encoding), &bytes).await;
        let response = whole(agent.fetch(with(Decompression::Auto, &upstream.url)).await);
        assert!(response.body == plain, "{encoding}: {} bytes", response.body.len());
        let told = response.headers.iter().any(|(name, _)| name == "content-encoding");
        assert_eq!(told, encoding == "utf-8", "{encoding}: what is undone is not told any more");
    }
}

#[tokio::test]
async fn gzip_of_several_members_and_zstd_of_several_frames_are_one_body() {
    let agent = agent(LOOPBACK);
    for coding in ["gzip", "zstd"] {
        let mut bytes = packed(coding, b"first ").await;
        bytes.extend(packed(coding, b"").await);
        bytes.extend(packed(coding, b"second").await);
        let upstream = Upstream::saying(&close(coding), &bytes).await;
        let response = whole(agent.fetch(with(Decompression::Auto, &upstream.url)).await);
        assert_eq!(&response.body[..], b"first second", "{coding}");
    }
}

#[tokio::test]
async fn an_empty_body_is_empty_under_any_coding_but_no_gzip_and_no_zip() {
    let agent = agent(LOOPBACK);
    for (encoding, _) in CODINGS {
        let upstream = Upstream::saying(&close(encoding), b"").await;
        let response = whole(agent.fetch(with(Decompression::Auto, &upstream.url)).await);
        assert!(response.body.is_empty());
    }
    for decompress in [Decompression::Gzip, Decompression::Zip] {
        let upstream = Upstream::saying("200 OK\r\ncontent-length: 0", b"").await;
        assert_eq!(error_of(&upstream, decompress).await.kind, FetchErrorKind::Decode);
        let upstream = Upstream::saying("204 No Content\r\ncontent-encoding: gzip", b"").await;
        assert!(agent.fetch(with(decompress, &upstream.url)).await.result.is_ok());
    }
}

#[tokio::test]
async fn a_coding_that_cannot_be_undone_is_named() {
    let upstream = Upstream::saying(&close("compress"), b"x").await;
    let error = error_of(&upstream, Decompression::Auto).await;
    assert_eq!(error.kind, FetchErrorKind::Decode);
    assert!(error.message.contains("\"compress\""), "{error}");
}

#[tokio::test]
async fn gzip_is_known_by_its_first_bytes_where_the_content_type_allows_it() {
    let agent = agent(LOOPBACK);
    let bytes = packed("gzip", b"a,b\n1,2\n").await;
    for (content_type, plain) in [
        ("text/csv", true),
        ("application/gzip", true),
        ("application/octet-stream", true),
        ("image/png", false),
    ] {
        let head = format!("200 OK\r\ncontent-type: {content_type}\r\nconnection: close");
        let upstream = Upstream::saying(&head, &bytes).await;
        let response = whole(agent.fetch(with(Decompression::Auto, &upstream.url)).await);
        assert_eq!(response.body[..] == b"a,b\n1,2\n"[..], plain, "{content_type}");
    }
}

#[tokio::test]
async fn a_body_that_begins_like_gzip_in_pieces_is_known_too() {
    let agent = agent(LOOPBACK);
    let bytes = packed("gzip", b"late").await;
    let mut chunked = Vec::new();
    for byte in &bytes {
        chunked.extend_from_slice(b"1\r\n");
        chunked.push(*byte);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let upstream = Upstream::saying("200 OK\r\ntransfer-encoding: chunked", &chunked).await;
    let response = whole(agent.fetch(with(Decompression::Auto, &upstream.url)).await);
    assert_eq!(&response.body[..], b"late");
}

#[tokio::test]
async fn a_plan_that_says_gzip_gets_gzip_or_an_error_that_says_what_came() {
    let agent = agent(LOOPBACK);
    let upstream = Upstream::saying("200 OK\r\ncontent-length: 2", b"{}").await;
    let error = error_of(&upstream, Decompression::Gzip).await;
    assert_eq!(error.kind, FetchErrorKind::Decode);
    assert_eq!(error.message, "the body is no gzip: it begins with the bytes 7b 7d");
    let packed = packed("gzip", b"{}").await;
    for head in ["200 OK\r\nconnection: close".to_owned(), close("gzip")] {
        let upstream = Upstream::saying(&head, &packed).await;
        let response = whole(agent.fetch(with(Decompression::Gzip, &upstream.url)).await);
        assert_eq!(&response.body[..], b"{}", "{head}");
    }
    let upstream = Upstream::saying("503 Busy\r\ncontent-length: 4", b"busy").await;
    let response = whole(agent.fetch(with(Decompression::Gzip, &upstream.url)).await);
    assert_eq!((response.status, &response.body[..]), (503, &b"busy"[..]), "an error answer is no data");
}

#[tokio::test]
async fn a_plan_that_says_none_gets_the_bytes_as_they_came() {
    let agent = agent(LOOPBACK);
    let bytes = packed("gzip", b"packed").await;
    let upstream = Upstream::saying(&close("gzip"), &bytes).await;
    let response = whole(agent.fetch(with(Decompression::None, &upstream.url)).await);
    assert!(response.body == bytes);
    assert!(response.headers.contains(&("content-encoding".to_owned(), "gzip".to_owned())));
    assert!(upstream.asked.lock().await[0].contains("accept-encoding: identity\r\n"));
}

#[tokio::test]
async fn codings_are_asked_for_unless_the_plan_does() {
    let agent = agent(LOOPBACK);
    let upstream = Upstream::saying("200 OK\r\ncontent-length: 0", b"").await;
    let mut own = with(Decompression::Auto, &upstream.url);
    agent.fetch(own.clone()).await.result.map(drop).unwrap();
    own.headers.push(("accept-encoding".to_owned(), "br;q=0.5".to_owned()));
    agent.fetch(own).await.result.map(drop).unwrap();
    let asked = upstream.asked.lock().await;
    assert!(asked[0].contains("accept-encoding: gzip, br, zstd, deflate\r\n"), "{}", asked[0]);
    assert!(asked[1].contains("accept-encoding: br;q=0.5\r\n") && !asked[1].contains("zstd"), "{}", asked[1]);
}

#[tokio::test]
async fn a_bomb_is_stopped_while_it_unpacks() {
    let agent = agent(LOOPBACK);
    let zeros = vec![0; 8 << 20];
    let layered = {
        let inner = packed("gzip", &zeros).await;
        packed("gzip", &inner).await
    };
    let mut cases = vec![("gzip, gzip".to_owned(), layered)];
    for (encoding, coding) in CODINGS {
        cases.push((encoding.to_owned(), packed(coding, &zeros).await));
    }
    for (encoding, bytes) in cases {
        let upstream = Upstream::saying(&close(&encoding), &bytes).await;
        let small = error_of(&upstream, Decompression::Auto).await;
        assert_eq!((small.kind, small.status), (FetchErrorKind::TooLarge, Some(200)), "{encoding}");
        let large = Request { max_body_bytes: 1 << 30, ..with(Decompression::Auto, &upstream.url) };
        let error = error(agent.fetch(large).await);
        assert_eq!(error.kind, FetchErrorKind::TooLarge, "{encoding}");
        assert!(error.message.contains("more than 200 times"), "{encoding}: {error}");
    }
}

#[tokio::test]
async fn what_packs_well_below_a_mebibyte_is_no_bomb() {
    let agent = agent(LOOPBACK);
    let zeros = vec![0; 1 << 20];
    let bytes = packed("gzip", &zeros).await;
    let upstream = Upstream::saying(&close("gzip"), &bytes).await;
    let response = whole(agent.fetch(with(Decompression::Auto, &upstream.url)).await);
    assert_eq!(response.body.len(), 1 << 20);
}

#[tokio::test]
async fn packed_bytes_count_against_the_limit_too() {
    let agent = agent(LOOPBACK);
    let noise: Vec<u8> = text(60_000)
        .chunks(3)
        .map(|three| three[0] ^ three[1].rotate_left(3) ^ three[2].rotate_left(5))
        .collect();
    let bytes = packed("gzip", &noise).await;
    assert!(bytes.len() > 10_000 && noise.len() == 20_000, "{}", bytes.len());
    let upstream = Upstream::saying(&close("gzip"), &bytes).await;
    let request =
        Request { max_body_bytes: bytes.len() as u64 - 1, ..with(Decompression::Auto, &upstream.url) };
    let error = error(agent.fetch(request).await);
    assert_eq!((error.kind, error.message.contains("while")), (FetchErrorKind::TooLarge, true), "{error}");
}
