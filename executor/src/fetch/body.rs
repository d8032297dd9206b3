//! Reads a response body, decoded and bounded, whole or in pieces.
//!
//! Nothing is read before it is asked for. Reading stops while the fence is closed, and fails once
//! the waits for the upstream add up to more than the step's timeout.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use orchid_engine::{ArchiveFile, BodyPiece, FetchError, FetchErrorKind};
use tokio::time::Instant;

use crate::fetch::client_error::classify;
use crate::fetch::decode::archive_files::ArchiveFiles;
use crate::fetch::decode::chunks::{ByteChunks, is_gzip};
use crate::fetch::decode::content_encoding::{BodyDecoding, FileFormat};
use crate::fetch::decode::size_limit::SizeLimit;
use crate::fetch::decode::stream::{decode, gunzip_whole};
use crate::fetch::timeout_budget::TimeoutBudget;
use crate::lease::SelfFence;
use crate::memory::{MemoryAccount, MemoryCharge};

/// Most bytes of one piece.
pub const PIECE_BYTES: usize = 256 << 10;
/// Most bytes to reserve for a body because of its `Content-Length`. The kernel backs the memory
/// only as far as it is filled, while a buffer that grows by doubling needs up to three times the
/// body.
const MAX_RESERVED_BYTES: u64 = 64 << 20;

/// A body that is still to be read. Dropping it cancels the response.
pub struct BodyReader {
    chunks: ByteChunks,
    /// The rest of a chunk that is larger than a piece.
    rest: Bytes,
    /// The files of an archive, and the number of their bytes that were read.
    files: Option<ArchiveFiles>,
    read_bytes: u64,
    /// Length of the decoded body, if the response's head declares it.
    declared_bytes: Option<u64>,
    status: u16,
    budget: TimeoutBudget,
    fence: Arc<SelfFence>,
    started_at: Instant,
    memory: MemoryAccount,
    /// Charge for the chunks that this reader holds.
    held: MemoryCharge,
    /// Charge of the fetch, until its body has been read.
    _admitted: MemoryCharge,
    has_ended: bool,
    /// Set if a body that is read whole may be gzip without a content encoding. It is cheaper to
    /// look at the whole body than to put a decoder into the stream.
    detect_gzip: Option<SizeLimit>,
}

/// Rules for reading the body of a response.
pub(super) struct BodyRules {
    pub(super) decoding: BodyDecoding,
    /// The files of the archive, if the body is one.
    pub(super) files: Option<ArchiveFiles>,
    pub(super) max_bytes: u64,
    pub(super) budget: TimeoutBudget,
    pub(super) fence: Arc<SelfFence>,
    pub(super) started_at: Instant,
    pub(super) memory: MemoryAccount,
    /// Charge of the fetch.
    pub(super) admitted: MemoryCharge,
    /// The body will be read by [`BodyReader::read_all`].
    pub(super) read_whole: bool,
}

impl BodyReader {
    /// Creates a reader. Fails if the response declares a body that is too large.
    pub(super) fn new(response: reqwest::Response, rules: BodyRules) -> Result<Self, FetchError> {
        let BodyRules { decoding, files, max_bytes, budget, fence, started_at, memory, admitted, read_whole } =
            rules;
        let status = response.status().as_u16();
        let limit = SizeLimit::new(status, max_bytes);
        let length = response.content_length();
        if let Some(length) = length.filter(|length| *length > max_bytes) {
            return Err(limit.too_large(&format!("its content-length is {length}")));
        }
        // The length of an encoded body says nothing about the decoded one.
        let declared_bytes = length.filter(|_| decoding.codings.is_empty());
        let received = limit.clone();
        let chunks = response.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(|error| classify(error, Some(status))).map_err(io::Error::other)?;
            received.add_received(chunk.len()).map_err(io::Error::other)?;
            Ok(chunk)
        });
        let is_plain =
            read_whole && decoding.codings.is_empty() && matches!(decoding.format, FileFormat::DetectGzip);
        let detect_gzip = is_plain.then(|| limit.clone());
        let chunks = if is_plain { chunks.boxed() } else { decode(chunks.boxed(), decoding, limit) };
        Ok(Self {
            chunks,
            rest: Bytes::new(),
            files,
            read_bytes: 0,
            declared_bytes,
            status,
            budget,
            fence,
            started_at,
            held: memory.charge(0),
            memory,
            _admitted: admitted,
            has_ended: false,
            detect_gzip,
        })
    }

    /// Reads the next piece, of 1 to [`PIECE_BYTES`] bytes, or an empty one for an empty file of an
    /// archive. Returns `None` at the end, and after an error.
    ///
    /// # Errors
    ///
    /// Fails when the connection breaks, the body does not decode or is too large, or the timeout
    /// has passed.
    pub async fn next(&mut self) -> Result<Option<BodyPiece>, FetchError> {
        if self.rest.is_empty() {
            self.rest = self.next_chunk().await?.unwrap_or_default();
        }
        // A chunk holds bytes of one file only, so files begin where chunks do.
        let file = self.begun_file();
        let is_empty_file = file.is_some() && self.starts_file();
        if self.rest.is_empty() && file.is_none() {
            return Ok(None);
        }
        let length = if is_empty_file { 0 } else { self.rest.len().min(PIECE_BYTES) };
        self.read_bytes += length as u64;
        let bytes = self.held.split(length as u64).attach(self.rest.split_to(length));
        Ok(Some(BodyPiece { bytes, file }))
    }

    /// Takes the name of the file that begins at the next byte.
    fn begun_file(&self) -> Option<String> {
        self.files.as_ref()?.take(self.read_bytes)
    }

    /// Returns whether another file begins at the next byte.
    fn starts_file(&self) -> bool {
        self.files.as_ref().and_then(ArchiveFiles::next_start) == Some(self.read_bytes)
    }

    /// Returns the time since the request was started.
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Reads the whole body. Returns it with the files that it consists of, if it is an archive. If
    /// that fails, the part before the failure is returned too.
    pub(super) async fn read_all(mut self) -> (Bytes, Vec<ArchiveFile>, Result<(), FetchError>) {
        let (mut bytes, mut result) = self.collect_chunks().await;
        if let Some(limit) = self.detect_gzip.take()
            && is_gzip(&bytes)
        {
            self.chunks = gunzip_whole(bytes, limit);
            (self.declared_bytes, self.has_ended) = (None, false);
            let (decoded, decoding) = self.collect_chunks().await;
            // A body that broke off does not decode to its end either: the first error counts.
            (bytes, result) = (decoded, result.and(decoding));
        }
        let files = self.files.as_ref().map(|files| files.take_all(bytes.len())).unwrap_or_default();
        let length = bytes.len() as u64;
        (self.held.split(length).attach(bytes), files, result)
    }

    /// Collects all chunks, up to the first error. A body of a single chunk, the usual case, is not
    /// copied.
    async fn collect_chunks(&mut self) -> (Bytes, Result<(), FetchError>) {
        let mut first: Option<Bytes> = None;
        let mut buffer: Option<BytesMut> = None;
        let result = loop {
            let chunk = match self.next_chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            match (&mut buffer, &first) {
                (Some(buffer), _) => buffer.extend_from_slice(&chunk),
                (None, None) => first = Some(chunk),
                (None, Some(start)) => {
                    let total = (start.len() + chunk.len()) as u64;
                    let declared = self.declared_bytes.unwrap_or(0);
                    let capacity = declared.clamp(total, MAX_RESERVED_BYTES.max(total));
                    let mut joined = BytesMut::with_capacity(usize::try_from(capacity).unwrap_or(0));
                    joined.extend_from_slice(start);
                    joined.extend_from_slice(&chunk);
                    buffer = Some(joined);
                }
            }
        };
        (buffer.map(BytesMut::freeze).or(first).unwrap_or_default(), result)
    }

    /// Reads the next chunk that is not empty.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        if self.has_ended {
            return Ok(None);
        }
        // Outside the budget: neither a closed fence nor too little memory is the upstream's delay.
        let _admitted = self.memory.admit_read().await;
        self.fence.wait_open().await;
        let (chunks, status) = (&mut self.chunks, self.status);
        let next = async {
            while let Some(chunk) = chunks.try_next().await.map_err(|error| fetch_error(error, status))? {
                if !chunk.is_empty() {
                    return Ok(Some(chunk));
                }
            }
            Ok(None)
        };
        let result = self.budget.wait(Some(status), next).await;
        // An error ends the body, too: polling a failed stream again is not allowed.
        self.has_ended = !matches!(result, Ok(Some(_)));
        if let Ok(Some(chunk)) = &result {
            self.held.set(self.held.bytes() + chunk.len() as u64);
        }
        result
    }
}

/// Unwraps the [`FetchError`] that travels inside the I/O error of a chunk stream.
fn fetch_error(error: io::Error, status: u16) -> FetchError {
    error.downcast::<FetchError>().unwrap_or_else(|error| FetchError {
        kind: FetchErrorKind::Broken,
        message: format!("connection broke: {error}"),
        status: Some(status),
        received: None,
    })
}
