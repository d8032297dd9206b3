//! How response bodies are read.

use super::file_pattern::FilePattern;

/// `response`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// Format of the body.
    pub format: ResponseFormat,
    /// Maximum size of a body in bytes, both before and after decompression.
    pub max_bytes: u64,
    /// Text encoding, by its name in the Encoding standard. `None` takes it from the content type,
    /// and UTF-8 if that names none.
    pub charset: Option<String>,
    /// Decompression of the body.
    pub decompress: Decompression,
    /// Files of a zip archive; `None` for an archive of one file.
    pub archive: Option<ArchiveRules>,
    /// Whether rows of a JSON body are read one by one, so that the whole body is never held.
    pub stream: bool,
    /// CSV dialect.
    pub csv: CsvRules,
    /// Conversion of XML.
    pub xml: XmlRules,
}

impl Default for ResponseRules {
    fn default() -> Self {
        Self {
            format: ResponseFormat::Auto,
            max_bytes: 10 * 1024 * 1024,
            charset: None,
            decompress: Decompression::Auto,
            archive: None,
            stream: false,
            csv: CsvRules::default(),
            xml: XmlRules::default(),
        }
    }
}

/// Format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// As the content type says.
    Auto,
    /// JSON, whatever the content type says.
    Json,
    /// JSON lines: one value per line; empty lines are skipped.
    Jsonl,
    /// XML, converted to JSON.
    Xml,
    /// CSV: rows become objects, or lists if there is no header.
    Csv,
    /// Text of any kind.
    Text,
    /// Bytes of any kind.
    Binary,
}

/// Decompression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decompression {
    /// By `Content-Encoding`, then gzip if the body starts like gzip.
    Auto,
    /// Gzip, always.
    Gzip,
    /// A zip archive, of one file unless [`ResponseRules::archive`] selects several.
    Zip,
    /// None: the body is used as received.
    None,
}

/// The files of a zip archive that are read, one after the other, as the rows of one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRules {
    /// Pattern of the files' names.
    pub files: FilePattern,
    /// Member with the file's name that is added to each row that is an object.
    pub file_member: Option<String>,
}

/// A CSV dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvRules {
    /// Byte between fields.
    pub delimiter: u8,
    /// Byte around quoted fields; `None` if quotes have no meaning.
    pub quote: Option<u8>,
    /// Byte that makes a quote, a delimiter, a line end or itself part of a field; `None` if there
    /// is none. Doubled quotes are always read.
    pub escape: Option<u8>,
    /// Byte at the beginning of lines that are skipped; `None` if there are none.
    pub comment: Option<u8>,
    /// Number of lines above the header, or above the first row if there is none.
    pub skip_rows: u64,
    /// Number of lines below the last row.
    pub skip_footer: u64,
    /// Treatment of rows that have more or fewer fields than the header.
    pub ragged: RaggedRows,
    /// Place of the field names.
    pub header: CsvHeader,
}

/// Treatment of CSV rows that have more or fewer fields than the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaggedRows {
    /// An error.
    Error,
    /// Missing fields are empty, and further ones become the list `_extra`.
    Fill,
}

/// Conversion of XML to JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XmlRules {
    /// Names of elements that always become lists, even if there is only one.
    pub arrays: Vec<String>,
    /// Treatment of namespace prefixes.
    pub prefixes: XmlPrefixes,
}

/// Treatment of the namespace prefixes of elements and attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XmlPrefixes {
    /// `media:title` becomes `title`.
    #[default]
    Drop,
    /// Names stay as written.
    Keep,
}

/// Place of the field names of a CSV body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsvHeader {
    /// The first line.
    First,
    /// None: rows become lists.
    None,
    /// The plan; the first line is a row.
    Names(Vec<String>),
}

impl Default for CsvRules {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            comment: None,
            skip_rows: 0,
            skip_footer: 0,
            ragged: RaggedRows::Error,
            header: CsvHeader::First,
        }
    }
}
