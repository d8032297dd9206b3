//! Decodes a body chunk by chunk.
//!
//! Only a window of each coding is held in memory. A body that grows beyond its limit fails while
//! it decompresses, and a truncated body is an error, never a shorter body.

use std::io;

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::fetch::decode::chunks::{ByteChunks, GZIP_MAGIC, describe_start, is_gzip, peek};
use crate::fetch::decode::content_encoding::{BodyDecoding, ContentCoding, FileFormat};
use crate::fetch::decode::size_limit::{LimitedDecoder, SizeLimit};
use crate::fetch::decode::zip::unzip;

/// Size of a decoded chunk.
const CHUNK_BYTES: usize = 64 << 10;
/// RFC 9659 limits the window of the zstd content coding to 8 MiB, which bounds the memory that a
/// frame can make the decoder allocate.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decodes the chunks of a body.
pub(crate) fn decode(chunks: ByteChunks, decoding: BodyDecoding, limit: SizeLimit) -> ByteChunks {
    if decoding.is_identity() {
        return chunks;
    }
    stream::once(open(chunks, decoding, limit)).try_flatten().boxed()
}

/// Decompresses a complete gzip file.
pub(crate) fn gunzip_whole(compressed: Bytes, limit: SizeLimit) -> ByteChunks {
    gunzip(stream::iter([Ok(compressed)]).boxed(), limit)
}

/// Builds the chain of decoders, which needs the first bytes of the body.
async fn open(mut chunks: ByteChunks, decoding: BodyDecoding, limit: SizeLimit) -> io::Result<ByteChunks> {
    if !decoding.codings.is_empty() {
        let (start, all) = peek(chunks, 1).await?;
        chunks = all;
        // Servers send empty bodies under any coding, although none of them encodes to nothing.
        for coding in decoding.codings.iter().filter(|_| !start.is_empty()) {
            chunks = decode_coding(*coding, chunks, limit.clone()).await?;
        }
    }
    match decoding.format {
        FileFormat::Plain => Ok(chunks),
        FileFormat::Zip(files) => Ok(unzip(chunks, files, limit)),
        FileFormat::DetectGzip => {
            let (start, chunks) = peek(chunks, GZIP_MAGIC.len()).await?;
            Ok(if is_gzip(&start) { gunzip(chunks, limit) } else { chunks })
        }
        FileFormat::Gzip => {
            let (start, chunks) = peek(chunks, GZIP_MAGIC.len()).await?;
            if is_gzip(&start) {
                return Ok(gunzip(chunks, limit));
            }
            Err(limit.undecodable(format!("the body is not gzip: it {}", describe_start(&start))))
        }
    }
}

async fn decode_coding(
    coding: ContentCoding,
    chunks: ByteChunks,
    limit: SizeLimit,
) -> io::Result<ByteChunks> {
    Ok(match coding {
        ContentCoding::Gzip => gunzip(chunks, limit),
        ContentCoding::Deflate => {
            let (start, chunks) = peek(chunks, 2).await?;
            let reader = StreamReader::new(chunks);
            if is_zlib(&start) {
                limited(ZlibDecoder::new(reader), "deflate", limit)
            } else {
                limited(DeflateDecoder::new(reader), "deflate", limit)
            }
        }
        ContentCoding::Brotli => limited(BrotliDecoder::new(StreamReader::new(chunks)), "br", limit),
        ContentCoding::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            let mut decoder = ZstdDecoder::with_params(StreamReader::new(chunks), &window);
            decoder.multiple_members(true);
            limited(decoder, "zstd", limit)
        }
    })
}

fn gunzip(chunks: ByteChunks, limit: SizeLimit) -> ByteChunks {
    let mut decoder = GzipDecoder::new(StreamReader::new(chunks));
    // Files that were concatenated, such as rotated logs, are one body.
    decoder.multiple_members(true);
    limited(decoder, "gzip", limit)
}

/// Recognizes a zlib header (RFC 1950, 2.2): method 8, and both bytes together a multiple of 31.
fn is_zlib(start: &[u8]) -> bool {
    matches!(start, [method, check] if method & 0x0f == 8 && u16::from_be_bytes([*method, *check]) % 31 == 0)
}

fn limited(
    decoder: impl AsyncRead + Send + Unpin + 'static,
    coding: &'static str,
    limit: SizeLimit,
) -> ByteChunks {
    ReaderStream::with_capacity(LimitedDecoder::new(decoder, coding, &limit), CHUNK_BYTES).boxed()
}
