//! Keys: names of integrations, configs and plans, chosen by people.

use std::fmt;

use crate::commands::Diagnostic;

const MAX_LEN: usize = 128;

/// A name that matches `[a-z0-9][a-z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceKey(String);

impl ResourceKey {
    /// Parses a key; `pointer` is its place in the document.
    ///
    /// # Errors
    /// Fails if the text is empty or does not match, with a corrected key if there is one.
    pub fn parse(text: &str, pointer: &str) -> Result<Self, Diagnostic> {
        if text.is_empty() {
            return Err(Diagnostic::new("REQUIRED", pointer, "a key is required"));
        }
        if is_key(text) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("{text:?} is not a valid key: it must match [a-z0-9][a-z0-9._-]{{0,127}}");
        Err(Diagnostic::new("INVALID_VALUE", pointer, message).suggest(corrected(text)))
    }

    /// Returns the key as text.
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

/// Corrects a name to a key if possible: `My Plan` becomes `my-plan`.
fn corrected(text: &str) -> Option<String> {
    let replaced: String = text
        .trim()
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' })
        .collect();
    let corrected = replaced.trim_start_matches(['.', '_', '-']).to_owned();
    is_key(&corrected).then_some(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_key_is_refused_with_a_correction() {
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
