//! Relative urls, percent-encoding and `Link` headers, for expressions and for the engine.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// All characters except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes every character that is not unreserved (RFC 3986).
pub(crate) fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The reason why a url reference cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveUrlError {
    /// The base is not an absolute url.
    #[error("not an absolute url: {0}")]
    Base(String),
    /// The reference is not a url.
    #[error("not a url: {0}")]
    Reference(String),
    /// The scheme is neither `http` nor `https`.
    #[error("neither http nor https: {0}")]
    Scheme(String),
}

/// Resolves a url in a response against the url of its request (RFC 3986).
///
/// # Errors
/// Fails if the result is not an absolute `http` or `https` url.
pub fn resolve_url(base: &str, reference: &str) -> Result<String, ResolveUrlError> {
    let base = Url::parse(base).map_err(|_| ResolveUrlError::Base(base.to_owned()))?;
    let url = base.join(reference).map_err(|_| ResolveUrlError::Reference(reference.to_owned()))?;
    // A response must not make the executor open `file:` or other schemes.
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(ResolveUrlError::Scheme(reference.to_owned()));
    }
    Ok(url.into())
}

/// A `Link` header that does not follow RFC 8288.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed link header: {0}")]
pub struct LinkHeaderError(pub String);

/// Returns the target of the first link with this relation in a `Link` header. Several headers are
/// joined by commas.
///
/// # Errors
/// Fails if the header is malformed before the end of that link.
pub fn find_link<'h>(header: &'h str, relation: &str) -> Result<Option<&'h str>, LinkHeaderError> {
    let malformed = || LinkHeaderError(header.chars().take(200).collect());
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (target, mut tail) =
            rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or_else(malformed)?;
        // `None` until the first `rel` parameter, then whether it lists the relation.
        let mut matched = None;
        loop {
            tail = tail.trim_start_matches([' ', '\t']);
            let Some(parameter) = tail.strip_prefix(';') else { break };
            let (name, value, after) = parse_parameter(parameter).ok_or_else(malformed)?;
            // RFC 8288, 3.3: occurrences of `rel` after the first are ignored.
            if name.eq_ignore_ascii_case("rel") && matched.is_none() {
                matched = Some(value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case(relation)));
            }
            tail = after;
        }
        if matched == Some(true) {
            return Ok(Some(target.trim()));
        }
        if !tail.is_empty() && !tail.starts_with(',') {
            return Err(malformed());
        }
        rest = tail.trim_start_matches([' ', '\t', ',']);
    }
    Ok(None)
}

/// Parses `name=value` or `name="value"`, and returns the rest of the text, too.
fn parse_parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find(['=', ';', ',', ' ', '\t']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start_matches([' ', '\t']);
    let Some(rest) = rest.strip_prefix('=') else { return Some((name, String::new(), rest)) };
    let rest = rest.trim_start_matches([' ', '\t']);
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([';', ',', ' ', '\t']).unwrap_or(rest.len());
        return Some((name, rest[..end].to_owned(), &rest[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((offset, char)) = chars.next() {
        match char {
            '"' => return Some((name, value, &quoted[offset + 1..])),
            // A backslash quotes the next character (RFC 9110, 5.6.4).
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_is_resolved_against_the_request() {
        let base = "https://api.example.com/v2/items?page=1";
        for (reference, expected) in [
            ("https://other.example.com/x", "https://other.example.com/x"),
            ("/v3/y", "https://api.example.com/v3/y"),
            ("?page=2", "https://api.example.com/v2/items?page=2"),
            ("more", "https://api.example.com/v2/more"),
            ("//cdn.example.com/z", "https://cdn.example.com/z"),
        ] {
            assert_eq!(resolve_url(base, reference).unwrap(), expected);
        }
        assert_eq!(resolve_url(base, "ftp://x/y").unwrap_err(), ResolveUrlError::Scheme("ftp://x/y".into()));
        assert_eq!(resolve_url("items", "x").unwrap_err(), ResolveUrlError::Base("items".into()));
    }

    #[test]
    fn link_with_the_relation_is_found() {
        let next = |header| find_link(header, "next").unwrap();
        assert_eq!(
            next(r#"<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last""#),
            Some("https://a/?page=2")
        );
        assert_eq!(
            next(r#"<https://a/1,2>; rel=prev, </x;y>; title="a, \"b\">"; rel="last NEXT""#),
            Some("/x;y")
        );
        assert_eq!(next("<a>; rel=first; rel=next"), None);
        assert_eq!(next("<a>;rel=next;crossorigin"), Some("a"));
        assert_eq!(next(""), None);
    }

    #[test]
    fn malformed_header_is_an_error() {
        for header in ["https://a; rel=next", "<https://a; rel=next", r#"<a>; rel="next"#, "<a> rel=next"] {
            assert!(find_link(header, "next").is_err(), "{header}");
        }
    }
}
