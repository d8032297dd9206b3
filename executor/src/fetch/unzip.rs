//! A zip archive that holds one file, read as it comes.
//!
//! In: the chunks of the archive. Out: those of its file, checked against its checksum; or why it is not one file. Folders
//! are passed over. It reads the file's own header and never the directory at the archive's end, so that an archive of any
//! size passes through in flat memory; what only the directory could tell (the length of a stored file that was written
//! without it) is refused. The form is that of PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.12 and 4.5.3.

use std::io;

use async_compression::tokio::bufread::DeflateDecoder;
use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, Take};
use tokio_util::io::StreamReader;

use crate::fetch::unpack::{Chunks, Gauge, Metered, begins};

const FILE: [u8; 4] = *b"PK\x03\x04";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
/// What may follow the last file: the directory's entries, or its end where it has none.
const DIRECTORY: [[u8; 4]; 3] = [*b"PK\x01\x02", *b"PK\x05\x06", *b"PK\x06\x06"];
const CHUNK_BYTES: usize = 64 << 10;
/// Folders before a file; more is no honest archive.
const MAX_FOLDERS: usize = 1000;
/// Characters of a name that an error shows.
const SHOWN: usize = 200;

type Packed = StreamReader<Chunks, Bytes>;

/// The chunks of the archive's one file.
pub(super) fn unzip(chunks: Chunks, gauge: Gauge) -> Chunks {
    let archive = Archive { gauge, file: None, folders: 0 };
    let begin = (archive, Place::Between(StreamReader::new(chunks)));
    stream::try_unfold(begin, |(mut archive, mut place)| async move {
        loop {
            place = match place {
                Place::Between(packed) => archive.next_member(packed).await?,
                Place::In(mut file) => match archive.read(&mut file).await? {
                    Some(chunk) => return Ok(Some((chunk, (archive, Place::In(file))))),
                    None => Place::Between(archive.end_member(*file).await?),
                },
                Place::End => return Ok(None),
            };
        }
    })
    .boxed()
}

struct Archive {
    gauge: Gauge,
    /// Name of the file that was found.
    file: Option<String>,
    folders: usize,
}

enum Place {
    Between(Packed),
    In(Box<Member>),
    End,
}

/// A file that is being read.
struct Member {
    header: Header,
    data: Data,
    hasher: Hasher,
    made: u64,
}

enum Data {
    Stored(Metered<Take<Packed>>),
    Deflated(Metered<DeflateDecoder<Packed>>),
}

/// A local file header.
struct Header {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed_bytes: u64,
    bytes: u64,
}

impl Header {
    /// Checksum and lengths stand behind the data.
    fn has_descriptor(&self) -> bool {
        self.flags & 0x08 != 0
    }

    fn is_encrypted(&self) -> bool {
        self.flags & 0x2041 != 0
    }
}

impl Archive {
    /// Goes on to the file, past folders; or to the end.
    async fn next_member(&mut self, mut packed: Packed) -> io::Result<Place> {
        let mut signature = [0; 4];
        self.fill(&mut packed, &mut signature).await?;
        if DIRECTORY.contains(&signature) {
            return self.end(packed).await;
        }
        if signature != FILE {
            let begun = if self.file.is_some() { "goes on" } else { "begins" };
            return Err(self.wrong(&format!(
                "the body is no zip archive: it {} where an entry {begun}",
                begins(&signature)
            )));
        }
        let header = self.header(&mut packed).await?;
        if header.name.ends_with('/') {
            self.folders += 1;
            if header.has_descriptor() || self.folders > MAX_FOLDERS {
                return Err(self.wrong("the zip archive's folders hold data"));
            }
            let mut data = packed.take(header.packed_bytes);
            tokio::io::copy(&mut data, &mut tokio::io::sink()).await?;
            return Ok(Place::Between(data.into_inner()));
        }
        if let Some(first) = &self.file {
            let message = format!(
                "the zip archive holds more than one file: {}, {}",
                shown(first),
                shown(&header.name)
            );
            return Err(self.wrong(&message));
        }
        self.file = Some(header.name.clone());
        let data = self.data(&header, packed)?;
        Ok(Place::In(Box::new(Member { header, data, hasher: Hasher::new(), made: 0 })))
    }

    fn data(&self, header: &Header, packed: Packed) -> io::Result<Data> {
        let name = shown(&header.name);
        if header.is_encrypted() {
            return Err(self.wrong(&format!("{name} in the zip archive is encrypted")));
        }
        match header.method {
            0 if header.has_descriptor() => {
                Err(self.wrong(&format!("{name} in the zip archive is stored without its length")))
            }
            0 => Ok(Data::Stored(Metered::new(packed.take(header.packed_bytes), "zip", self.gauge.clone()))),
            8 => Ok(Data::Deflated(Metered::new(DeflateDecoder::new(packed), "zip", self.gauge.clone()))),
            method => {
                let message =
                    format!("{name} in the zip archive is packed by method {method}, not by deflate");
                Err(self.wrong(&message))
            }
        }
    }

    async fn header(&self, packed: &mut Packed) -> io::Result<Header> {
        let mut fixed = [0; 26];
        self.fill(packed, &mut fixed).await?;
        let mut name = vec![0; usize::from(u16_at(&fixed, 22))];
        self.fill(packed, &mut name).await?;
        let mut extra = vec![0; usize::from(u16_at(&fixed, 24))];
        self.fill(packed, &mut extra).await?;
        let (packed_bytes, bytes) = (u32_at(&fixed, 14), u32_at(&fixed, 18));
        let large = large_lengths(&extra, bytes == u32::MAX, packed_bytes == u32::MAX);
        Ok(Header {
            name: String::from_utf8_lossy(&name).into_owned(),
            flags: u16_at(&fixed, 2),
            method: u16_at(&fixed, 4),
            crc: u32_at(&fixed, 10),
            packed_bytes: large.1.unwrap_or(u64::from(packed_bytes)),
            bytes: large.0.unwrap_or(u64::from(bytes)),
        })
    }

    async fn read(&self, file: &mut Member) -> io::Result<Option<Bytes>> {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match &mut file.data {
            Data::Stored(data) => data.read_buf(&mut chunk).await?,
            Data::Deflated(data) => data.read_buf(&mut chunk).await?,
        };
        if chunk.is_empty() {
            return Ok(None);
        }
        file.hasher.update(&chunk);
        file.made += chunk.len() as u64;
        Ok(Some(chunk.freeze()))
    }

    /// Checks what was read against what the archive says of it.
    async fn end_member(&self, file: Member) -> io::Result<Packed> {
        let Member { header, data, hasher, made } = file;
        let mut packed = match data {
            Data::Stored(data) => data.into_inner().into_inner(),
            Data::Deflated(data) => data.into_inner().into_inner(),
        };
        let (crc, bytes) = if header.has_descriptor() {
            self.descriptor(&mut packed, made).await?
        } else {
            (header.crc, header.bytes)
        };
        if header.method == 0 && made < bytes {
            return Err(self.too_short());
        }
        if crc != hasher.finalize() || bytes != made {
            let message = format!("{} in the zip archive is not what its checksum says", shown(&header.name));
            return Err(self.wrong(&message));
        }
        Ok(packed)
    }

    /// Checksum and length behind the data. The signature may be missing, and lengths have 4 bytes or 8: which is not said
    /// here, but they must be those of the data.
    async fn descriptor(&self, packed: &mut Packed, made: u64) -> io::Result<(u32, u64)> {
        let mut crc = [0; 4];
        self.fill(packed, &mut crc).await?;
        if crc == DESCRIPTOR {
            self.fill(packed, &mut crc).await?;
        }
        let mut lengths = [0; 8];
        self.fill(packed, &mut lengths).await?;
        let short = u64::from(u32_at(&lengths, 4));
        let follows = self.follows(packed).await?;
        if follows && short == made & u64::from(u32::MAX) {
            return Ok((u32::from_le_bytes(crc), made));
        }
        let mut long = [0; 8];
        self.fill(packed, &mut long).await?;
        Ok((u32::from_le_bytes(crc), u64::from_le_bytes(long)))
    }

    /// Whether an entry or the directory comes next. Looks only.
    async fn follows(&self, packed: &mut Packed) -> io::Result<bool> {
        let next = packed.fill_buf().await?;
        Ok(FILE.starts_with(&next[..next.len().min(4)])
            || DIRECTORY.iter().any(|signature| signature.starts_with(&next[..next.len().min(4)])))
    }

    /// The directory is read to its end, so that an archive that was cut off there is told, and its connection can be used again.
    async fn end(&self, mut packed: Packed) -> io::Result<Place> {
        tokio::io::copy(&mut packed, &mut tokio::io::sink()).await?;
        if self.file.is_none() {
            return Err(self.wrong("the zip archive holds no file"));
        }
        Ok(Place::End)
    }

    async fn fill(&self, packed: &mut Packed, into: &mut [u8]) -> io::Result<()> {
        match packed.read_exact(into).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.too_short()),
            Err(error) => Err(error),
        }
    }

    fn too_short(&self) -> io::Error {
        self.wrong("the body is no whole zip archive: it ends too early")
    }

    fn wrong(&self, message: &str) -> io::Error {
        self.gauge.undecodable(message.to_owned())
    }
}

/// Lengths of 8 bytes (plain, packed), where the header's own say that they stand in the extra field 1.
fn large_lengths(mut extra: &[u8], plain: bool, packed: bool) -> (Option<u64>, Option<u64>) {
    while let [a, b, c, d, rest @ ..] = extra {
        let (id, length) = (u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d])));
        let Some((field, rest)) = rest.split_at_checked(length) else { break };
        if id == 1 {
            let mut numbers = field
                .chunks_exact(8)
                .map(|bytes| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)));
            let plain = if plain { numbers.next() } else { None };
            return (plain, if packed { numbers.next() } else { None });
        }
        extra = rest;
    }
    (None, None)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .map_or(0, |bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u16::from(*byte)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A name as an error shows it.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(SHOWN).collect::<String>())
}
