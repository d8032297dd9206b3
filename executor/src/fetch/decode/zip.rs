//! Reads the files of a zip archive one after the other, as a stream.
//!
//! Each file is checked against its checksum. The reader uses the local header of each file and
//! never the directory at the archive's end, so that an archive of any size passes through in
//! constant memory. A file that needs the directory, because it is stored without its length, is an
//! error. The format is PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.12 and 4.5.3.
//!
//! Folders do not count, nor do the files that a desktop system adds to an archive. Archives inside
//! an archive are read like folders, and files that are gzip are decompressed.

use std::io;

use async_compression::tokio::bufread::{DeflateDecoder, GzipDecoder};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use crate::fetch::decode::archive_files::ArchiveFiles;
use crate::fetch::decode::checked_entry::{CheckedEntry, EntryCheck};
use crate::fetch::decode::chunks::{ByteChunks, describe_start, is_gzip};
use crate::fetch::decode::size_limit::{LimitedDecoder, SizeLimit};
use crate::fetch::decode::zip_header::{
    DESCRIPTOR_SIGNATURE, DIRECTORY_SIGNATURES, FILE_SIGNATURE, FIXED_BYTES, FileHeader, u32_at,
};

const CHUNK_BYTES: usize = 64 << 10;
/// Most files and folders of an archive, with those of the archives in it.
const MAX_ENTRIES: usize = 10_000;
/// Most archives inside each other. Honest ones have two at most.
const MAX_DEPTH: usize = 3;
/// Most bytes of a name.
const MAX_NAME_BYTES: usize = 1024;
/// Most characters of a file name in an error message.
const MAX_NAME_CHARS: usize = 200;
/// Most names in an error message.
const MAX_LISTED: usize = 20;

/// The bytes of an archive, or of an entry in it.
type EntryReader<'r> = dyn AsyncBufRead + Unpin + Send + 'r;

/// Returns the chunks of the archive's files, one after the other. `files` selects them, and learns
/// where each one begins.
pub(crate) fn unzip(chunks: ByteChunks, files: ArchiveFiles, limit: SizeLimit) -> ByteChunks {
    // One chunk waits while the next one is decoded.
    let (sender, mut receiver) = mpsc::channel(1);
    let chunks_of_files = stream::poll_fn(move |context| receiver.poll_recv(context));
    let walk = async move {
        let mut archive = ZipArchive {
            files,
            limits: std::array::from_fn(|_| limit.with_own_total()),
            depth: 0,
            limit,
            entries: 0,
            skipped: Vec::new(),
            sender,
        };
        let mut reader = StreamReader::new(chunks);
        let result = archive.read(&mut reader, String::new()).await;
        if let Err(error) = result.and_then(|()| archive.check_files()) {
            // Without a receiver, the response was dropped.
            let _ = archive.sender.send(Err(error)).await;
        }
    };
    // Polling the walk yields nothing: its chunks and its error come through the channel, in order.
    let nothing = walk.into_stream().filter_map(|()| async { None::<io::Result<Bytes>> });
    stream::select(chunks_of_files, nothing).boxed()
}

struct ZipArchive {
    files: ArchiveFiles,
    /// Limits what all files have together, after all codings.
    limit: SizeLimit,
    /// One limit per depth, for all entries of archives at that depth together.
    limits: [SizeLimit; MAX_DEPTH],
    /// Number of archives around the one that is read.
    depth: usize,
    /// Number of files and folders so far.
    entries: usize,
    /// Names of files that were not selected, for the error if none is.
    skipped: Vec<String>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl ZipArchive {
    /// Reads an archive to its end. `folder` is the prefix of its files' names.
    async fn read(&mut self, reader: &mut EntryReader<'_>, folder: String) -> io::Result<()> {
        let mut is_first = true;
        loop {
            let mut signature = [0; 4];
            self.fill(reader, &mut signature).await?;
            if DIRECTORY_SIGNATURES.contains(&signature) {
                // Read to the end, so that an archive that is cut off there is an error, and its
                // connection can be used again.
                tokio::io::copy(reader, &mut tokio::io::sink()).await?;
                return Ok(());
            }
            if signature != FILE_SIGNATURE {
                let found = describe_start(&signature);
                return Err(self.error(&if is_first {
                    format!("the body is not a zip archive: it {found}")
                } else {
                    format!("the zip archive is invalid: what follows its file {found}")
                }));
            }
            is_first = false;
            let header = self.header(reader).await?;
            self.read_entry(header, reader, &folder).await?;
        }
    }

    async fn read_entry(
        &mut self,
        mut header: FileHeader,
        reader: &mut EntryReader<'_>,
        folder: &str,
    ) -> io::Result<()> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.error(&format!("the zip archive has more than {MAX_ENTRIES} files and folders")));
        }
        if header.name.ends_with('/') && header.has_descriptor() {
            return Err(self.error("a folder in the zip archive contains data"));
        }
        header.name.insert_str(0, folder);
        let counts = !header.name.ends_with('/') && !is_desktop_file(&header.name);
        let is_archive = counts && has_ending(&header.name, ".zip");
        let is_selected = counts && self.files.select(&header.name);
        if counts && !is_selected && !is_archive && self.skipped.len() < MAX_LISTED {
            self.skipped.push(quoted(&header.name));
        }
        let is_read = is_selected || is_archive;
        if !is_read && !header.has_descriptor() {
            let mut data = AsyncReadExt::take(&mut *reader, header.compressed_bytes);
            let skipped = tokio::io::copy(&mut data, &mut tokio::io::sink()).await?;
            return if skipped < header.compressed_bytes { Err(self.truncated()) } else { Ok(()) };
        }
        self.check_method(&header)?;
        let check = self.read_data(&header, reader, is_selected, is_archive).await?;
        self.check_entry(&header, &check, reader).await
    }

    /// Reads the data of an entry: as an archive of its own, as a selected file, or to skip it.
    async fn read_data(
        &mut self,
        header: &FileHeader,
        reader: &mut EntryReader<'_>,
        is_selected: bool,
        is_archive: bool,
    ) -> io::Result<EntryCheck> {
        let limit = self.limits[self.depth].clone();
        let data: Box<dyn AsyncRead + Unpin + Send + '_> = match header.method {
            0 => {
                let stored = AsyncReadExt::take(&mut *reader, header.compressed_bytes);
                Box::new(LimitedDecoder::within(stored, "zip", limit))
            }
            _ => Box::new(LimitedDecoder::within(DeflateDecoder::new(&mut *reader), "zip", limit)),
        };
        let mut entry = BufReader::with_capacity(CHUNK_BYTES, CheckedEntry::new(data));
        let start = first_bytes(&mut entry).await?;
        let mut content = start.as_slice().chain(&mut entry);
        if is_archive && start.starts_with(&FILE_SIGNATURE) {
            self.read_inner(&mut content, format!("{}/", header.name)).await?;
        } else if is_selected {
            self.files.begin(&header.name).map_err(|message| self.error(&message))?;
            let limit = self.limit.clone();
            if is_gzip(&start) {
                let mut decoder = GzipDecoder::new(&mut content);
                decoder.multiple_members(true);
                self.send(&mut LimitedDecoder::within(decoder, "gzip", limit)).await?;
            } else {
                self.send(&mut LimitedDecoder::within(&mut content, "zip", limit)).await?;
            }
        }
        // The checksum covers the whole entry, so the rest of it is read too.
        tokio::io::copy(&mut content, &mut tokio::io::sink()).await?;
        Ok(entry.into_inner().finish())
    }

    /// Reads an archive in the archive. Boxed, because the future would contain itself.
    fn read_inner<'a>(
        &'a mut self,
        reader: &'a mut EntryReader<'_>,
        folder: String,
    ) -> BoxFuture<'a, io::Result<()>> {
        async move {
            self.depth += 1;
            if self.depth >= MAX_DEPTH {
                let message = format!("the zip archive has more than {MAX_DEPTH} archives inside each other");
                return Err(self.error(&message));
            }
            self.read(reader, folder).await?;
            self.depth -= 1;
            Ok(())
        }
        .boxed()
    }

    /// Sends the bytes of a file.
    async fn send(&mut self, file: &mut (dyn AsyncRead + Unpin + Send)) -> io::Result<()> {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            file.read_buf(&mut chunk).await?;
            // The buffer has capacity, so an empty chunk means the end of the data.
            if chunk.is_empty() {
                return Ok(());
            }
            self.files.add(chunk.len());
            if self.sender.send(Ok(chunk.freeze())).await.is_err() {
                return Err(self.error("the body is not read any more"));
            }
        }
    }

    fn check_method(&self, header: &FileHeader) -> io::Result<()> {
        let name = quoted(&header.name);
        if header.is_encrypted() {
            return Err(self.error(&format!("{name} in the zip archive is encrypted")));
        }
        match header.method {
            0 if header.has_descriptor() => {
                Err(self.error(&format!("{name} in the zip archive is stored without its length")))
            }
            0 | 8 => Ok(()),
            method => Err(self.error(&format!(
                "{name} in the zip archive uses compression method {method}; only stored and deflate are \
                 supported"
            ))),
        }
    }

    async fn header(&self, reader: &mut EntryReader<'_>) -> io::Result<FileHeader> {
        let mut fixed = [0; FIXED_BYTES];
        self.fill(reader, &mut fixed).await?;
        let (name_length, extra_length) = FileHeader::variable_lengths(&fixed);
        if name_length > MAX_NAME_BYTES {
            let message =
                format!("a name in the zip archive has {name_length} bytes, more than {MAX_NAME_BYTES}");
            return Err(self.error(&message));
        }
        let mut name = vec![0; name_length];
        self.fill(reader, &mut name).await?;
        let mut extra = vec![0; extra_length];
        self.fill(reader, &mut extra).await?;
        Ok(FileHeader::parse(&fixed, &name, &extra))
    }

    /// Checks an entry against its checksum and length.
    async fn check_entry(
        &self,
        header: &FileHeader,
        read: &EntryCheck,
        reader: &mut EntryReader<'_>,
    ) -> io::Result<()> {
        // The data descriptor replaces the zeros of the header.
        let (crc, bytes) = if header.has_descriptor() {
            self.descriptor(reader, read.bytes).await?
        } else {
            (header.crc, header.bytes)
        };
        // A stored file has no end mark of its own: too few bytes mean that the body was cut off.
        if header.method == 0 && read.bytes < bytes {
            return Err(self.truncated());
        }
        if crc != read.crc || bytes != read.bytes {
            let name = quoted(&header.name);
            return Err(self.error(&format!("{name} in the zip archive does not match its checksum")));
        }
        Ok(())
    }

    /// Reads the data descriptor, which holds checksum and length behind the data.
    ///
    /// Its signature is optional, and its lengths have 4 or 8 bytes without saying which. They are
    /// 4 bytes long if they then match the data and are followed by another entry.
    async fn descriptor(&self, reader: &mut EntryReader<'_>, decoded_bytes: u64) -> io::Result<(u32, u64)> {
        let mut crc = [0; 4];
        self.fill(reader, &mut crc).await?;
        if crc == DESCRIPTOR_SIGNATURE {
            self.fill(reader, &mut crc).await?;
        }
        let mut lengths = [0; 8];
        self.fill(reader, &mut lengths).await?;
        let short = u64::from(u32_at(&lengths, 4));
        // The buffered bytes may be fewer than a signature.
        let next = reader.fill_buf().await?;
        let next = &next[..next.len().min(4)];
        let entry_follows = FILE_SIGNATURE.starts_with(next)
            || DIRECTORY_SIGNATURES.iter().any(|signature| signature.starts_with(next));
        if entry_follows && short == decoded_bytes & u64::from(u32::MAX) {
            return Ok((u32::from_le_bytes(crc), decoded_bytes));
        }
        let mut long = [0; 8];
        self.fill(reader, &mut long).await?;
        Ok((u32::from_le_bytes(crc), u64::from_le_bytes(long)))
    }

    /// Checks that the archive has a file that counts.
    fn check_files(&self) -> io::Result<()> {
        if self.files.is_empty() {
            return Err(self.error(&match self.files.pattern() {
                Some(pattern) if !self.skipped.is_empty() => format!(
                    "no file in the zip archive matches response.files {pattern:?}: it contains {}",
                    self.skipped.join(", ")
                ),
                _ => "the zip archive contains no file".to_owned(),
            }));
        }
        Ok(())
    }

    async fn fill(&self, reader: &mut EntryReader<'_>, buffer: &mut [u8]) -> io::Result<()> {
        match reader.read_exact(buffer).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            Err(error) => Err(error),
        }
    }

    fn truncated(&self) -> io::Error {
        self.error("the zip archive is truncated")
    }

    fn error(&self, message: &str) -> io::Error {
        self.limit.undecodable(message.to_owned())
    }
}

/// Returns the first bytes of an entry, which tell an archive and gzip from other files.
async fn first_bytes(entry: &mut (dyn AsyncRead + Unpin + Send)) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(FILE_SIGNATURE.len());
    AsyncReadExt::take(entry, FILE_SIGNATURE.len() as u64).read_to_end(&mut start).await?;
    Ok(start)
}

/// Returns whether a file is one that a desktop system adds to the archives it creates.
fn is_desktop_file(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.starts_with("._") || name.split('/').any(|folder| folder == "__MACOSX")
}

fn has_ending(name: &str, ending: &str) -> bool {
    let start = name.len().saturating_sub(ending.len());
    name.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(ending))
}

/// Quotes and shortens a file name for an error message.
fn quoted(name: &str) -> String {
    format!("{:?}", name.chars().take(MAX_NAME_CHARS).collect::<String>())
}
