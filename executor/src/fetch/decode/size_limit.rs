//! Size limits of a body, before and after decoding.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use orchid_engine::{FetchError, FetchErrorKind};
use tokio::io::{AsyncRead, ReadBuf};

/// Decoded size from which on [`MAX_RATIO`] applies. Smaller bodies are harmless at any ratio.
const RATIO_FREE_BYTES: u64 = 1 << 20;
/// Most decoded bytes per received byte. Ordinary text compresses 3 to 20 times, columns of equal
/// values up to 100 times. A bomb of zeros reaches 1000 times with gzip, and far more with the
/// others.
const MAX_RATIO: u64 = 200;

/// Counts received and decoded bytes, and fails when there are too many. Clones share both counts.
#[derive(Clone)]
pub(crate) struct SizeLimit {
    status: u16,
    max_bytes: u64,
    received: Arc<AtomicU64>,
    /// Bytes decoded by all decoders that are [`LimitedDecoder::within`] this limit.
    decoded: Arc<AtomicU64>,
}

impl SizeLimit {
    pub(crate) fn new(status: u16, max_bytes: u64) -> Self {
        Self { status, max_bytes, received: Arc::default(), decoded: Arc::default() }
    }

    /// Returns the same limit with a total of decoded bytes of its own, for another coding of the
    /// same bytes.
    pub(crate) fn with_own_total(&self) -> Self {
        Self { decoded: Arc::default(), ..self.clone() }
    }

    /// Adds received bytes.
    pub(crate) fn add_received(&self, bytes: usize) -> Result<(), FetchError> {
        let total = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if total > self.max_bytes { Err(self.too_large("stopped while reading")) } else { Ok(()) }
    }

    /// Checks the total of decoded bytes.
    fn check_decoded(&self, total: u64) -> Result<(), FetchError> {
        if total > self.max_bytes {
            return Err(self.too_large("stopped while decompressing"));
        }
        let received = self.received.load(Ordering::Relaxed);
        // Counts what arrived so far, not what the decoder consumed. The buffers between them are
        // small.
        if total > RATIO_FREE_BYTES && total > received.saturating_mul(MAX_RATIO) {
            let message =
                format!("the body decompresses to more than {MAX_RATIO} times its {received} bytes");
            return Err(FetchError {
                kind: FetchErrorKind::TooLarge,
                message,
                status: Some(self.status),
                received: None,
            });
        }
        Ok(())
    }

    /// Creates the error of a body that is too large.
    pub(crate) fn too_large(&self, detail: &str) -> FetchError {
        let message = format!("the body is larger than {} bytes: {detail}", self.max_bytes);
        FetchError { kind: FetchErrorKind::TooLarge, message, status: Some(self.status), received: None }
    }

    /// Creates the error of a body that does not decode.
    pub(crate) fn undecodable(&self, message: String) -> io::Error {
        io::Error::other(FetchError {
            kind: FetchErrorKind::Decode,
            message,
            status: Some(self.status),
            received: None,
        })
    }
}

/// A decoder whose output is bounded by a [`SizeLimit`], and whose own errors become decode errors.
pub(crate) struct LimitedDecoder<R> {
    decoder: R,
    coding: &'static str,
    limit: SizeLimit,
}

impl<R> LimitedDecoder<R> {
    /// Creates a decoder whose output alone is limited.
    pub(crate) fn new(decoder: R, coding: &'static str, limit: &SizeLimit) -> Self {
        Self::within(decoder, coding, limit.with_own_total())
    }

    /// Creates a decoder that shares the limit with others, such as those of an archive's files.
    pub(crate) fn within(decoder: R, coding: &'static str, limit: SizeLimit) -> Self {
        Self { decoder, coding, limit }
    }

    fn decode_error(&self, error: &io::Error) -> io::Error {
        let coding = self.coding;
        self.limit.undecodable(if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("the body does not decompress: its {coding} data is truncated")
        } else {
            format!("the body does not decompress: {coding}: {error}")
        })
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for LimitedDecoder<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(&mut this.decoder).poll_read(cx, buf)) {
            // An error of the source, such as a broken connection, is no fault of the encoding.
            let is_source_error = error.get_ref().is_some_and(|inner| inner.is::<FetchError>());
            return Poll::Ready(Err(if is_source_error { error } else { this.decode_error(&error) }));
        }
        let read = (buf.filled().len() - before) as u64;
        let decoded = this.limit.decoded.fetch_add(read, Ordering::Relaxed) + read;
        Poll::Ready(this.limit.check_decoded(decoded).map_err(io::Error::other))
    }
}
