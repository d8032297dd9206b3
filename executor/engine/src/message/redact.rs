//! Redacts secrets in the part of a message that describes a request, and in error texts.
//!
//! Secrets are the secret texts of the config in every form that a template can give them (see
//! `secret_forms`). Response bodies are never altered.

use std::borrow::Cow;

use serde_json::Value;

use super::secret_forms::forms_of;

/// The text that replaces a secret.
pub(crate) const REDACTED: &str = "[REDACTED]";

/// Words in the names of headers that carry credentials, whatever the config declares as secret.
const HEADER_WORDS: [&str; 10] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "api-key",
    "apikey",
    "access-key",
    "signature",
    "credential",
];

/// Query parameters that carry credentials or signatures; compared in lower case, without `-` and
/// `_`.
const QUERY_NAMES: [&str; 29] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "apisecret",
    "apitoken",
    "appsecret",
    "assertion",
    "auth",
    "authorization",
    "authtoken",
    "bearer",
    "clientassertion",
    "clientsecret",
    "credential",
    "idtoken",
    "jwt",
    "key",
    "oauthsignature",
    "oauthtoken",
    "passwd",
    "password",
    "pwd",
    "refreshtoken",
    "secret",
    "sessiontoken",
    "sig",
    "signature",
    "token",
    "xfunctionskey",
];

/// The secrets of one execution. It has no `Debug`, so that they cannot be logged.
#[derive(Default)]
pub(crate) struct Redactor {
    /// Every form of every secret, longest first: a shorter form inside a longer one would leave
    /// its rest in the text.
    forms: Vec<String>,
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
        self
    }

    /// Replaces the secrets in a text.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for form in &self.forms {
            // Texts rarely contain a secret: without one, nothing is copied.
            if clean.contains(form.as_str()) {
                clean = Cow::Owned(clean.replace(form.as_str(), REDACTED));
            }
        }
        clean
    }

    /// Redacts the value of a request or response header.
    pub(crate) fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if carries_credentials(name) {
            return Cow::Borrowed(REDACTED);
        }
        self.text(value)
    }

    /// Redacts user and password, the values of credential and signature parameters, and secrets in
    /// a URL.
    pub(crate) fn url(&self, url: &str) -> String {
        let (before, fragment) =
            url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
        let (before, query) =
            before.split_once('?').map_or((before, None), |(url, query)| (url, Some(query)));
        // Credentials in well-known places are removed even if the config does not declare them
        // secret.
        let mut clean = without_user(before);
        if let Some(query) = query {
            clean.push('?');
            for (index, pair) in query.split('&').enumerate() {
                if index > 0 {
                    clean.push('&');
                }
                push_pair(&mut clean, pair);
            }
        }
        if let Some(fragment) = fragment {
            clean.push('#');
            clean.push_str(fragment);
        }
        self.text(&clean).into_owned()
    }
}

/// Returns whether a header name contains one of the credential words.
fn carries_credentials(name: &str) -> bool {
    let bytes = name.as_bytes();
    let begins = |at: usize| HEADER_WORDS.iter().any(|word| bytes[at..].starts_with(word.as_bytes()));
    // Every response has a dozen headers: comparing first letters skips most offsets cheaply.
    (0..bytes.len()).any(|at| matches!(bytes[at], b'a' | b'c' | b'p' | b's' | b't') && begins(at))
}

fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{REDACTED}{}", &rest[at..]),
        None => url.to_owned(),
    }
}

fn push_pair(clean: &mut String, pair: &str) {
    let Some((name, _)) = pair.split_once('=') else {
        clean.push_str(pair);
        return;
    };
    // `api_key`, `api-key` and `apiKey` are the same name.
    let plain =
        || name.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).map(|byte| byte.to_ascii_lowercase());
    let signs = || is_signed_url_part(&plain().map(char::from).collect::<String>());
    let known = QUERY_NAMES.iter().any(|known| plain().eq(known.bytes()));
    if known || (matches!(name.as_bytes().first(), Some(b'x' | b'X')) && signs()) {
        clean.push_str(name);
        clean.push('=');
        clean.push_str(REDACTED);
    } else {
        clean.push_str(pair);
    }
}

/// Returns whether a parameter is part of a presigned URL of a large cloud, such as
/// `X-Amz-Signature`, `X-Goog-Credential` or `X-Amz-Security-Token`.
fn is_signed_url_part(plain: &str) -> bool {
    (plain.starts_with("xamz") || plain.starts_with("xgoog"))
        && ["signature", "credential", "securitytoken"].iter().any(|part| plain.ends_with(part))
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
        for name in
            ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"]
        {
            assert_eq!(redactor.header(name, "abc"), REDACTED, "{name}");
        }
        assert_eq!(redactor.header("content-type", "application/json"), "application/json");
    }

    #[test]
    fn urls_lose_user_info_credentials_and_signatures() {
        let cases = [
            ("https://u:p@h/x?page=2", "https://[REDACTED]@h/x?page=2"),
            ("https://h/x?api_key=1&page=2#f", "https://h/x?api_key=[REDACTED]&page=2#f"),
            ("https://h/x?X-Amz-Signature=ab&flag&a=b", "https://h/x?X-Amz-Signature=[REDACTED]&flag&a=b"),
            ("https://h/x?pageToken=ab", "https://h/x?pageToken=ab"),
            ("https://h/a@b", "https://h/a@b"),
        ];
        for (url, clean) in cases {
            assert_eq!(Redactor::default().url(url), clean);
        }
    }

    #[test]
    fn empty_secret_redacts_nothing() {
        assert_eq!(redactor("").text("anything"), "anything");
    }
}
