//! Reads a zip archive that contains one file, as a stream.
//!
//! Folders are skipped, and the file is checked against its checksum. The reader uses the file's
//! local header and never the directory at the archive's end, so that an archive of any size passes
//! through in constant memory. A file that needs the directory, because it is stored without its
//! length, is an error. The format is PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.12 and 4.5.3.

use std::io;

use async_compression::tokio::bufread::DeflateDecoder;
use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, Take};
use tokio_util::io::StreamReader;

use crate::fetch::decode::chunks::{ByteChunks, describe_start};
use crate::fetch::decode::size_limit::{LimitedDecoder, SizeLimit};
use crate::fetch::decode::zip_header::{
    DESCRIPTOR_SIGNATURE, DIRECTORY_SIGNATURES, FILE_SIGNATURE, FIXED_BYTES, FileHeader, u32_at,
};

const CHUNK_BYTES: usize = 64 << 10;
/// Most folders before the file. No honest archive has more.
const MAX_FOLDERS: usize = 1000;
/// Most characters of a file name in an error message.
const MAX_NAME_CHARS: usize = 200;

type ArchiveReader = StreamReader<ByteChunks, Bytes>;

/// Returns the chunks of the archive's one file.
pub(crate) fn unzip(chunks: ByteChunks, limit: SizeLimit) -> ByteChunks {
    let archive = ZipArchive { limit, file: None, folders: 0 };
    let start = (archive, ReadPosition::BetweenEntries(StreamReader::new(chunks)));
    stream::try_unfold(start, |(mut archive, mut position)| async move {
        loop {
            position = match position {
                ReadPosition::BetweenEntries(reader) => archive.next_entry(reader).await?,
                ReadPosition::InFile(mut file) => match archive.read(&mut file).await? {
                    Some(chunk) => return Ok(Some((chunk, (archive, ReadPosition::InFile(file))))),
                    None => ReadPosition::BetweenEntries(archive.end_file(*file).await?),
                },
                ReadPosition::End => return Ok(None),
            };
        }
    })
    .boxed()
}

struct ZipArchive {
    limit: SizeLimit,
    /// Name of the file, once found.
    file: Option<String>,
    /// Number of folders skipped so far.
    folders: usize,
}

enum ReadPosition {
    BetweenEntries(ArchiveReader),
    InFile(Box<OpenFile>),
    End,
}

/// A file that is being read.
struct OpenFile {
    header: FileHeader,
    data: FileData,
    hasher: Hasher,
    decoded_bytes: u64,
}

enum FileData {
    Stored(LimitedDecoder<Take<ArchiveReader>>),
    Deflated(LimitedDecoder<DeflateDecoder<ArchiveReader>>),
}

impl ZipArchive {
    /// Skips a folder, opens the file, or reads to the end, whichever comes next.
    async fn next_entry(&mut self, mut reader: ArchiveReader) -> io::Result<ReadPosition> {
        let mut signature = [0; 4];
        self.fill(&mut reader, &mut signature).await?;
        if DIRECTORY_SIGNATURES.contains(&signature) {
            return self.read_to_end(reader).await;
        }
        if signature != FILE_SIGNATURE {
            let found = describe_start(&signature);
            return Err(self.error(&if self.file.is_some() {
                format!("the zip archive is invalid: what follows its file {found}")
            } else {
                format!("the body is not a zip archive: it {found}")
            }));
        }
        let header = self.header(&mut reader).await?;
        if header.name.ends_with('/') {
            self.folders += 1;
            if header.has_descriptor() {
                return Err(self.error("a folder in the zip archive contains data"));
            }
            if self.folders > MAX_FOLDERS {
                return Err(self.error(&format!("the zip archive has more than {MAX_FOLDERS} folders")));
            }
            let mut data = reader.take(header.compressed_bytes);
            tokio::io::copy(&mut data, &mut tokio::io::sink()).await?;
            return Ok(ReadPosition::BetweenEntries(data.into_inner()));
        }
        if let Some(first) = &self.file {
            let message = format!(
                "the zip archive contains more than one file: {}, {}",
                quoted(first),
                quoted(&header.name)
            );
            return Err(self.error(&message));
        }
        self.file = Some(header.name.clone());
        let data = self.data(&header, reader)?;
        Ok(ReadPosition::InFile(Box::new(OpenFile { header, data, hasher: Hasher::new(), decoded_bytes: 0 })))
    }

    fn data(&self, header: &FileHeader, reader: ArchiveReader) -> io::Result<FileData> {
        let name = quoted(&header.name);
        if header.is_encrypted() {
            return Err(self.error(&format!("{name} in the zip archive is encrypted")));
        }
        match header.method {
            0 if header.has_descriptor() => {
                Err(self.error(&format!("{name} in the zip archive is stored without its length")))
            }
            0 => {
                let data = reader.take(header.compressed_bytes);
                Ok(FileData::Stored(LimitedDecoder::new(data, "zip", self.limit.clone())))
            }
            8 => {
                let data = DeflateDecoder::new(reader);
                Ok(FileData::Deflated(LimitedDecoder::new(data, "zip", self.limit.clone())))
            }
            method => Err(self.error(&format!(
                "{name} in the zip archive uses compression method {method}; only stored and deflate are \
                 supported"
            ))),
        }
    }

    async fn header(&self, reader: &mut ArchiveReader) -> io::Result<FileHeader> {
        let mut fixed = [0; FIXED_BYTES];
        self.fill(reader, &mut fixed).await?;
        let (name_length, extra_length) = FileHeader::variable_lengths(&fixed);
        let mut name = vec![0; name_length];
        self.fill(reader, &mut name).await?;
        let mut extra = vec![0; extra_length];
        self.fill(reader, &mut extra).await?;
        Ok(FileHeader::parse(&fixed, &name, &extra))
    }

    async fn read(&self, file: &mut OpenFile) -> io::Result<Option<Bytes>> {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match &mut file.data {
            FileData::Stored(data) => data.read_buf(&mut chunk).await?,
            FileData::Deflated(data) => data.read_buf(&mut chunk).await?,
        };
        // The buffer has capacity, so an empty chunk means the end of the data.
        if chunk.is_empty() {
            return Ok(None);
        }
        file.hasher.update(&chunk);
        file.decoded_bytes += chunk.len() as u64;
        Ok(Some(chunk.freeze()))
    }

    /// Checks the file against its checksum and length, and returns the reader behind it.
    async fn end_file(&self, file: OpenFile) -> io::Result<ArchiveReader> {
        let OpenFile { header, data, hasher, decoded_bytes } = file;
        let mut reader = match data {
            FileData::Stored(data) => data.into_inner().into_inner(),
            FileData::Deflated(data) => data.into_inner().into_inner(),
        };
        // The data descriptor replaces the zeros of the header.
        let (crc, bytes) = if header.has_descriptor() {
            self.descriptor(&mut reader, decoded_bytes).await?
        } else {
            (header.crc, header.bytes)
        };
        // A stored file has no end mark of its own: too few bytes mean that the body was cut off.
        if header.method == 0 && decoded_bytes < bytes {
            return Err(self.truncated());
        }
        if crc != hasher.finalize() || bytes != decoded_bytes {
            let name = quoted(&header.name);
            return Err(self.error(&format!("{name} in the zip archive does not match its checksum")));
        }
        Ok(reader)
    }

    /// Reads the data descriptor, which holds checksum and length behind the data.
    ///
    /// Its signature is optional, and its lengths have 4 or 8 bytes without saying which. They are
    /// 4 bytes long if they then match the data and are followed by another entry.
    async fn descriptor(&self, reader: &mut ArchiveReader, decoded_bytes: u64) -> io::Result<(u32, u64)> {
        let mut crc = [0; 4];
        self.fill(reader, &mut crc).await?;
        if crc == DESCRIPTOR_SIGNATURE {
            self.fill(reader, &mut crc).await?;
        }
        let mut lengths = [0; 8];
        self.fill(reader, &mut lengths).await?;
        let short = u64::from(u32_at(&lengths, 4));
        let entry_follows = self.peek_entry(reader).await?;
        if entry_follows && short == decoded_bytes & u64::from(u32::MAX) {
            return Ok((u32::from_le_bytes(crc), decoded_bytes));
        }
        let mut long = [0; 8];
        self.fill(reader, &mut long).await?;
        Ok((u32::from_le_bytes(crc), u64::from_le_bytes(long)))
    }

    /// Returns whether a file or the directory comes next, without consuming anything. The buffered
    /// bytes may be fewer than a signature.
    async fn peek_entry(&self, reader: &mut ArchiveReader) -> io::Result<bool> {
        let next = reader.fill_buf().await?;
        let next = &next[..next.len().min(4)];
        Ok(FILE_SIGNATURE.starts_with(next)
            || DIRECTORY_SIGNATURES.iter().any(|signature| signature.starts_with(next)))
    }

    /// Reads the directory to its end, so that a body that is cut off there is an error, and its
    /// connection can be used again.
    async fn read_to_end(&self, mut reader: ArchiveReader) -> io::Result<ReadPosition> {
        tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
        if self.file.is_none() {
            return Err(self.error("the zip archive contains no file"));
        }
        Ok(ReadPosition::End)
    }

    async fn fill(&self, reader: &mut ArchiveReader, buffer: &mut [u8]) -> io::Result<()> {
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

/// Quotes and shortens a file name for an error message.
fn quoted(name: &str) -> String {
    format!("{:?}", name.chars().take(MAX_NAME_CHARS).collect::<String>())
}
