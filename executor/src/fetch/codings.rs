//! What has to be undone of a body before it is what the plan reads.
//!
//! In: an answer's head, and what the plan says about unpacking. Out: the recipe, or why there is none. It touches no body.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use orchid_plan::Decompression;

/// More codings of one body than this are no honest answer.
const MAX_CODINGS: usize = 5;
/// Content codings that are registered (RFC 9110, 16.6.1) and cannot be undone here.
const UNKNOWN_CODINGS: [&str; 7] =
    ["aes128gcm", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress"];

/// One layer of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952, of any number of members.
    Gzip,
    /// RFC 1950; also bare RFC 1951, which servers send under the same name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, of any number of frames.
    Zstd,
}

/// What is unpacked after the codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    GunzipWhereItBeginsSo,
    Gunzip,
    Unzip,
}

/// How a body becomes what the plan reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The codings, the one that is undone first at the front.
    pub(super) codings: Vec<Coding>,
    pub(super) then: Then,
}

impl Recipe {
    /// The body stays as it came.
    pub(super) const NOTHING: Recipe = Recipe { codings: Vec::new(), then: Then::Nothing };

    /// Reads the head of an answer. What the plan says of the packing is said of the data it asks for: an error answer of
    /// the upstream is unpacked as one of a plan that says nothing.
    pub(super) fn new(
        decompress: Decompression,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Recipe, String> {
        if decompress == Decompression::None {
            return Ok(Recipe::NOTHING);
        }
        let codings = codings(headers)?;
        let then = match decompress {
            Decompression::Gzip if status.is_success() && !codings.contains(&Coding::Gzip) => Then::Gunzip,
            Decompression::Zip if status.is_success() => Then::Unzip,
            Decompression::Auto | Decompression::Gzip | Decompression::Zip if is_something_else(headers) => {
                Then::Nothing
            }
            Decompression::Auto | Decompression::Gzip | Decompression::Zip => Then::GunzipWhereItBeginsSo,
            Decompression::None => Then::Nothing,
        };
        Ok(Recipe { codings, then })
    }
}

/// What a plan that says nothing of it asks for.
pub(super) fn accepted(decompress: Decompression, headers: &HeaderMap) -> &'static str {
    // A range of packed bytes cannot be unpacked.
    if decompress == Decompression::None || headers.contains_key(http::header::RANGE) {
        "identity"
    } else {
        "gzip, br, zstd, deflate"
    }
}

fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, String> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        for name in value.split(',').map(str::trim) {
            found.extend(match name {
                "gzip" | "x-gzip" => Some(Coding::Gzip),
                "deflate" => Some(Coding::Deflate),
                "br" => Some(Coding::Brotli),
                "zstd" => Some(Coding::Zstd),
                unknown if UNKNOWN_CODINGS.contains(&unknown) => {
                    return Err(format!(
                        "the content-encoding {unknown:?} is none of gzip, deflate, br, zstd"
                    ));
                }
                // `identity`, and what is no coding at all: servers write `utf-8`, `none` or `binary` there.
                _ => None,
            });
        }
    }
    if found.len() > MAX_CODINGS {
        return Err(format!("{} content-encodings are more than {MAX_CODINGS}", found.len()));
    }
    found.reverse();
    Ok(found)
}

/// Whether the content type says that the body is of a kind that is never gzip.
fn is_something_else(headers: &HeaderMap) -> bool {
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

    fn recipe(decompress: Decompression, status: u16, encodings: &[&str], content_type: &str) -> Recipe {
        let status = StatusCode::from_u16(status).unwrap();
        Recipe::new(decompress, status, &headers(encodings, content_type)).unwrap()
    }

    #[test]
    fn what_cannot_be_undone_is_named() {
        for (encodings, words) in [
            (vec!["compress"], "\"compress\""),
            (vec!["gzip, DCZ"], "\"dcz\""),
            (vec!["gzip, gzip, gzip", "gzip, gzip, gzip"], "6 content-encodings"),
        ] {
            let error =
                Recipe::new(Decompression::Auto, StatusCode::OK, &headers(&encodings, "")).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn codings_are_undone_from_the_last_to_the_first() {
        let cases: [(&[&str], &[Coding]); 5] = [
            (&["gzip"], &[Coding::Gzip]),
            (&["X-GZIP, br"], &[Coding::Brotli, Coding::Gzip]),
            (&["deflate", "zstd, identity"], &[Coding::Zstd, Coding::Deflate]),
            (&["identity"], &[]),
            (&["utf-8", "none", ""], &[]),
        ];
        for (encodings, expected) in cases {
            assert_eq!(recipe(Decompression::Auto, 200, encodings, "").codings, expected, "{encodings:?}");
        }
    }

    #[test]
    fn what_follows_is_what_the_plan_says_and_for_errors_what_it_looks_like() {
        let cases = [
            (Decompression::Auto, 200, "application/json", Then::GunzipWhereItBeginsSo),
            (Decompression::Auto, 200, "application/octet-stream", Then::GunzipWhereItBeginsSo),
            (Decompression::Auto, 200, "image/png", Then::Nothing),
            (Decompression::Gzip, 200, "image/png", Then::Gunzip),
            (Decompression::Gzip, 503, "text/html", Then::GunzipWhereItBeginsSo),
            (Decompression::Zip, 201, "application/zip", Then::Unzip),
            (Decompression::Zip, 404, "application/json", Then::GunzipWhereItBeginsSo),
            (Decompression::None, 200, "application/json", Then::Nothing),
        ];
        for (decompress, status, content_type, expected) in cases {
            assert_eq!(
                recipe(decompress, status, &[], content_type).then,
                expected,
                "{decompress:?} {status} {content_type}"
            );
        }
    }

    #[test]
    fn a_plan_that_wants_the_packed_bytes_gets_them_and_asks_for_no_coding() {
        assert_eq!(recipe(Decompression::None, 200, &["gzip"], "text/csv"), Recipe::NOTHING);
        assert_eq!(accepted(Decompression::None, &HeaderMap::new()), "identity");
        assert_eq!(accepted(Decompression::Auto, &HeaderMap::new()), "gzip, br, zstd, deflate");
    }

    #[test]
    fn gzip_that_the_server_names_as_its_coding_is_not_asked_for_twice() {
        assert_eq!(recipe(Decompression::Gzip, 200, &["gzip"], "").then, Then::GunzipWhereItBeginsSo);
    }
}
