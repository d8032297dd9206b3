//! Response bodies: from bytes to values and rows.
//!
//! The input is a decompressed body, whole or in pieces, with its content type and the step's
//! rules. The output is a [`Body`] for expressions and messages, or rows one by one from a
//! [`RowReader`], each as the received bytes. Nothing here does I/O, and no buffer grows beyond its
//! given limit.

mod archive;
mod charset;
mod edge_members;
mod element_list;
mod error;
mod file_parts;
mod format;
mod json_text;
mod list_size;
mod parsed_body;
mod raw_list;
mod reader;
mod row_path;
mod row_reader;
mod stream;
mod xml;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stream_tests;

pub(crate) use self::archive::{FileDecoder, read_files};
pub(crate) use self::edge_members::{EDGE_BYTES, EdgeMembers};
pub(crate) use self::error::DecodeError;
pub(crate) use self::file_parts::FileParts;
pub(crate) use self::format::BodyFormat;
pub(crate) use self::list_size::largest_list;
pub(crate) use self::parsed_body::Body;
pub(crate) use self::reader::BodyReader;
pub(crate) use self::row_path::RowPath;
pub(crate) use self::row_reader::RowReader;
pub(crate) use self::stream::NextRow;
