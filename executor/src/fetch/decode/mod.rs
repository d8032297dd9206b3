//! Decoding of response bodies: content encodings, gzip files and zip archives, within size limits.
//!
//! `content_encoding` reads from a response's head what has to be decoded; `stream` does it chunk
//! by chunk, and `zip` reads an archive's files. `size_limit` stops bodies that grow too large.

pub(crate) mod archive_files;
pub(crate) mod checked_entry;
pub(crate) mod chunks;
pub(crate) mod content_encoding;
pub(crate) mod size_limit;
pub(crate) mod stream;
pub(crate) mod zip;
pub(crate) mod zip_header;
