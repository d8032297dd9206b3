//! How the body of an answer is read.

/// `response`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// What the body is taken for.
    pub format: ResponseFormat,
    /// Bytes of a body at most, before and after decompression.
    pub max_bytes: u64,
}

impl Default for ResponseRules {
    fn default() -> Self {
        Self { format: ResponseFormat::Auto, max_bytes: 10 * 1024 * 1024 }
    }
}

/// What a body is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// What the content type says.
    Auto,
    /// JSON, whatever the content type says.
    Json,
}
