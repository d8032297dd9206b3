//! The decompressed data of an archive's entry, with its checksum.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crc32fast::Hasher;
use tokio::io::{AsyncRead, ReadBuf};

/// A reader that computes the checksum of what it reads.
pub(crate) struct CheckedEntry<R> {
    data: R,
    hasher: Hasher,
    bytes: u64,
}

/// The checksum and the length of an entry.
pub(crate) struct EntryCheck {
    pub(crate) crc: u32,
    pub(crate) bytes: u64,
}

impl<R> CheckedEntry<R> {
    pub(crate) fn new(data: R) -> Self {
        Self { data, hasher: Hasher::new(), bytes: 0 }
    }

    /// Returns the checksum of everything that was read.
    pub(crate) fn finish(self) -> EntryCheck {
        EntryCheck { crc: self.hasher.finalize(), bytes: self.bytes }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for CheckedEntry<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.data).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        this.hasher.update(read);
        this.bytes += read.len() as u64;
        Poll::Ready(Ok(()))
    }
}
