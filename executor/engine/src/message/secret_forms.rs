//! The forms in which a template may have put a secret into a request, or an upstream may echo it:
//! unchanged, percent-encoded, form-encoded, in a host, path or query, escaped in JSON or XML, and
//! in hexadecimal and base64, alone or inside a longer text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All except the unreserved characters of RFC 3986, as templates in a URL encode.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Shortest base64 core that is searched for; a shorter one would match by chance.
const BASE64_CORE_MIN: usize = 6;
/// Shortest secret whose hexadecimal form is searched for; a shorter one would match by chance.
const HEX_SECRET_MIN: usize = 4;

/// Returns all forms of a secret, in no particular order and possibly with duplicates.
pub(super) fn forms_of(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), xml_escaped(secret)];
    forms.extend(json_forms(secret));
    forms.extend(url_forms(secret));
    forms.extend(host_form(secret));
    if secret.len() >= HEX_SECRET_MIN {
        forms.extend([hex::encode(secret), hex::encode_upper(secret)]);
    }
    for offset in 0..3 {
        forms.extend(base64_cores(secret, offset));
    }
    forms.retain(|form| !form.is_empty());
    forms
}

/// Encodes a text as a template in a URL does.
pub(super) fn percent_encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), &ENCODED).to_string()
}

/// Returns the forms that JSON printers give it inside a string.
fn json_forms(secret: &str) -> [String; 3] {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    // Some printers escape slashes, and everything beyond ASCII.
    [inner.to_owned(), inner.replace('/', "\\/"), ascii_json(inner)]
}

/// Escapes everything beyond ASCII in JSON text.
fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    ascii
}

/// Escapes a text as the function `xml_escape` does.
fn xml_escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// Returns the forms that a template, a URL parser or a form gives it in a path, query or form
/// body.
fn url_forms(secret: &str) -> Vec<String> {
    let encoded = percent_encoded(secret);
    let mut forms = vec![
        lower_escapes(&encoded),
        // Form encoding writes spaces as `+`.
        encoded.replace("%20", "+"),
        // A URL that is a parameter of another one is encoded twice.
        percent_encoded(&encoded),
        encoded,
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
    ];
    // The URL parser has its own rules about which characters it escapes in paths and queries.
    if let Ok(mut url) = url::Url::parse("https://h/") {
        url.set_path(secret);
        url.set_query(Some(secret));
        forms.push(url.path().trim_start_matches('/').to_owned());
        forms.push(url.query().unwrap_or_default().to_owned());
    }
    forms
}

/// Returns the form that the URL parser gives it as a host or a label of one: lower case, and
/// Punycode beyond ASCII.
fn host_form(secret: &str) -> Option<String> {
    let url = url::Url::parse(&format!("https://{}/", percent_encoded(secret))).ok()?;
    url.host_str().map(str::to_owned)
}

/// Returns the base64 characters that depend only on the secret, if `offset` bytes (modulo 3)
/// precede it; also percent-encoded.
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
        .flat_map(|core| [percent_encoded(&core), lower_escapes(&percent_encoded(&core)), core])
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

    fn is_recognised(secret: &str, text: &str) -> bool {
        forms_of(secret).iter().any(|form| text.contains(form.as_str()))
    }

    #[test]
    fn secret_is_recognised_in_every_form() {
        let secret = "p/w \"x\"+é?longer&<1>";
        let percent = percent_encoded(secret);
        let in_base64 = STANDARD_NO_PAD.encode(format!("ab{secret}, and more"));
        let cases = [
            secret.to_owned(),
            percent.clone(),
            percent.to_lowercase(),
            percent.replace("%20", "+"),
            percent_encoded(&percent),
            serde_json::to_string(secret).unwrap(),
            "\"p\\/w \\\"x\\\"+é?longer&<1>\"".to_owned(),
            "\"p/w \\\"x\\\"+\\u00e9?longer&<1>\"".to_owned(),
            "p/w &quot;x&quot;+é?longer&amp;&lt;1&gt;".to_owned(),
            hex::encode(format!("user:{secret}")),
            hex::encode_upper(secret),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(format!("user:{secret}")),
            percent_encoded(&in_base64),
            lower_escapes(&percent_encoded(&in_base64)),
            in_base64,
        ];
        for case in cases {
            assert!(is_recognised(secret, &case), "{case}");
        }
    }

    #[test]
    fn secret_is_recognised_as_a_host() {
        for (secret, url) in [
            ("K3Y-Secret", "https://K3Y-Secret.example.com/x"),
            ("Bücher", "https://BÜCHER.example.com/x"),
            ("2130706433", "http://2130706433/x"),
        ] {
            let url = url::Url::parse(url).unwrap();
            assert!(is_recognised(secret, url.host_str().unwrap()), "{secret}: {url}");
        }
    }

    #[test]
    fn short_secret_has_no_forms_that_match_by_chance() {
        assert!(!is_recognised("abc", "616263"), "hexadecimal");
        assert!(!is_recognised("abc", "YWJj"), "base64");
    }
}
