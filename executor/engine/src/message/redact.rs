//! Redacts secrets in the part of a message that describes a request, and in error texts.
//!
//! Secrets are the secret texts of the config in every form that a template can give them (see
//! `secret_forms`), and whatever has the name of a credential in a header (`credential_names`) or
//! in a URL (`url_credentials`). Response bodies are never altered.

use std::borrow::Cow;

use serde_json::Value;

use super::credential_names::is_credential_header;
use super::secret_forms::forms_of;
use super::url_credentials::redact_urls;

pub(crate) use super::url_credentials::REDACTED;

/// The secrets of one execution. It has no `Debug`, so that they cannot be logged.
#[derive(Default)]
pub(crate) struct Redactor {
    /// Every form of every secret, longest first: a shorter form inside a longer one would leave
    /// its rest in the text.
    forms: Vec<String>,
    /// Those of the forms that the end of a URL or of its parts could cut in two.
    divisible_forms: Vec<String>,
}

impl Redactor {
    /// Creates a redactor for the config values at RFC 6901 pointers. A pointer to an object or
    /// list covers all strings and numbers in it; a pointer without a target is ignored.
    pub(crate) fn new(values: &Value, pointers: &[String]) -> Self {
        let mut secrets = Vec::new();
        for pointer in pointers {
            if let Some(value) = values.pointer(pointer) {
                collect(value, &mut secrets);
            }
        }
        Self::default().with_secrets(&secrets)
    }

    /// Adds further secret texts.
    pub(crate) fn with_secrets(mut self, secrets: &[String]) -> Self {
        // An empty secret would match everywhere.
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        self.forms.extend(secrets.flat_map(|secret| forms_of(secret)));
        self.forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.forms.dedup();
        self.divisible_forms = self.forms.iter().filter(|form| is_divisible(form)).cloned().collect();
        self
    }

    /// Replaces the secrets in a text.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        without(&self.forms, Cow::Borrowed(text))
    }

    /// Redacts secrets, and the credentials in URLs, in a text that people read.
    pub(crate) fn prose<'a>(&self, text: &'a str) -> Cow<'a, str> {
        // First: of a secret with a `&`, the second half would be left in the text.
        let whole = without(&self.divisible_forms, Cow::Borrowed(text));
        // Credentials in well-known places are removed even if the config does not declare them
        // secret.
        let clean = match redact_urls(&whole) {
            Cow::Borrowed(_) => whole,
            Cow::Owned(clean) => Cow::Owned(clean),
        };
        without(&self.forms, clean)
    }

    /// Redacts the value of a request or response header, with the URLs in it.
    pub(crate) fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if is_credential_header(name) {
            return Cow::Borrowed(REDACTED);
        }
        self.prose(value)
    }

    /// Redacts user and password, the values of credential and signature parameters, and secrets in
    /// a URL.
    pub(crate) fn url(&self, url: &str) -> String {
        self.prose(url).into_owned()
    }

    /// Returns the length of the longest form of a secret, in bytes.
    pub(crate) fn longest_form(&self) -> usize {
        self.forms.first().map_or(0, String::len)
    }
}

/// Replaces the forms in a text.
fn without<'a>(forms: &[String], mut text: Cow<'a, str>) -> Cow<'a, str> {
    for form in forms {
        // Texts rarely contain a secret: without one, nothing is copied.
        if text.contains(form.as_str()) {
            text = Cow::Owned(text.replace(form.as_str(), REDACTED));
        }
    }
    text
}

/// Returns whether a form contains a character at which a URL or one of its parts ends.
fn is_divisible(form: &str) -> bool {
    form.contains(|letter: char| "/?&#;=@\\\"<>".contains(letter) || letter.is_whitespace())
}

fn collect(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::String(text) if !text.is_empty() => secrets.push(text.clone()),
        Value::Number(number) => secrets.push(number.to_string()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, secrets)),
        Value::Object(members) => members.values().for_each(|value| collect(value, secrets)),
        // Booleans would redact every `true` in a message.
        Value::String(_) | Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor(secret: &str) -> Redactor {
        Redactor::new(&json!({"a": {"key": secret}}), &["/a/key".to_owned()])
    }

    #[test]
    fn numbers_and_lists_are_redacted() {
        let values = json!({"pin": 123456, "keys": ["alpha", {"b": "beta"}], "on": true});
        let pointers = ["/pin", "/keys", "/on", "/gone"].map(str::to_owned);
        let redactor = Redactor::new(&values, &pointers);
        assert_eq!(redactor.text("123456 alpha beta true"), "[REDACTED] [REDACTED] [REDACTED] true");
    }

    #[test]
    fn added_secrets_are_redacted() {
        let redactor = redactor("alpha").with_secrets(&["beta gamma".to_owned(), String::new()]);
        assert_eq!(redactor.text("alpha, beta gamma, beta%20gamma"), "[REDACTED], [REDACTED], [REDACTED]");
    }

    #[test]
    fn credential_headers_are_redacted() {
        let redactor = Redactor::default();
        assert_eq!(redactor.header("set-cookie", "abc"), REDACTED);
        assert_eq!(redactor.header("content-type", "application/json"), "application/json");
    }

    #[test]
    fn urls_in_headers_lose_their_credentials() {
        let redactor = redactor("hush-hush");
        let cases = [
            (
                "link",
                "<https://h/x?hush-hush=1&api_key=9>; rel=next",
                "<https://h/x?[REDACTED]=1&api_key=[REDACTED]>; rel=next",
            ),
            ("location", "/x/hush-hush?sig=9", "/x/[REDACTED]?sig=[REDACTED]"),
            ("content-location", "https://u:p@h/", "https://[REDACTED]@h/"),
            ("refresh", "5; url=/x?token=9", "5; url=/x?token=[REDACTED]"),
        ];
        for (name, value, clean) in cases {
            assert_eq!(redactor.header(name, value), clean);
        }
        assert_eq!(redactor.url("https://hush-hush.h/?a=aHVzaC1odXNo"), "https://[REDACTED].h/?a=[REDACTED]");
    }

    #[test]
    fn secret_is_redacted_whole_whatever_its_characters() {
        for secret in ["to=be&not#to;be", "be/or@not", "to be <or> not"] {
            let text = format!("https://h/x?token={secret} and https://u:{secret}@h/");
            assert_eq!(
                redactor(secret).url(&text),
                "https://h/x?token=[REDACTED] and https://[REDACTED]@h/",
                "{secret}"
            );
        }
    }

    #[test]
    fn empty_secret_redacts_nothing() {
        assert_eq!(redactor("").text("anything"), "anything");
    }
}
