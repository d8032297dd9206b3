//! Bodies on their way from packed to plain, chunk by chunk.
//!
//! In: the chunks of a body as they come, and the recipe. Out: its plain chunks. Nothing is held but a window of each
//! coding; what grows beyond its bounds is stopped while it unpacks, and what ends too early is an error, never short.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use orchid_engine::{FetchError, FetchErrorKind};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::fetch::codings::{Coding, Recipe, Then};
use crate::fetch::unzip::unzip;

/// A body. An error is a [`FetchError`] inside an I/O error, so that it passes through readers as it is.
pub(super) type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// Room for one plain chunk.
const CHUNK_BYTES: usize = 64 << 10;
/// From here on a body must not have unpacked to more than so many times what came. Text as people write it packs 3 to 20
/// times, columns of equal values up to 100 times; a bomb of zeros 1000 times by gzip, and far more by the others.
const FREE_BYTES: u64 = 1 << 20;
const MAX_RATIO: u64 = 200;
/// RFC 9659: a content coding's window is at most 8 MiB, which bounds what a frame can make us hold.
const ZSTD_WINDOW_LOG: u32 = 23;
/// How a gzip begins: its magic, and the only method there is (RFC 1952, 2.3.1).
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Counts what came and what it became, and says when it is too much.
#[derive(Clone)]
pub(super) struct Gauge {
    status: u16,
    max_bytes: u64,
    came: Arc<AtomicU64>,
}

impl Gauge {
    pub(super) fn new(status: u16, max_bytes: u64) -> Gauge {
        Gauge { status, max_bytes, came: Arc::new(AtomicU64::new(0)) }
    }

    /// So many bytes more came.
    pub(super) fn came(&self, bytes: usize) -> Result<(), FetchError> {
        let total = self.came.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if total > self.max_bytes { Err(self.too_large("stopped while reading")) } else { Ok(()) }
    }

    /// They have become so many in all.
    fn made(&self, total: u64) -> Result<(), FetchError> {
        if total > self.max_bytes {
            return Err(self.too_large("stopped while unpacking"));
        }
        let came = self.came.load(Ordering::Relaxed);
        if total > FREE_BYTES && total > came.saturating_mul(MAX_RATIO) {
            let message = format!("the body unpacks to more than {MAX_RATIO} times what came: {came} bytes");
            return Err(FetchError { kind: FetchErrorKind::TooLarge, message, status: Some(self.status) });
        }
        Ok(())
    }

    pub(super) fn too_large(&self, how: &str) -> FetchError {
        let message = format!("the body is larger than {} bytes: {how}", self.max_bytes);
        FetchError { kind: FetchErrorKind::TooLarge, message, status: Some(self.status) }
    }

    pub(super) fn undecodable(&self, message: String) -> io::Error {
        io::Error::other(FetchError { kind: FetchErrorKind::Decode, message, status: Some(self.status) })
    }
}

/// The plain chunks of a body.
pub(super) fn unpacked(chunks: Chunks, recipe: Recipe, gauge: Gauge) -> Chunks {
    if recipe == Recipe::NOTHING {
        return chunks;
    }
    stream::once(open(chunks, recipe, gauge)).try_flatten().boxed()
}

/// Whether a body begins as gzip does.
pub(super) fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&GZIP)
}

/// The plain chunks of a gzip that is there whole.
pub(super) fn gunzipped(packed: Bytes, gauge: Gauge) -> Chunks {
    gunzip(stream::iter([Ok(packed)]).boxed(), gauge)
}

async fn open(mut chunks: Chunks, recipe: Recipe, gauge: Gauge) -> io::Result<Chunks> {
    if !recipe.codings.is_empty() {
        let (begin, all) = peek(chunks, 1).await?;
        chunks = all;
        // An empty body is sent under any coding.
        for coding in recipe.codings.iter().filter(|_| !begin.is_empty()) {
            chunks = decoded(*coding, chunks, gauge.clone()).await?;
        }
    }
    match recipe.then {
        Then::Nothing => Ok(chunks),
        Then::Unzip => Ok(unzip(chunks, gauge)),
        Then::GunzipWhereItBeginsSo => {
            let (begin, chunks) = peek(chunks, GZIP.len()).await?;
            Ok(if is_gzip(&begin) { gunzip(chunks, gauge) } else { chunks })
        }
        Then::Gunzip => {
            let (begin, chunks) = peek(chunks, GZIP.len()).await?;
            if is_gzip(&begin) {
                return Ok(gunzip(chunks, gauge));
            }
            Err(gauge.undecodable(format!("the body is no gzip: it {}", begins(&begin))))
        }
    }
}

/// In words, how a body begins that should begin otherwise.
pub(super) fn begins(begin: &[u8]) -> String {
    if begin.is_empty() {
        return "is empty".to_owned();
    }
    let bytes: Vec<String> = begin.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("begins with the bytes {}", bytes.join(" "))
}

/// The first bytes, as many of them as there are, and the chunks still whole.
async fn peek(mut chunks: Chunks, count: usize) -> io::Result<(Vec<u8>, Chunks)> {
    let mut seen: Vec<io::Result<Bytes>> = Vec::new();
    let mut begin = BytesMut::with_capacity(count);
    while begin.len() < count {
        match chunks.try_next().await? {
            Some(chunk) => {
                begin.extend_from_slice(&chunk[..chunk.len().min(count - begin.len())]);
                seen.push(Ok(chunk));
            }
            None => break,
        }
    }
    Ok((begin.to_vec(), stream::iter(seen).chain(chunks).boxed()))
}

async fn decoded(coding: Coding, chunks: Chunks, gauge: Gauge) -> io::Result<Chunks> {
    Ok(match coding {
        Coding::Gzip => gunzip(chunks, gauge),
        Coding::Deflate => {
            let (begin, chunks) = peek(chunks, 2).await?;
            let reader = StreamReader::new(chunks);
            if is_zlib(&begin) {
                metered(ZlibDecoder::new(reader), "deflate", gauge)
            } else {
                metered(DeflateDecoder::new(reader), "deflate", gauge)
            }
        }
        Coding::Brotli => metered(BrotliDecoder::new(StreamReader::new(chunks)), "br", gauge),
        Coding::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            let mut decoder = ZstdDecoder::with_params(StreamReader::new(chunks), &window);
            decoder.multiple_members(true);
            metered(decoder, "zstd", gauge)
        }
    })
}

fn gunzip(chunks: Chunks, gauge: Gauge) -> Chunks {
    let mut decoder = GzipDecoder::new(StreamReader::new(chunks));
    decoder.multiple_members(true);
    metered(decoder, "gzip", gauge)
}

/// The two bytes of a zlib header (RFC 1950, 2.2): method 8, and a multiple of 31.
fn is_zlib(begin: &[u8]) -> bool {
    matches!(begin, [method, check] if method & 0x0f == 8 && u16::from_be_bytes([*method, *check]) % 31 == 0)
}

fn metered(decoder: impl AsyncRead + Send + Unpin + 'static, coding: &'static str, gauge: Gauge) -> Chunks {
    ReaderStream::with_capacity(Metered::new(decoder, coding, gauge), CHUNK_BYTES).boxed()
}

/// A decoder that stops where it makes too much, and whose errors are told from those of what it reads.
pub(super) struct Metered<R> {
    decoder: R,
    coding: &'static str,
    made: u64,
    gauge: Gauge,
}

impl<R> Metered<R> {
    pub(super) fn new(decoder: R, coding: &'static str, gauge: Gauge) -> Metered<R> {
        Metered { decoder, coding, made: 0, gauge }
    }

    pub(super) fn into_inner(self) -> R {
        self.decoder
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Metered<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(&mut this.decoder).poll_read(cx, buf)) {
            let is_ours = error.get_ref().is_some_and(|inner| inner.is::<FetchError>());
            return Poll::Ready(Err(if is_ours { error } else { this.broken(&error) }));
        }
        this.made += (buf.filled().len() - before) as u64;
        Poll::Ready(this.gauge.made(this.made).map_err(io::Error::other))
    }
}

impl<R> Metered<R> {
    fn broken(&self, error: &io::Error) -> io::Error {
        let coding = self.coding;
        self.gauge.undecodable(if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("the body does not decompress: its {coding} ends too early")
        } else {
            format!("the body does not decompress: {coding}: {error}")
        })
    }
}
