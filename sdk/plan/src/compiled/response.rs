//! How the body of an answer is read.

/// `response`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// What the body is taken for.
    pub format: ResponseFormat,
    /// Bytes of a body at most, before and after decompression.
    pub max_bytes: u64,
    /// The encoding of the text, as the label of a known one; none: what the content type says, else UTF-8.
    pub charset: Option<String>,
    /// What is unpacked.
    pub decompress: Decompression,
    /// Take the rows of a JSON body one by one, never the whole body.
    pub stream: bool,
    /// How CSV is written.
    pub csv: CsvRules,
    /// Elements of XML that are lists also where there is one of them.
    pub xml_arrays: Vec<String>,
}

impl Default for ResponseRules {
    fn default() -> Self {
        Self {
            format: ResponseFormat::Auto,
            max_bytes: 10 * 1024 * 1024,
            charset: None,
            decompress: Decompression::Auto,
            stream: false,
            csv: CsvRules::default(),
            xml_arrays: Vec::new(),
        }
    }
}

/// What a body is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// What the content type says.
    Auto,
    /// JSON, whatever the content type says.
    Json,
    /// JSON lines: one value a line, empty lines passed over.
    Jsonl,
    /// XML, as JSON.
    Xml,
    /// CSV, as objects by the header, or lists without one.
    Csv,
    /// Text.
    Text,
    /// Bytes.
    Binary,
}

/// What a body is unpacked by, beside its `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decompression {
    /// `Content-Encoding`, then gzip where the body begins like it.
    Auto,
    /// Gzip, always.
    Gzip,
    /// A zip archive with one file.
    Zip,
    /// Nothing: the body stays as it came.
    None,
}

/// How CSV is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvRules {
    /// Between fields, one byte.
    pub delimiter: u8,
    /// Around fields, one byte; none: quotes mean nothing.
    pub quote: Option<u8>,
    /// Where the names of the fields are.
    pub header: CsvHeader,
}

/// Where the names of a CSV's fields are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsvHeader {
    /// In its first line.
    First,
    /// Nowhere: rows are lists.
    None,
    /// In the plan; the first line is a row.
    Names(Vec<String>),
}

impl Default for CsvRules {
    fn default() -> Self {
        Self { delimiter: b',', quote: Some(b'"'), header: CsvHeader::First }
    }
}
