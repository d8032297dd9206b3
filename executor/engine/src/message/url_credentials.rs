//! Redacts credentials in the URLs of a text: users and passwords, and the values of parameters
//! whose name says that they carry a credential or a signature.
//!
//! The text may be one URL, a header with several (`Link`), or a sentence of an error. URLs are not
//! parsed, because what an upstream sends need not be one.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::credential_names::is_credential_parameter;
use super::secret_forms::percent_encoded;

/// The text that replaces a secret.
pub(crate) const REDACTED: &str = "[REDACTED]";

/// Longest parameter name that is looked at, in bytes; a longer one is no name.
const NAME_MAX: usize = 200;
/// Maximum depth of URLs that are parameters of other URLs.
const NESTING_MAX: usize = 3;

/// Redacts the credentials in all URLs of a text.
pub(super) fn redact_urls(text: &str) -> Cow<'_, str> {
    redact_nested(text, NESTING_MAX)
}

fn redact_nested(text: &str, levels: usize) -> Cow<'_, str> {
    let mut redactions = Vec::new();
    find_users(text, &mut redactions);
    find_parameters(text, levels, &mut redactions);
    if redactions.is_empty() {
        return Cow::Borrowed(text);
    }
    redactions.sort_by_key(|redaction| redaction.begin);
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for Redaction { begin, end, by } in redactions {
        // A password may look like a parameter; the first redaction covers both.
        if begin < done {
            continue;
        }
        clean.push_str(&text[done..begin]);
        clean.push_str(&by);
        done = end;
    }
    clean.push_str(&text[done..]);
    Cow::Owned(clean)
}

/// A part of the text, and its replacement.
struct Redaction {
    begin: usize,
    end: usize,
    by: Cow<'static, str>,
}

/// Finds the users and passwords of all URLs.
fn find_users(text: &str, redactions: &mut Vec<Redaction>) {
    for (at, mark) in text.match_indices("://") {
        let begin = at + mark.len();
        let authority = text[begin..].split(['/', '?', '#', '\\', '"', '<', '>']).next().unwrap_or_default();
        let authority = authority.split(char::is_whitespace).next().unwrap_or_default();
        if let Some(user) = authority.rfind('@').filter(|user| *user > 0) {
            redactions.push(Redaction { begin, end: begin + user, by: Cow::Borrowed(REDACTED) });
        }
    }
}

/// Finds the values of parameters that carry credentials, in queries, fragments and path segments
/// (`;jsessionid=…`).
fn find_parameters(text: &str, levels: usize, redactions: &mut Vec<Redaction>) {
    let mut rest = 0;
    while let Some(found) = text[rest..].find(['?', '&', '#', ';']) {
        let begin = rest + found + 1;
        // The next delimiter may follow at once, as in `#?`.
        rest = begin;
        let Some(name) = parameter_name(&text[begin..]) else { continue };
        let begin = begin + name.len() + 1;
        let value = parameter_value(&text[begin..]);
        let end = begin + value.len();
        if is_credential_parameter(name) {
            if !value.is_empty() {
                redactions.push(Redaction { begin, end, by: Cow::Borrowed(REDACTED) });
            }
            rest = end;
        } else if let Some(by) = nested_url(value, levels) {
            redactions.push(Redaction { begin, end, by: Cow::Owned(by) });
            rest = end;
        }
    }
}

/// Returns the name before the equals sign with which the text goes on.
fn parameter_name(text: &str) -> Option<&str> {
    let end = text.bytes().take(NAME_MAX).position(|byte| {
        matches!(byte, b'=' | b'?' | b'&' | b'#' | b';' | b'/' | b'"' | b'<' | b'>')
            || byte.is_ascii_whitespace()
    })?;
    (end > 0 && text.as_bytes()[end] == b'=').then(|| &text[..end])
}

/// Returns the value with which the text begins. Where URLs may not contain a character, it ends.
fn parameter_value(text: &str) -> &str {
    let end =
        text.find(|letter: char| matches!(letter, '&' | '#' | '"' | '<' | '>') || letter.is_whitespace());
    &text[..end.unwrap_or(text.len())]
}

/// Redacts a URL that is the value of a parameter; `None` if there is nothing to redact.
fn nested_url(value: &str, levels: usize) -> Option<String> {
    // Only an encoded equals sign can hide another parameter.
    let levels = levels.checked_sub(1).filter(|_| value.contains("%3D") || value.contains("%3d"))?;
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    match redact_nested(&decoded, levels) {
        Cow::Borrowed(_) => None,
        // The mark stays readable among the escapes.
        Cow::Owned(clean) => Some(percent_encoded(&clean).replace(&percent_encoded(REDACTED), REDACTED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_urls_are_redacted_wherever_they_stand() {
        let cases = [
            ("https://u:p@h/x?page=2", "https://[REDACTED]@h/x?page=2"),
            ("https://u:p@h", "https://[REDACTED]@h"),
            ("https://h/x?api_key=1&page=2#f", "https://h/x?api_key=[REDACTED]&page=2#f"),
            ("https://h/x?api%5Fkey=1&page=2", "https://h/x?api%5Fkey=[REDACTED]&page=2"),
            ("/x?page=2&hapikey=a-b", "/x?page=2&hapikey=[REDACTED]"),
            ("https://h/x?X-Amz-Signature=ab&flag&a=b", "https://h/x?X-Amz-Signature=[REDACTED]&flag&a=b"),
            ("https://h/cb#access_token=ab&state=1", "https://h/cb#access_token=[REDACTED]&state=1"),
            ("https://h/cb#?token=ab", "https://h/cb#?token=[REDACTED]"),
            ("https://h/a;jsessionid=ab12?page=2", "https://h/a;jsessionid=[REDACTED]"),
            ("0; url=https://h/?sig=a%2Fb", "0; url=https://h/?sig=[REDACTED]"),
            (
                "<https://h/x?token=a,b&page=2>; rel=\"next\", <https://h/x?page=9&token=a>; rel=\"last\"",
                "<https://h/x?token=[REDACTED]&page=2>; rel=\"next\", <https://h/x?page=9&token=[REDACTED]>; rel=\"last\"",
            ),
            (
                "/login?next=https%3A%2F%2Fh%2Fx%3Fkey%3Dab%26page%3D2&lang=de",
                "/login?next=https%3A%2F%2Fh%2Fx%3Fkey%3D[REDACTED]%26page%3D2&lang=de",
            ),
            (
                "{\"next\":\"https://h/x?token=ab\",\"n\":1}",
                "{\"next\":\"https://h/x?token=[REDACTED]\",\"n\":1}",
            ),
        ];
        for (text, clean) in cases {
            assert_eq!(redact_urls(text), clean);
        }
    }

    #[test]
    fn text_without_credentials_is_not_copied() {
        for text in [
            "text/html; charset=utf-8",
            "https://h/x?pageToken=ab&sort=-key",
            "https://h/a@b",
            "https://h/x?token=",
            "max-age=0, private; token",
            "a ? b = c & d = e",
            "?",
            "&=",
        ] {
            assert!(matches!(redact_urls(text), Cow::Borrowed(_)), "{text}");
        }
    }
}
