//! Zip archives, of one file and of several.

use std::io::{Cursor, Write as _};

use orchid_engine::{BodyStreaming, FetchErrorKind, Request};
use orchid_plan::Decompression;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::upstream::{
    LOOPBACK, Upstream, agent, compressed, error, request, streamed_response, text, whole_response,
};

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
        "the zip archive contains more than one file: \"a/one.csv\", \"two.csv\"; response.files selects files by a \
         pattern such as \"*.csv\""
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
async fn file_of_any_name_is_read() {
    for name in ["résumé.gz", "報告.gz", "日本語", "Größe", "é", "a"] {
        let bytes = archive(&[(name, b"id\n1\n")], options(CompressionMethod::Deflated));
        let upstream = Upstream::responding(HEAD, &bytes).await;
        let response = whole_response(agent(LOOPBACK).fetch(unzip(&upstream.url)).await);
        assert_eq!(response.body, "id\n1\n", "{name}");
    }
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
        read.extend_from_slice(&piece.bytes);
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

fn select(url: &str, pattern: &str) -> Request {
    Request { archive_files: orchid_plan::FilePattern::new(pattern), ..unzip(url) }
}

async fn fetched(archive: &[u8], pattern: &str) -> (Vec<(String, usize)>, Vec<u8>) {
    let upstream = Upstream::responding(HEAD, archive).await;
    let response = whole_response(agent(LOOPBACK).fetch(select(&upstream.url, pattern)).await);
    let files = response.files.into_iter().map(|file| (file.name, file.bytes)).collect();
    (files, response.body.to_vec())
}

fn named(files: &[(&str, usize)]) -> Vec<(String, usize)> {
    files.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect()
}

#[tokio::test]
async fn matching_files_are_read_in_order() {
    for method in [CompressionMethod::Deflated, CompressionMethod::Stored] {
        let archive = archive(
            &[
                ("a.csv", b"id\n1\n"),
                ("read.me", b"x"),
                ("empty.csv", b""),
                ("__MACOSX/._a.csv", b"x"),
                ("sub/", b""),
                ("sub/._b.csv", b"x"),
                ("sub/B.CSV", b"id\n2"),
            ],
            options(method),
        );
        let (files, body) = fetched(&archive, "*.csv").await;
        assert_eq!(files, named(&[("a.csv", 5), ("empty.csv", 0), ("sub/B.CSV", 4)]));
        assert_eq!(body, b"id\n1\nid\n2");
        let upstream = Upstream::responding(HEAD, &archive).await;
        let request =
            Request { archive_files: orchid_plan::FilePattern::new("*.pdf"), ..unzip(&upstream.url) };
        let error = error(agent(LOOPBACK).fetch(request).await);
        assert_eq!(
            error.message,
            "no file in the zip archive matches response.files \"*.pdf\": it contains \"a.csv\", \"read.me\", \
             \"empty.csv\", \"sub/B.CSV\""
        );
    }
}

#[tokio::test]
async fn streamed_archive_tells_where_its_files_begin() {
    let plain = text(600_000);
    let archive = archive(
        &[("none.csv", b""), ("a.csv", &plain), ("b.txt", b"x"), ("b.csv", b"id"), ("end.csv", b"")],
        options(CompressionMethod::Deflated),
    );
    let upstream = Upstream::responding(HEAD, &archive).await;
    let request = Request { streaming: BodyStreaming::Always, ..select(&upstream.url, "*.csv") };
    let (head, mut body) = streamed_response(agent(LOOPBACK).fetch(request).await);
    assert!(head.files.is_empty());
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(piece) = body.next().await.unwrap() {
        files.extend(piece.file.map(|name| (name, Vec::new())));
        files.last_mut().unwrap().1.extend_from_slice(&piece.bytes);
    }
    let expected: [(&str, &[u8]); 4] =
        [("none.csv", b""), ("a.csv", &plain), ("b.csv", b"id"), ("end.csv", b"")];
    assert!(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).eq(expected));
}

#[tokio::test]
async fn leftovers_of_desktop_systems_do_not_count() {
    let files: [(&str, &[u8]); 3] = [("a.csv", b"id\n1\n"), ("__MACOSX/._a.csv", b"x"), ("._b", b"y")];
    let deflated = archive(&files, options(CompressionMethod::Deflated));
    let upstream = Upstream::responding(HEAD, &deflated).await;
    let response = whole_response(agent(LOOPBACK).fetch(unzip(&upstream.url)).await);
    assert_eq!(&response.body[..], b"id\n1\n");
}

#[tokio::test]
async fn archives_and_gzip_inside_an_archive_are_unpacked() {
    let deflated = options(CompressionMethod::Deflated);
    let zipped = compressed("gzip", b"id\n1\n").await;
    let inner = archive(&[("in.csv", b"id\n2\n"), ("in.txt", b"x")], deflated);
    let alone = archive(&[("in.csv", b"id\n2\n")], deflated);
    for method in [CompressionMethod::Deflated, CompressionMethod::Stored] {
        let outer = archive(&[("a.csv.gz", &zipped), ("b.zip", &inner)], options(method));
        let (files, body) = fetched(&outer, "*.csv").await;
        assert_eq!(files, named(&[("a.csv.gz", 5), ("b.zip/in.csv", 5)]));
        assert_eq!(body, b"id\n1\nid\n2\n");
        // Without a pattern, the only file may be in an archive, or be gzip.
        for (name, content, expected) in [
            ("b.zip", &alone, &b"id\n2\n"[..]),
            ("a.csv.gz", &zipped, b"id\n1\n"),
            ("no.zip", &b"id".to_vec(), b"id"),
        ] {
            let upstream = Upstream::responding(HEAD, &archive(&[(name, content)], options(method))).await;
            let response = whole_response(agent(LOOPBACK).fetch(unzip(&upstream.url)).await);
            assert_eq!(&response.body[..], expected, "{name}");
        }
    }
    // An archive of another name is a file of its own, such as a spreadsheet.
    let sheet = archive(&[("a.xlsx", &alone)], deflated);
    let (files, body) = fetched(&sheet, "*.xlsx").await;
    assert_eq!((files.len(), &body[..4]), (1, &b"PK\x03\x04"[..]));
}

#[tokio::test]
async fn archives_inside_each_other_are_limited() {
    let mut nested = archive(&[("in.csv", b"x")], options(CompressionMethod::Stored));
    for _ in 0..2 {
        nested = archive(&[("in.zip", &nested)], options(CompressionMethod::Stored));
    }
    assert_eq!(fetched(&nested, "*.csv").await.0, named(&[("in.zip/in.zip/in.csv", 1)]));
    let nested = archive(&[("in.zip", &nested)], options(CompressionMethod::Stored));
    assert_eq!(refused(&nested).await, "the zip archive has more than 3 archives inside each other");
}

#[tokio::test]
async fn bomb_of_many_files_is_stopped() {
    // Each file is below the limits; together they pass the size limit.
    let zeros = text(1 << 20);
    let names: Vec<String> = (0..12).map(|number| format!("{number}.csv")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &zeros[..])).collect();
    let bomb = archive(&many, options(CompressionMethod::Deflated));
    let gzipped = compressed("gzip", &vec![0; 900 << 10]).await;
    let small: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &gzipped[..])).collect();
    let gzip_bomb = archive(&small, options(CompressionMethod::Deflated));
    for bomb in [bomb, gzip_bomb] {
        let upstream = Upstream::responding(HEAD, &bomb).await;
        let error = error(agent(LOOPBACK).fetch(select(&upstream.url, "*.csv")).await);
        assert_eq!(error.kind, FetchErrorKind::TooLarge, "{error}");
    }
}

#[tokio::test]
async fn altered_or_truncated_second_file_is_refused() {
    let plain = text(50_000);
    let deflated = options(CompressionMethod::Deflated);
    let whole = archive(&[("a.csv", b"id\n"), ("b.csv", &plain)], deflated);
    for cut in [60, 2000] {
        let upstream = Upstream::responding(HEAD, &whole[..cut]).await;
        let error = error(agent(LOOPBACK).fetch(select(&upstream.url, "*.csv")).await);
        assert_eq!(error.kind, FetchErrorKind::Decode, "{error}");
    }
    // Files that are skipped are checked for their length only.
    let upstream = Upstream::responding(HEAD, &whole[..2000]).await;
    let error = error(agent(LOOPBACK).fetch(select(&upstream.url, "a.csv")).await);
    assert_eq!(error.message, "the zip archive is truncated");
}
