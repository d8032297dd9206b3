//! The beginning of a response body, for the error that the response led to.

use super::body::{BodyKind, MessageBody};
use super::json;
use super::redact::Redactor;

/// Most bytes of a body that an error shows.
const EXCERPT_MAX: usize = 1024;

/// Returns the first KiB of a body of text or JSON on one line, with secrets redacted; empty if the
/// body is empty or binary.
pub(crate) fn excerpt(body: &MessageBody, redactor: &Redactor) -> String {
    // A secret that begins in the excerpt is redacted as a whole, so what follows is looked at,
    // too. What the end of the window cuts in half is dropped again.
    let window = EXCERPT_MAX + 2 * redactor.longest_form();
    let text = match body.kind {
        BodyKind::Binary | BodyKind::Empty => return String::new(),
        BodyKind::Text => body.as_text().unwrap_or_default(),
        BodyKind::Array | BodyKind::Object | BodyKind::Scalar | BodyKind::Rows => {
            // An escape takes six bytes at most: this fills the window, and is not the whole body.
            without_escapes(json::truncate_text(&body.received_json(), 6 * (window + 1)))
        }
    };
    let window = json::truncate_text(&text, window);
    let clean = redactor.prose(window);
    let certain = if window.len() < text.len() {
        json::truncate_text(&clean, clean.len().saturating_sub(redactor.longest_form()))
    } else {
        &clean
    };
    json::truncate_text(&on_one_line(certain), EXCERPT_MAX).to_owned()
}

/// Replaces the escapes that some JSON printers use in URLs, so that URLs are recognised.
fn without_escapes(json: &str) -> String {
    json.replace("\\/", "/").replace("\\u0026", "&").replace("\\u003d", "=")
}

/// Replaces white space and control characters, which would disturb a terminal, by single spaces.
fn on_one_line(text: &str) -> String {
    let is_space = |letter: char| letter.is_whitespace() || letter.is_control();
    text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of_json(text: &'static str, secrets: &[&str]) -> String {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        excerpt(
            &MessageBody::json(&Bytes::from_static(text.as_bytes())),
            &Redactor::default().with_secrets(&secrets),
        )
    }

    #[test]
    fn bodies_of_text_and_json_are_shown_on_one_line() {
        assert_eq!(
            of_json("{\n  \"message\": \"limit must be\\tat most 50\"\n}", &[]),
            "{ \"message\": \"limit must be\\tat most 50\" }"
        );
        assert_eq!(of_json("[1,\n2]", &[]), "[1, 2]");
        assert_eq!(of_json("\"no\"", &[]), "\"no\"");
        assert_eq!(of_json("", &[]), "");
        let html = MessageBody::text("<html>\n\t<p>\u{1b}[31mLog in</p>");
        assert_eq!(excerpt(&html, &Redactor::default()), "<html> <p> [31mLog in</p>");
        let binary = MessageBody::binary(br#"{"_base64":"aGk="}"#.to_vec());
        assert_eq!(excerpt(&binary, &Redactor::default()), "");
    }

    #[test]
    fn secrets_and_credentials_are_redacted() {
        let body = r#"{"url":"https:\/\/h\/x?a=1\u0026api_key=7","said":"key hush-hush is aHVzaC1odXNo"}"#;
        assert_eq!(
            of_json(body, &["hush-hush"]),
            r#"{"url":"https://h/x?a=1&api_key=[REDACTED]","said":"key [REDACTED] is [REDACTED]"}"#
        );
    }

    #[test]
    fn long_body_is_cut_and_shows_no_half_of_a_secret() {
        let secret = "0123456789abcdefghij";
        let redactor = Redactor::default().with_secrets(&[secret.to_owned()]);
        for before in (0..1200).step_by(5) {
            let body =
                MessageBody::text(&format!("{}{secret}{secret}{}", "é".repeat(before / 2), "z".repeat(2000)));
            let shown = excerpt(&body, &redactor);
            assert!(
                shown.len() <= EXCERPT_MAX && shown.len() >= EXCERPT_MAX - 200,
                "{before}: {}",
                shown.len()
            );
            assert!(!shown.contains("0123") && !shown.contains("ghij"), "{before}: {shown}");
        }
    }
}
