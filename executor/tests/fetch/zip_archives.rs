//! Zip archives with one file.

use std::io::{Cursor, Write as _};

use orchid_engine::{BodyStreaming, FetchErrorKind, Request};
use orchid_plan::Decompression;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::upstream::{LOOPBACK, Upstream, agent, error, request, streamed_response, text, whole_response};

const HEAD: &str = "200 OK\r\ncontent-type: application/zip\r\nconnection: close";

fn options(method: CompressionMethod) -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(method)
}

fn archive(files: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// Creates an archive like a writer that cannot seek: with lengths and checksum behind the data.
fn streamed(content: &[u8], options: SimpleFileOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ZipWriter::new_stream(&mut bytes);
    writer.start_file("report.csv", options).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap();
    bytes
}

fn unzip(url: &str) -> Request {
    Request {
        max_body_bytes: 8 << 20,
        max_stream_bytes: 8 << 20,
        decompress: Decompression::Zip,
        ..request(url, &[])
    }
}

async fn refused(bytes: &[u8]) -> String {
    let upstream = Upstream::responding(HEAD, bytes).await;
    let error = error(agent(LOOPBACK).fetch(unzip(&upstream.url)).await);
    assert_eq!((error.kind, error.status), (FetchErrorKind::Decode, Some(200)), "{error}");
    error.message
}

#[tokio::test]
async fn archive_without_exactly_one_file_is_refused() {
    let deflated = options(CompressionMethod::Deflated);
    let two = archive(&[("a/", b""), ("a/one.csv", b"1"), ("two.csv", b"2"), ("three.csv", b"3")], deflated);
    assert_eq!(
        refused(&two).await,
        "the zip archive contains more than one file: \"a/one.csv\", \"two.csv\""
    );
    assert_eq!(refused(&archive(&[], deflated)).await, "the zip archive contains no file");
    assert_eq!(refused(&archive(&[("a/", b"")], deflated)).await, "the zip archive contains no file");
    assert!(
        refused(b"{\"error\": 1}")
            .await
            .starts_with("the body is not a zip archive: it begins with the bytes 7b 22")
    );
}

#[tokio::test]
async fn truncated_or_altered_archive_is_refused() {
    let plain = text(50_000);
    for method in [CompressionMethod::Deflated, CompressionMethod::Stored] {
        let whole = archive(&[("report.csv", &plain)], options(method));
        for cut in [0, 3, 20, 35, 1000] {
            refused(&whole[..cut]).await;
        }
        let mut altered = whole.clone();
        altered[14] ^= 1;
        assert_eq!(refused(&altered).await, "\"report.csv\" in the zip archive does not match its checksum");
        let mut encrypted = whole.clone();
        encrypted[6] |= 1;
        assert_eq!(refused(&encrypted).await, "\"report.csv\" in the zip archive is encrypted");
        let mut unknown = whole;
        unknown[8] = 12;
        assert!(refused(&unknown).await.contains("compression method 12"));
    }
    let streamed = streamed(&plain, options(CompressionMethod::Deflated));
    refused(&streamed[..streamed.len() - 110]).await;
}

#[tokio::test]
async fn decompression_bomb_in_an_archive_is_stopped() {
    let agent = agent(LOOPBACK);
    let bomb = archive(&[("zeros", &vec![0; 9 << 20])], options(CompressionMethod::Deflated));
    let upstream = Upstream::responding(HEAD, &bomb).await;
    let error = error(agent.fetch(unzip(&upstream.url)).await);
    assert_eq!(error.kind, FetchErrorKind::TooLarge);
    assert!(error.message.contains("200 times"), "{error}");
}

#[tokio::test]
async fn file_is_read_from_every_kind_of_archive() {
    let agent = agent(LOOPBACK);
    let plain = text(300_000);
    let (deflated, stored) = (options(CompressionMethod::Deflated), options(CompressionMethod::Stored));
    let cases = [
        ("deflated", archive(&[("report.csv", &plain)], deflated)),
        ("stored", archive(&[("report.csv", &plain)], stored)),
        ("with 8-byte lengths", archive(&[("report.csv", &plain)], deflated.large_file(true))),
        ("in folders", archive(&[("a/", b""), ("a/b/", b""), ("a/b/report.csv", &plain)], deflated)),
        ("streamed", streamed(&plain, deflated)),
        ("streamed with 8-byte lengths", streamed(&plain, deflated.large_file(true))),
    ];
    for (how, bytes) in cases {
        let upstream = Upstream::responding(HEAD, &bytes).await;
        let response = whole_response(agent.fetch(unzip(&upstream.url)).await);
        assert!(response.body == plain, "{how}: {} bytes", response.body.len());
    }
    for (content, how) in [(&b""[..], "empty"), (b"x", "tiny")] {
        for bytes in [
            archive(&[("f", content)], deflated),
            archive(&[("f", content)], stored),
            streamed(content, deflated),
        ] {
            let upstream = Upstream::responding(HEAD, &bytes).await;
            assert_eq!(whole_response(agent.fetch(unzip(&upstream.url)).await).body, content, "{how}");
        }
    }
}

#[tokio::test]
async fn archive_can_be_streamed() {
    let agent = agent(LOOPBACK);
    let plain = text(2 << 20);
    let upstream =
        Upstream::responding(HEAD, &archive(&[("report.csv", &plain)], options(CompressionMethod::Deflated)))
            .await;
    let request = Request { streaming: BodyStreaming::Always, ..unzip(&upstream.url) };
    let (_, mut body) = streamed_response(agent.fetch(request).await);
    let mut read = Vec::new();
    while let Some(piece) = body.next().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert!(read == plain);
}

#[tokio::test]
async fn error_response_is_not_read_as_an_archive() {
    let agent = agent(LOOPBACK);
    let upstream = Upstream::responding("404 Not Found\r\ncontent-length: 2", b"{}").await;
    let response = whole_response(agent.fetch(unzip(&upstream.url)).await);
    assert_eq!((response.status, &response.body[..]), (404, &b"{}"[..]));
}
