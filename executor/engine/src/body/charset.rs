//! Detects the encoding of a body and decodes it, whole or in pieces cut anywhere.
//!
//! In order of precedence, the encoding comes from a byte order mark (as in the WHATWG Encoding
//! Standard), the plan, the content type, and finally UTF-8. The mark is not part of the text. JSON
//! is UTF-8, and what its content type declares counts only if it is not.

use std::borrow::Cow;

use bytes::Bytes;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use orchid_plan::ResponseRules;

use super::error::DecodeError;

/// Returns the declared encoding, which applies to a body without a byte order mark.
///
/// JSON is UTF-8 whatever its content type declares (RFC 8259, 11), unless the plan sets another;
/// see [`fallback`].
pub(super) fn declared(
    rules: &ResponseRules,
    content_type: &str,
    json: bool,
) -> Result<&'static Encoding, DecodeError> {
    let from_type = || if json { None } else { from_content_type(content_type) };
    Ok(from_plan(rules)?.or_else(from_type).unwrap_or(UTF_8))
}

/// Returns the encoding of JSON that is not valid UTF-8, if its content type declares one and the
/// plan sets none.
pub(super) fn fallback(rules: &ResponseRules, content_type: &str) -> Option<&'static Encoding> {
    let declared = || from_content_type(content_type).filter(|encoding| *encoding != UTF_8);
    if rules.charset.is_none() { declared() } else { None }
}

/// Returns the declared encoding of XML: like [`declared`], with the XML declaration as the last
/// source.
pub(super) fn declared_xml(
    rules: &ResponseRules,
    content_type: &str,
    bytes: &[u8],
) -> Result<&'static Encoding, DecodeError> {
    let declared =
        from_plan(rules)?.or_else(|| from_content_type(content_type)).or_else(|| from_xml_declaration(bytes));
    Ok(declared.unwrap_or(UTF_8))
}

fn from_plan(rules: &ResponseRules) -> Result<Option<&'static Encoding>, DecodeError> {
    let Some(label) = &rules.charset else { return Ok(None) };
    match Encoding::for_label_no_replacement(label.as_bytes()) {
        Some(encoding) => Ok(Some(encoding)),
        None => Err(DecodeError::UnknownCharset(label.clone())),
    }
}

/// Returns the encoding of the content type's `charset` parameter, if it is a known one.
fn from_content_type(content_type: &str) -> Option<&'static Encoding> {
    let label = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        // A repeated header is joined with a comma.
        let value = value.split(',').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    })?;
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// Bytes at the start of a body that are searched for an XML declaration.
const DECLARATION_MAX: usize = 256;

/// Returns the encoding of `<?xml … encoding="…"?>` (XML 1.0, 4.3.3).
fn from_xml_declaration(bytes: &[u8]) -> Option<&'static Encoding> {
    // UTF-16 without a byte order mark is recognised by the zero bytes of its ASCII characters.
    match bytes {
        [b'<', 0, b'?', 0, ..] => return Some(UTF_16LE),
        [0, b'<', 0, b'?', ..] => return Some(UTF_16BE),
        _ => {}
    }
    let head = &bytes[..bytes.len().min(DECLARATION_MAX)];
    let head = String::from_utf8_lossy(head);
    let (declaration, _) = head.strip_prefix("<?xml")?.split_once("?>")?;
    let (_, rest) = declaration.split_once("encoding")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (label, _) = rest[1..].split_once(quote)?;
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    // A declaration that was readable as ASCII cannot be in UTF-16, whatever it declares.
    Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

/// Returns the encoding of these bytes and the offset of their text after a byte order mark.
fn detect_mark(bytes: &[u8], declared: &'static Encoding) -> (&'static Encoding, usize) {
    Encoding::for_bom(bytes).unwrap_or((declared, 0))
}

/// Decodes a body to UTF-8 without copying it if it is UTF-8 already.
///
/// # Errors
/// If the bytes are invalid in the encoding.
pub(super) fn decode_strict(bytes: &Bytes, declared: &'static Encoding) -> Result<Bytes, DecodeError> {
    let (encoding, start) = detect_mark(bytes, declared);
    let bytes = bytes.slice(start..);
    if encoding == UTF_8 {
        return match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(bytes),
            Err(_) => Err(DecodeError::Charset(encoding.name())),
        };
    }
    match encoding.decode_without_bom_handling_and_without_replacement(&bytes) {
        Some(Cow::Borrowed(_)) => Ok(bytes),
        Some(Cow::Owned(text)) => Ok(Bytes::from(text)),
        None => Err(DecodeError::Charset(encoding.name())),
    }
}

/// Decodes JSON: as UTF-8, or in the encoding that its content type declares.
///
/// # Errors
/// If the bytes are invalid in both.
pub(super) fn decode_json(
    bytes: &Bytes,
    rules: &ResponseRules,
    content_type: &str,
) -> Result<Bytes, DecodeError> {
    let decoded = decode_strict(bytes, declared(rules, content_type, true)?);
    match (decoded, fallback(rules, content_type)) {
        // The first error names UTF-8, which JSON should be.
        (Err(error), Some(encoding)) => decode_strict(bytes, encoding).map_err(|_| error),
        (decoded, _) => decoded,
    }
}

/// Decodes a body, with U+FFFD in place of invalid bytes.
pub(super) fn decode_lossy(bytes: &[u8], declared: &'static Encoding) -> String {
    let (encoding, start) = detect_mark(bytes, declared);
    encoding.decode_without_bom_handling(&bytes[start..]).0.into_owned()
}

/// A decoder of pieces that may be cut inside a character.
pub(super) struct Transcoder {
    decoder: Decoder,
    /// The encoding of JSON that is not UTF-8, until the first piece that is not ASCII has decided.
    fallback: Option<&'static Encoding>,
}

impl Transcoder {
    /// Creates a decoder. `fallback` is the encoding of a body that turns out not to be UTF-8.
    pub(super) fn new(declared: &'static Encoding, fallback: Option<&'static Encoding>) -> Self {
        Self { decoder: declared.new_decoder(), fallback }
    }

    /// Decides between UTF-8 and the fallback at the first piece that is not ASCII. Rows before it
    /// are the same in both.
    fn decide(&mut self, piece: &[u8]) {
        if piece.is_ascii() {
            return;
        }
        if let Some(encoding) = self.fallback.take()
            && std::str::from_utf8(piece).is_err_and(|error| error.error_len().is_some())
        {
            self.decoder = encoding.new_decoder();
        }
    }

    /// Appends the text of a piece. No piece may follow a `last` one or an error.
    ///
    /// # Errors
    /// If the bytes are invalid in the encoding; `text` then holds everything before them.
    pub(super) fn push(&mut self, piece: &[u8], last: bool, text: &mut String) -> Result<(), DecodeError> {
        self.decide(piece);
        let mut rest = piece;
        loop {
            // The maximum overflows only for pieces larger than memory; the loop copes with too
            // little room.
            let needed = self.decoder.max_utf8_buffer_length_without_replacement(rest.len());
            text.reserve(needed.unwrap_or(rest.len()));
            let (result, read) = self.decoder.decode_to_string_without_replacement(rest, text, last);
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    return Err(DecodeError::Charset(self.decoder.encoding().name()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(charset: Option<&str>) -> ResponseRules {
        ResponseRules { charset: charset.map(str::to_owned), ..ResponseRules::default() }
    }

    #[test]
    fn mark_overrides_plan_and_plan_overrides_content_type() {
        let german: &[u8] = b"\xFC";
        let cases: [(Option<&str>, &str, &[u8], &str); 9] = [
            (None, "text/plain", "ü".as_bytes(), "ü"),
            (None, "text/plain; charset=ISO-8859-1", german, "ü"),
            (None, "text/plain; Charset=\"latin1\"; x=y", german, "ü"),
            (Some("windows-1251"), "text/plain; charset=latin1", german, "ь"),
            (Some("windows-1251"), "text/plain", b"\xEF\xBB\xBF\xC3\xBC", "ü"),
            (None, "text/plain; charset=latin1", b"\xFF\xFE\xFC\x00", "ü"),
            (None, "text/plain", b"\xFE\xFF\x00\xFC", "ü"),
            (None, "text/plain; charset=klingon", "ü".as_bytes(), "ü"),
            (None, "text/plain", german, "\u{FFFD}"),
        ];
        for (charset, content_type, bytes, text) in cases {
            let encoding = declared(&rules(charset), content_type, false).unwrap();
            assert_eq!(decode_lossy(bytes, encoding), text, "{charset:?} {content_type}");
        }
    }

    #[test]
    fn json_is_utf_8_unless_the_plan_sets_a_charset() {
        assert_eq!(declared(&rules(None), "application/json; charset=latin1", true), Ok(UTF_8));
        assert_eq!(declared(&rules(Some("utf-16")), "application/json", true), Ok(UTF_16LE));
        let unknown = declared(&rules(Some("klingon")), "", true).unwrap_err();
        assert_eq!(unknown.to_string(), "response.charset \"klingon\" is not a known encoding");
    }

    #[test]
    fn json_that_is_not_utf_8_is_read_as_its_content_type_says() {
        let read = |content_type, bytes: &'static [u8]| {
            decode_json(&Bytes::from_static(bytes), &rules(None), content_type)
        };
        assert_eq!(read("application/json; charset=latin1", b"\"\xFC\""), Ok(Bytes::from("\"ü\"")));
        assert_eq!(read("application/json; charset=latin1", b"\"\xC3\xBC\""), Ok(Bytes::from("\"ü\"")));
        assert_eq!(read("application/json", b"\"\xFC\""), Err(DecodeError::Charset("UTF-8")));
        let twice = "application/json; charset=latin1, application/json; charset=latin1";
        assert_eq!(read(twice, b"\"\xFC\""), Ok(Bytes::from("\"ü\"")));
        let planned = decode_json(
            &Bytes::from_static(b"\xFC"),
            &rules(Some("utf-8")),
            "application/json; charset=latin1",
        );
        assert_eq!(planned, Err(DecodeError::Charset("UTF-8")));
        for size in 1..4 {
            let mut transcoder = Transcoder::new(UTF_8, Some(encoding_rs::WINDOWS_1252));
            let mut text = String::new();
            for piece in b"[\"a\", \"\xFC\"]".chunks(size) {
                transcoder.push(piece, false, &mut text).unwrap();
            }
            assert_eq!(text, "[\"a\", \"ü\"]", "{size}");
        }
    }

    #[test]
    fn xml_declaration_is_the_last_source() {
        let cases: [(&str, &[u8], &str); 6] = [
            ("", b"<?xml version='1.0' encoding='ISO-8859-2'?>", "ISO-8859-2"),
            ("", b"<?xml version=\"1.0\" encoding = \"koi8-r\" ?><a/>", "KOI8-R"),
            ("text/xml; charset=utf-8", b"<?xml version='1.0' encoding='ISO-8859-2'?>", "UTF-8"),
            ("", b"<?xml version='1.0' encoding='utf-16'?>", "UTF-8"),
            ("", b"<\0?\0x\0m\0l\0", "UTF-16LE"),
            ("", b"<a encoding='koi8-r'?>", "UTF-8"),
        ];
        for (content_type, bytes, name) in cases {
            let encoding = declared_xml(&rules(None), content_type, bytes).unwrap();
            assert_eq!(encoding.name(), name, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn invalid_bytes_are_an_error() {
        let read = |bytes: &'static [u8], declared| decode_strict(&Bytes::from_static(bytes), declared);
        assert_eq!(read(b"\xEF\xBB\xBFa", UTF_8), Ok(Bytes::from_static(b"a")));
        assert_eq!(read(b"\"\xFF\"", UTF_8), Err(DecodeError::Charset("UTF-8")));
        assert_eq!(read(b"\x81", encoding_rs::SHIFT_JIS), Err(DecodeError::Charset("Shift_JIS")));
        assert_eq!(read(b"a\x00b", UTF_16LE), Err(DecodeError::Charset("UTF-16LE")));
    }

    #[test]
    fn text_in_pieces_equals_the_whole_text() {
        let text = "aü€𝄞ж\u{FEFF}";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut marked = b"\xFE\xFF".to_vec();
        marked.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        for (bytes, declared) in [(text.as_bytes(), UTF_8), (&little, UTF_16LE), (&marked, UTF_8)] {
            for size in 1..=bytes.len() {
                let mut transcoder = Transcoder::new(declared, None);
                let mut whole = String::new();
                for piece in bytes.chunks(size) {
                    transcoder.push(piece, false, &mut whole).unwrap();
                }
                transcoder.push(b"", true, &mut whole).unwrap();
                assert_eq!(whole, text, "{size}");
            }
        }
    }

    #[test]
    fn text_cut_inside_a_character_is_an_error() {
        let mut transcoder = Transcoder::new(UTF_8, None);
        let mut text = String::new();
        transcoder.push(b"a\xE2\x82", false, &mut text).unwrap();
        assert_eq!(transcoder.push(b"", true, &mut text), Err(DecodeError::Charset("UTF-8")));
        assert_eq!(text, "a");
    }
}
