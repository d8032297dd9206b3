//! Streams of body chunks.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};

/// The chunks of a body. Errors are a [`FetchError`](orchid_engine::FetchError) inside an I/O
/// error, so that they pass unchanged through decoders, which know only I/O errors.
pub(crate) type ByteChunks = BoxStream<'static, io::Result<Bytes>>;

/// Start of a gzip file: the magic number, and deflate, the only method (RFC 1952, 2.3.1).
pub(crate) const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Returns whether bytes start like a gzip file.
pub(crate) fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&GZIP_MAGIC)
}

/// Returns the first `count` bytes, or fewer if the body ends earlier, and the chunks including
/// these bytes.
pub(crate) async fn peek(mut chunks: ByteChunks, count: usize) -> io::Result<(Vec<u8>, ByteChunks)> {
    let mut seen: Vec<io::Result<Bytes>> = Vec::new();
    let mut start = BytesMut::with_capacity(count);
    while start.len() < count {
        match chunks.try_next().await? {
            Some(chunk) => {
                start.extend_from_slice(&chunk[..chunk.len().min(count - start.len())]);
                seen.push(Ok(chunk));
            }
            None => break,
        }
    }
    Ok((start.to_vec(), stream::iter(seen).chain(chunks).boxed()))
}

/// Describes the start of a body for an error message: "is empty" or "begins with the bytes …".
pub(crate) fn describe_start(start: &[u8]) -> String {
    if start.is_empty() {
        return "is empty".to_owned();
    }
    let bytes: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("begins with the bytes {}", bytes.join(" "))
}
