//! How a secret may be spelled where a template put it.
//!
//! In: a secret text. Out: every form of it that is looked for: as it is, percent-encoded, in a form, a path or a query,
//! escaped in JSON, in base64 alone or inside a longer text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All but the unreserved characters of RFC 3986, as templates in a url encode.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Base64 of a shorter core than this is left: it would match by chance.
const BASE64_CORE_MIN: usize = 6;

pub(super) fn forms_of(secret: &str) -> Vec<String> {
    let encoded = percent_encode(secret.as_bytes(), &ENCODED).to_string();
    let json = serde_json::to_string(secret).unwrap_or_default();
    let mut forms = vec![
        secret.to_owned(),
        lower_escapes(&encoded),
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

/// As it stands in a form, and where a url takes it as it is: in a path and in a query.
fn url_forms(secret: &str) -> Vec<String> {
    let mut forms = vec![url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()];
    if let Ok(mut url) = url::Url::parse("https://h/") {
        url.set_path(secret);
        url.set_query(Some(secret));
        forms.push(url.path().trim_start_matches('/').to_owned());
        forms.push(url.query().unwrap_or_default().to_owned());
    }
    forms
}

/// The characters of base64 that depend on the secret alone, where `offset` bytes (modulo 3) stand before it.
fn base64_cores(secret: &str, offset: usize) -> Vec<String> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    // Each character holds 6 bits: the first ones mix with what stands before, a last partial one with what follows.
    let start = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .into_iter()
        .filter_map(|text| text.get(start..end).map(str::to_owned))
        .filter(|core| core.len() >= BASE64_CORE_MIN)
        .collect()
}

/// `%2F` as `%2f`.
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
    fn a_secret_is_known_however_it_is_spelled() {
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
