//! Text from bytes: which encoding they are in, and what they say in it, whole or in pieces that may be cut anywhere.
//!
//! A byte order mark decides, as in the WHATWG Encoding Standard; else what the plan says; else, but for JSON, what the
//! content type says; else UTF-8. The mark is no part of the text.

use std::borrow::Cow;

use bytes::Bytes;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use orchid_plan::ResponseRules;

use super::error::DecodeError;

/// The encoding of a body without a byte order mark. JSON is UTF-8 whatever its content type says (RFC 8259, 11), unless
/// the plan says otherwise.
pub(super) fn said(
    rules: &ResponseRules,
    content_type: &str,
    json: bool,
) -> Result<&'static Encoding, DecodeError> {
    let said = plan(rules)?.or_else(|| if json { None } else { parameter(content_type) });
    Ok(said.unwrap_or(UTF_8))
}

/// As [`said`], and where nothing else says anything, what an XML declaration says.
pub(super) fn said_of_xml(
    rules: &ResponseRules,
    content_type: &str,
    bytes: &[u8],
) -> Result<&'static Encoding, DecodeError> {
    let said = plan(rules)?.or_else(|| parameter(content_type)).or_else(|| declaration(bytes));
    Ok(said.unwrap_or(UTF_8))
}

fn plan(rules: &ResponseRules) -> Result<Option<&'static Encoding>, DecodeError> {
    let Some(label) = &rules.charset else { return Ok(None) };
    match Encoding::for_label_no_replacement(label.as_bytes()) {
        Some(encoding) => Ok(Some(encoding)),
        None => Err(DecodeError::UnknownCharset(label.clone())),
    }
}

/// The content type's `charset`; none where it names no known one.
fn parameter(content_type: &str) -> Option<&'static Encoding> {
    let label = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    })?;
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// Bytes at the beginning that an XML declaration is looked for in.
const DECLARATION_MAX: usize = 256;

/// What `<?xml … encoding="…"?>` says (XML 1.0, 4.3.3). UTF-16 without a mark shows by its zero bytes; a declaration that
/// could be read as ASCII is not in UTF-16, whatever it says.
fn declaration(bytes: &[u8]) -> Option<&'static Encoding> {
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
    Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

/// The encoding of these bytes, and where their text begins.
fn marked(bytes: &[u8], said: &'static Encoding) -> (&'static Encoding, usize) {
    Encoding::for_bom(bytes).unwrap_or((said, 0))
}

/// The text as UTF-8; the bytes that came where they are that already. Bytes that the encoding does not have are an error.
pub(super) fn exact(bytes: &Bytes, said: &'static Encoding) -> Result<Bytes, DecodeError> {
    let (encoding, start) = marked(bytes, said);
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

/// The text, with U+FFFD for what the encoding does not have.
pub(super) fn lossy(bytes: &[u8], said: &'static Encoding) -> String {
    let (encoding, start) = marked(bytes, said);
    encoding.decode_without_bom_handling(&bytes[start..]).0.into_owned()
}

/// Makes text of pieces that may be cut inside of a character.
pub(super) struct Transcoder {
    decoder: Decoder,
}

impl Transcoder {
    pub(super) fn new(said: &'static Encoding) -> Transcoder {
        Transcoder { decoder: said.new_decoder() }
    }

    /// Appends what a piece says. After `last`, or an error, comes no other piece.
    pub(super) fn push(&mut self, piece: &[u8], last: bool, text: &mut String) -> Result<(), DecodeError> {
        let mut rest = piece;
        loop {
            // Where that length overflows no piece fits into memory; the loop asks again for what did not fit.
            let most = self.decoder.max_utf8_buffer_length_without_replacement(rest.len());
            text.reserve(most.unwrap_or(rest.len()));
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
    fn the_plan_is_heeded_before_the_content_type_and_a_mark_before_both() {
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
            let encoding = said(&rules(charset), content_type, false).unwrap();
            assert_eq!(lossy(bytes, encoding), text, "{charset:?} {content_type}");
        }
    }

    #[test]
    fn json_is_utf_8_unless_the_plan_says_otherwise() {
        assert_eq!(said(&rules(None), "application/json; charset=latin1", true), Ok(UTF_8));
        assert_eq!(said(&rules(Some("utf-16")), "application/json", true), Ok(UTF_16LE));
        let unknown = said(&rules(Some("klingon")), "", true).unwrap_err();
        assert_eq!(unknown.to_string(), "response.charset \"klingon\" is no known encoding");
    }

    #[test]
    fn an_xml_declaration_is_heeded_last() {
        let cases: [(&str, &[u8], &str); 6] = [
            ("", b"<?xml version='1.0' encoding='ISO-8859-2'?>", "ISO-8859-2"),
            ("", b"<?xml version=\"1.0\" encoding = \"koi8-r\" ?><a/>", "KOI8-R"),
            ("text/xml; charset=utf-8", b"<?xml version='1.0' encoding='ISO-8859-2'?>", "UTF-8"),
            ("", b"<?xml version='1.0' encoding='utf-16'?>", "UTF-8"),
            ("", b"<\0?\0x\0m\0l\0", "UTF-16LE"),
            ("", b"<a encoding='koi8-r'?>", "UTF-8"),
        ];
        for (content_type, bytes, name) in cases {
            let encoding = said_of_xml(&rules(None), content_type, bytes).unwrap();
            assert_eq!(encoding.name(), name, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_the_encoding_does_not_have_is_an_error() {
        let read = |bytes: &'static [u8], said| exact(&Bytes::from_static(bytes), said);
        assert_eq!(read(b"\xEF\xBB\xBFa", UTF_8), Ok(Bytes::from_static(b"a")));
        assert_eq!(read(b"\"\xFF\"", UTF_8), Err(DecodeError::Charset("UTF-8")));
        assert_eq!(read(b"\x81", encoding_rs::SHIFT_JIS), Err(DecodeError::Charset("Shift_JIS")));
        assert_eq!(read(b"a\x00b", UTF_16LE), Err(DecodeError::Charset("UTF-16LE")));
    }

    #[test]
    fn text_in_pieces_is_the_text_as_a_whole() {
        let text = "aü€𝄞ж\u{FEFF}";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut marked = b"\xFE\xFF".to_vec();
        marked.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        for (bytes, said) in [(text.as_bytes(), UTF_8), (&little, UTF_16LE), (&marked, UTF_8)] {
            for size in 1..=bytes.len() {
                let mut transcoder = Transcoder::new(said);
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
    fn text_that_breaks_off_inside_a_character_is_an_error() {
        let mut transcoder = Transcoder::new(UTF_8);
        let mut text = String::new();
        transcoder.push(b"a\xE2\x82", false, &mut text).unwrap();
        assert_eq!(transcoder.push(b"", true, &mut text), Err(DecodeError::Charset("UTF-8")));
        assert_eq!(text, "a");
    }
}
