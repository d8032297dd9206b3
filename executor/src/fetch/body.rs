//! Reading a body, bounded.
//!
//! In: an answer whose head has come. Out: its bytes, decompressed, or `TooLarge` as soon as there is one byte too many:
//! a bomb is stopped while it unpacks.

use bytes::{Bytes, BytesMut};
use orchid_engine::{FetchError, FetchErrorKind};

use crate::fetch::fault::classify;

/// Most that is reserved on the word of a `Content-Length`.
const MAX_RESERVED_BYTES: u64 = 8 << 20;

pub(crate) async fn read(mut answer: reqwest::Response, max_bytes: u64) -> Result<Bytes, FetchError> {
    let status = answer.status().as_u16();
    // Unknown where the body is compressed: then the bytes are counted as they come.
    let announced = answer.content_length();
    if let Some(length) = announced.filter(|length| *length > max_bytes) {
        return Err(too_large(status, max_bytes, &format!("{length} bytes were announced")));
    }
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    let mut total: u64 = 0;
    while let Some(chunk) = answer.chunk().await.map_err(|error| classify(error, Some(status)))? {
        total += chunk.len() as u64;
        if total > max_bytes {
            return Err(too_large(status, max_bytes, "stopped while reading"));
        }
        match (&mut rest, &first) {
            (Some(buffer), _) => buffer.extend_from_slice(&chunk),
            (None, None) => first = Some(chunk),
            (None, Some(begin)) => {
                let known = announced.unwrap_or(0).clamp(total, MAX_RESERVED_BYTES.max(total));
                let mut buffer = BytesMut::with_capacity(usize::try_from(known).unwrap_or(0));
                buffer.extend_from_slice(begin);
                buffer.extend_from_slice(&chunk);
                rest = Some(buffer);
            }
        }
    }
    Ok(rest.map(BytesMut::freeze).or(first).unwrap_or_default())
}

fn too_large(status: u16, max_bytes: u64, how: &str) -> FetchError {
    FetchError {
        kind: FetchErrorKind::TooLarge,
        message: format!("the body is larger than {max_bytes} bytes: {how}"),
        status: Some(status),
    }
}
