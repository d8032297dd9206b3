//! Fixed parts of a zip archive: signatures and local file headers (APPNOTE 6.3.10, 4.3.7 and
//! 4.5.3).

/// Signature of a local file header.
pub(crate) const FILE_SIGNATURE: [u8; 4] = *b"PK\x03\x04";
/// Signature of a data descriptor.
pub(crate) const DESCRIPTOR_SIGNATURE: [u8; 4] = *b"PK\x07\x08";
/// Signatures that may follow the last file: an entry of the directory, or its end if it has none.
pub(crate) const DIRECTORY_SIGNATURES: [[u8; 4]; 3] = [*b"PK\x01\x02", *b"PK\x05\x06", *b"PK\x06\x06"];
/// Length of the fixed part of a local file header, without its signature.
pub(crate) const FIXED_BYTES: usize = 26;

/// A local file header.
pub(crate) struct FileHeader {
    pub(crate) name: String,
    flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) compressed_bytes: u64,
    pub(crate) bytes: u64,
}

impl FileHeader {
    /// Parses a header from its fixed part, name and extra field.
    pub(crate) fn parse(fixed: &[u8; FIXED_BYTES], name: &[u8], extra: &[u8]) -> Self {
        let (compressed_bytes, bytes) = (u32_at(fixed, 14), u32_at(fixed, 18));
        let large = large_lengths(extra, bytes == u32::MAX, compressed_bytes == u32::MAX);
        Self {
            name: String::from_utf8_lossy(name).into_owned(),
            flags: u16_at(fixed, 2),
            method: u16_at(fixed, 4),
            crc: u32_at(fixed, 10),
            compressed_bytes: large.1.unwrap_or(u64::from(compressed_bytes)),
            bytes: large.0.unwrap_or(u64::from(bytes)),
        }
    }

    /// Returns the lengths of name and extra field that follow the fixed part.
    pub(crate) fn variable_lengths(fixed: &[u8; FIXED_BYTES]) -> (usize, usize) {
        (usize::from(u16_at(fixed, 22)), usize::from(u16_at(fixed, 24)))
    }

    /// Returns whether checksum and lengths follow the data instead of being in the header.
    pub(crate) fn has_descriptor(&self) -> bool {
        self.flags & 0x08 != 0
    }

    /// Checks the flags of traditional, strong and header encryption.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.flags & 0x2041 != 0
    }
}

/// Returns the 8-byte lengths (plain, compressed) from the zip64 extra field, which has id 1. It
/// contains only those lengths that are `0xffffffff` in the header itself.
fn large_lengths(mut extra: &[u8], has_plain: bool, has_compressed: bool) -> (Option<u64>, Option<u64>) {
    while let [a, b, c, d, rest @ ..] = extra {
        let (id, length) = (u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d])));
        let Some((field, rest)) = rest.split_at_checked(length) else { break };
        if id == 1 {
            let mut numbers = field
                .chunks_exact(8)
                .map(|bytes| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)));
            let plain = if has_plain { numbers.next() } else { None };
            return (plain, if has_compressed { numbers.next() } else { None });
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

/// Reads a little-endian number; 0 beyond the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}
