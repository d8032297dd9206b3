//! Reads from a response's head how its body has to be decoded.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use orchid_plan::{Decompression, FilePattern};

use crate::fetch::decode::archive_files::ArchiveFiles;

/// Most codings of one body. No honest server sends more.
const MAX_CODINGS: usize = 5;
/// Registered content codings (RFC 9110, 16.6.1) that are not supported.
const UNSUPPORTED_CODINGS: [&str; 7] =
    ["aes128gcm", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress"];

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    /// RFC 1952, with any number of members.
    Gzip,
    /// RFC 1950, or raw RFC 1951, which some servers send under the same name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with any number of frames.
    Zstd,
}

/// The format of the file below the content codings.
#[derive(Debug, Clone)]
pub(crate) enum FileFormat {
    /// Nothing to decompress.
    Plain,
    /// Gzip if the file starts like gzip, otherwise plain.
    DetectGzip,
    /// Gzip; anything else is an error.
    Gzip,
    /// A zip archive, of which these files are read.
    Zip(ArchiveFiles),
}

/// The steps that turn a received body into the body that the plan reads.
#[derive(Debug, Clone)]
pub(crate) struct BodyDecoding {
    /// Content codings in the order in which they are removed.
    pub(crate) codings: Vec<ContentCoding>,
    /// Format of the file that is left.
    pub(crate) format: FileFormat,
}

impl BodyDecoding {
    /// Leaves the body as received.
    pub(crate) const IDENTITY: Self = Self { codings: Vec::new(), format: FileFormat::Plain };

    /// Determines the decoding of a response.
    ///
    /// `decompress` and `files`, the plan's settings, describe the data that the plan asks for. An
    /// error response of the upstream is therefore decoded as if the plan set nothing.
    ///
    /// # Errors
    ///
    /// Fails with a message when a content coding is not supported, or there are too many.
    pub(crate) fn new(
        decompress: Decompression,
        files: Option<&FilePattern>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Self, String> {
        if decompress == Decompression::None {
            return Ok(Self::IDENTITY);
        }
        let codings = content_codings(headers)?;
        let format = match decompress {
            // A server may name the file's own compression as its content coding: once is enough.
            Decompression::Gzip if status.is_success() && !codings.contains(&ContentCoding::Gzip) => {
                FileFormat::Gzip
            }
            Decompression::Zip if status.is_success() => FileFormat::Zip(ArchiveFiles::new(files.cloned())),
            Decompression::Auto | Decompression::Gzip | Decompression::Zip if is_never_gzip(headers) => {
                FileFormat::Plain
            }
            Decompression::Auto | Decompression::Gzip | Decompression::Zip => FileFormat::DetectGzip,
            Decompression::None => FileFormat::Plain,
        };
        Ok(Self { codings, format })
    }

    /// Returns the files of the archive, if the body is one.
    pub(crate) fn files(&self) -> Option<ArchiveFiles> {
        if let FileFormat::Zip(files) = &self.format { Some(files.clone()) } else { None }
    }

    /// Returns whether the body stays as received.
    pub(crate) fn is_identity(&self) -> bool {
        self.codings.is_empty() && matches!(self.format, FileFormat::Plain)
    }
}

/// Returns the `Accept-Encoding` header for a request whose plan sets none.
pub(crate) fn accept_encoding(decompress: Decompression, headers: &HeaderMap) -> &'static str {
    // A range applies to the encoded bytes, and a part of them cannot be decoded.
    if decompress == Decompression::None || headers.contains_key(http::header::RANGE) {
        "identity"
    } else {
        "gzip, br, zstd, deflate"
    }
}

fn content_codings(headers: &HeaderMap) -> Result<Vec<ContentCoding>, String> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        for name in value.split(',').map(str::trim) {
            found.extend(match name {
                "gzip" | "x-gzip" => Some(ContentCoding::Gzip),
                "deflate" => Some(ContentCoding::Deflate),
                "br" => Some(ContentCoding::Brotli),
                "zstd" => Some(ContentCoding::Zstd),
                unsupported if UNSUPPORTED_CODINGS.contains(&unsupported) => {
                    return Err(format!(
                        "content-encoding {unsupported:?} is not supported; gzip, deflate, br and zstd are"
                    ));
                }
                // `identity`, and names that are no codings: servers send `utf-8`, `none` or
                // `binary`.
                _ => None,
            });
        }
    }
    if found.len() > MAX_CODINGS {
        return Err(format!("{} content-encodings exceed the limit of {MAX_CODINGS}", found.len()));
    }
    // Codings are listed in the order in which they were applied.
    found.reverse();
    Ok(found)
}

/// Returns whether the content type is of a kind that is never gzip.
fn is_never_gzip(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.trim_start().to_ascii_lowercase();
    ["image/", "audio/", "video/", "font/", "application/pdf", "application/zip"]
        .iter()
        .any(|other| kind.starts_with(other))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(encodings: &[&str], content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for encoding in encodings {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(encoding).unwrap());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        headers
    }

    fn decoding(
        decompress: Decompression,
        status: u16,
        encodings: &[&str],
        content_type: &str,
    ) -> BodyDecoding {
        let status = StatusCode::from_u16(status).unwrap();
        BodyDecoding::new(decompress, None, status, &headers(encodings, content_type)).unwrap()
    }

    fn name(format: &FileFormat) -> &'static str {
        match format {
            FileFormat::Plain => "plain",
            FileFormat::DetectGzip => "detect gzip",
            FileFormat::Gzip => "gzip",
            FileFormat::Zip(_) => "zip",
        }
    }

    #[test]
    fn unsupported_coding_is_named() {
        for (encodings, words) in [
            (vec!["compress"], "\"compress\""),
            (vec!["gzip, DCZ"], "\"dcz\""),
            (vec!["gzip, gzip, gzip", "gzip, gzip, gzip"], "6 content-encodings"),
        ] {
            let error =
                BodyDecoding::new(Decompression::Auto, None, StatusCode::OK, &headers(&encodings, ""))
                    .unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn codings_are_removed_from_the_last_to_the_first() {
        let cases: [(&[&str], &[ContentCoding]); 5] = [
            (&["gzip"], &[ContentCoding::Gzip]),
            (&["X-GZIP, br"], &[ContentCoding::Brotli, ContentCoding::Gzip]),
            (&["deflate", "zstd, identity"], &[ContentCoding::Zstd, ContentCoding::Deflate]),
            (&["identity"], &[]),
            (&["utf-8", "none", ""], &[]),
        ];
        for (encodings, expected) in cases {
            assert_eq!(decoding(Decompression::Auto, 200, encodings, "").codings, expected, "{encodings:?}");
        }
    }

    #[test]
    fn format_follows_the_plan_and_is_detected_for_errors() {
        let cases = [
            (Decompression::Auto, 200, "application/json", "detect gzip"),
            (Decompression::Auto, 200, "application/octet-stream", "detect gzip"),
            (Decompression::Auto, 200, "image/png", "plain"),
            (Decompression::Gzip, 200, "image/png", "gzip"),
            (Decompression::Gzip, 503, "text/html", "detect gzip"),
            (Decompression::Zip, 201, "application/zip", "zip"),
            (Decompression::Zip, 404, "application/json", "detect gzip"),
            (Decompression::None, 200, "application/json", "plain"),
        ];
        for (decompress, status, content_type, expected) in cases {
            assert_eq!(
                name(&decoding(decompress, status, &[], content_type).format),
                expected,
                "{decompress:?} {status} {content_type}"
            );
        }
    }

    #[test]
    fn decompress_none_keeps_the_received_bytes() {
        assert!(decoding(Decompression::None, 200, &["gzip"], "text/csv").is_identity());
        assert_eq!(accept_encoding(Decompression::None, &HeaderMap::new()), "identity");
        assert_eq!(accept_encoding(Decompression::Auto, &HeaderMap::new()), "gzip, br, zstd, deflate");
    }

    #[test]
    fn gzip_as_content_coding_is_not_expected_twice() {
        assert_eq!(name(&decoding(Decompression::Gzip, 200, &["gzip"], "").format), "detect gzip");
    }
}
