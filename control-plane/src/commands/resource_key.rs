//! Keys: the names by which people refer to integrations, configs and plans.

use std::fmt;

use crate::commands::Diagnostic;

const MAX_LEN: usize = 128;

/// A name that fits `[a-z0-9][a-z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceKey(String);

impl ResourceKey {
    /// Parses a name that stands at a pointer of a document.
    pub fn parse(text: &str, pointer: &str) -> Result<Self, Diagnostic> {
        if text.is_empty() {
            return Err(Diagnostic::new("REQUIRED", pointer, "a key is required"));
        }
        if is_key(text) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("{text:?} is not a key: [a-z0-9][a-z0-9._-]{{0,127}}");
        Err(Diagnostic::new("INVALID_VALUE", pointer, message).suggest(nearest(text)))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_key(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_LEN
        && text.bytes().next().is_some_and(inner)
        && text.bytes().all(|byte| inner(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// The name as a key, where that is near: `My Plan` is `my-plan`.
fn nearest(text: &str) -> Option<String> {
    let made: String = text
        .trim()
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' })
        .collect();
    let made = made.trim_start_matches(['.', '_', '-']).to_owned();
    is_key(&made).then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_with_the_nearest_one() {
        let cases =
            [("", None), ("My Plan", Some("my-plan")), ("-a", Some("a")), ("a/b", Some("a-b")), ("ü", None)];
        for (text, suggestion) in cases {
            let diagnostic = ResourceKey::parse(text, "/key").err().unwrap();
            assert_eq!(diagnostic.suggestion.as_deref(), suggestion, "{text:?}");
        }
        assert!(ResourceKey::parse(&"a".repeat(129), "/key").is_err());
        assert_eq!(ResourceKey::parse("a.b_c-9", "/key").unwrap().as_str(), "a.b_c-9");
    }
}
