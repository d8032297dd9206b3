//! The forms in which a template may have put a secret into a request: unchanged, percent-encoded,
//! form-encoded, in a path or query, escaped in JSON, and in base64, alone or inside a longer text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All except the unreserved characters of RFC 3986, as templates in a URL encode.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Shortest base64 core that is searched for; a shorter one would match by chance.
const BASE64_CORE_MIN: usize = 6;

/// Returns all forms of a secret, in no particular order and possibly with duplicates.
pub(super) fn forms_of(secret: &str) -> Vec<String> {
    let encoded = percent_encode(secret.as_bytes(), &ENCODED).to_string();
    let json = serde_json::to_string(secret).unwrap_or_default();
    let mut forms = vec![
        secret.to_owned(),
        lower_escapes(&encoded),
        // Form encoding writes spaces as `+`.
        encoded.replace("%20", "+"),
        encoded,
        json.trim_matches('"').to_owned(),
    ];
    forms.extend(url_forms(secret));
    for offset in 0..3 {
        forms.extend(base64_cores(secret, offset));
    }
    forms.retain(|form| !form.is_empty());
    forms
}

/// Returns the forms that a URL parser or a form gives it in a path, query or form body.
fn url_forms(secret: &str) -> Vec<String> {
    let mut forms = vec![url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()];
    // The URL parser has its own rules about which characters it escapes in paths and queries.
    if let Ok(mut url) = url::Url::parse("https://h/") {
        url.set_path(secret);
        url.set_query(Some(secret));
        forms.push(url.path().trim_start_matches('/').to_owned());
        forms.push(url.query().unwrap_or_default().to_owned());
    }
    forms
}

/// Returns the base64 characters that depend only on the secret, if `offset` bytes (modulo 3)
/// precede it.
fn base64_cores(secret: &str, offset: usize) -> Vec<String> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    // A base64 character holds 6 bits: the first ones mix with preceding bytes, a last partial one
    // with following bytes.
    let start = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .into_iter()
        .filter_map(|text| text.get(start..end).map(str::to_owned))
        .filter(|core| core.len() >= BASE64_CORE_MIN)
        .collect()
}

/// Lower-cases percent escapes: `%2F` becomes `%2f`.
fn lower_escapes(encoded: &str) -> String {
    let mut lower = String::with_capacity(encoded.len());
    let mut left = 0;
    for c in encoded.chars() {
        if c == '%' {
            left = 3;
        }
        lower.push(if left > 0 { c.to_ascii_lowercase() } else { c });
        left = usize::saturating_sub(left, 1);
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_recognised_in_every_form() {
        let secret = "p/w \"x\"+é?longer";
        let forms = forms_of(secret);
        let percent = percent_encode(secret.as_bytes(), &ENCODED).to_string();
        let cases = [
            secret.to_owned(),
            percent.clone(),
            percent.to_lowercase(),
            percent.replace("%20", "+"),
            serde_json::to_string(secret).unwrap(),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(format!("user:{secret}")),
            STANDARD_NO_PAD.encode(format!("ab{secret}, and more")),
        ];
        for case in cases {
            assert!(forms.iter().any(|form| case.contains(form.as_str())), "{case}");
        }
    }
}
