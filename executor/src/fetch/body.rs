//! The body of an answer, whole or in pieces, decompressed and bounded.
//!
//! In: an answer whose head has come. Out: its bytes. Reading stops while the fence is shut, and times out once the upstream
//! let us wait for longer than the step allows; nothing is read before it is asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use orchid_engine::{FetchError, FetchErrorKind};
use tokio::time::Instant;

use crate::beat::Fence;
use crate::fetch::codings::{Recipe, Then};
use crate::fetch::fault::classify;
use crate::fetch::patience::Patience;
use crate::fetch::unpack::{Chunks, Gauge, gunzipped, is_gzip, unpacked};

/// Most bytes of one piece.
pub const PIECE_BYTES: usize = 256 << 10;
/// Most that is reserved on the word of a `Content-Length`. The system backs it only as far as it is filled, and a body that grows
/// into its room by doubling would be held three times.
const MAX_RESERVED_BYTES: u64 = 64 << 20;

/// A body that is still to be read. Dropping it gives up the answer.
pub struct Body {
    chunks: Chunks,
    /// Of a chunk that is larger than a piece.
    rest: Bytes,
    /// Length of the plain body, where the head says it.
    announced: Option<u64>,
    status: u16,
    patience: Patience,
    fence: Arc<Fence>,
    begun: Instant,
    has_ended: bool,
    /// What is read whole is only looked at for a gzip once it is there.
    may_be_gzip: Option<Gauge>,
}

/// What a body needs beside its answer.
pub(super) struct Rules {
    pub(super) recipe: Recipe,
    pub(super) max_bytes: u64,
    pub(super) patience: Patience,
    pub(super) fence: Arc<Fence>,
    pub(super) begun: Instant,
    /// It is read by [`Body::whole`].
    pub(super) whole: bool,
}

impl Body {
    /// An error where the head announces too much.
    pub(super) fn new(answer: reqwest::Response, rules: Rules) -> Result<Body, FetchError> {
        let Rules { recipe, max_bytes, patience, fence, begun, whole } = rules;
        let status = answer.status().as_u16();
        let gauge = Gauge::new(status, max_bytes);
        let length = answer.content_length();
        if let Some(length) = length.filter(|length| *length > max_bytes) {
            return Err(gauge.too_large(&format!("{length} bytes were announced")));
        }
        let announced = length.filter(|_| recipe.codings.is_empty());
        let counted = gauge.clone();
        let chunks = answer.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(|error| classify(error, Some(status))).map_err(io::Error::other)?;
            counted.came(chunk.len()).map_err(io::Error::other)?;
            Ok(chunk)
        });
        let plain = whole && recipe.codings.is_empty() && recipe.then == Then::GunzipWhereItBeginsSo;
        let may_be_gzip = plain.then(|| gauge.clone());
        let chunks = if plain { chunks.boxed() } else { unpacked(chunks.boxed(), recipe, gauge) };
        let rest = Bytes::new();
        Ok(Body { chunks, rest, announced, status, patience, fence, begun, has_ended: false, may_be_gzip })
    }

    /// The next piece, of 1 to [`PIECE_BYTES`] bytes; none at the end, and after an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        if self.rest.is_empty() {
            match self.chunk().await? {
                Some(chunk) => self.rest = chunk,
                None => return Ok(None),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Ok(Some(self.rest.split_to(length)))
    }

    /// Since the request was begun.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// All of it.
    pub(super) async fn whole(mut self) -> Result<Bytes, FetchError> {
        let bytes = self.all().await?;
        match self.may_be_gzip.take() {
            Some(gauge) if is_gzip(&bytes) => {
                self.chunks = gunzipped(bytes, gauge);
                (self.announced, self.has_ended) = (None, false);
                self.all().await
            }
            Some(_) | None => Ok(bytes),
        }
    }

    async fn all(&mut self) -> Result<Bytes, FetchError> {
        let mut first: Option<Bytes> = None;
        let mut rest: Option<BytesMut> = None;
        while let Some(chunk) = self.chunk().await? {
            match (&mut rest, &first) {
                (Some(buffer), _) => buffer.extend_from_slice(&chunk),
                (None, None) => first = Some(chunk),
                (None, Some(begin)) => {
                    let total = (begin.len() + chunk.len()) as u64;
                    let known = self.announced.unwrap_or(0).clamp(total, MAX_RESERVED_BYTES.max(total));
                    let mut buffer = BytesMut::with_capacity(usize::try_from(known).unwrap_or(0));
                    buffer.extend_from_slice(begin);
                    buffer.extend_from_slice(&chunk);
                    rest = Some(buffer);
                }
            }
        }
        Ok(rest.map(BytesMut::freeze).or(first).unwrap_or_default())
    }

    /// The next chunk that is not empty.
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        if self.has_ended {
            return Ok(None);
        }
        self.fence.opened().await;
        let (chunks, status) = (&mut self.chunks, self.status);
        let next = async {
            while let Some(chunk) = chunks.try_next().await.map_err(|error| of_io(error, status))? {
                if !chunk.is_empty() {
                    return Ok(Some(chunk));
                }
            }
            Ok(None)
        };
        let result = self.patience.wait(Some(status), next).await;
        self.has_ended = !matches!(result, Ok(Some(_)));
        result
    }
}

/// Every error of a body is one of ours inside.
fn of_io(error: io::Error, status: u16) -> FetchError {
    error.downcast::<FetchError>().unwrap_or_else(|error| FetchError {
        kind: FetchErrorKind::Broken,
        message: format!("the connection broke: {error}"),
        status: Some(status),
    })
}
