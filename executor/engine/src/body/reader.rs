//! Reads a whole body in its detected format, and creates the decoder of a streamed one.

use bytes::Bytes;
use encoding_rs::UTF_8;
use orchid_plan::{PathSelection, ResponseFormat, ResponseRules, Value};

use super::charset::{self, Transcoder};
use super::element_list::ElementList;
use super::error::DecodeError;
use super::file_parts::FileParts;
use super::format::{BodyFormat, packed_kind};
use super::json_text::is_space;
use super::parsed_body::Body;
use super::row_path::RowPath;
use super::stream::csv::CsvParser;
use super::stream::lines::LinesParser;
use super::stream::row_decoder::{RowDecoder, RowFormat, RowParser};
use super::xml;
use crate::media_type::media_type;

/// Largest size of a body converted to JSON, as a multiple of `max_bytes`: in JSON, each row of a
/// CSV repeats the field names.
const GROWTH_MAX: u64 = 8;

/// The rules for reading the body of one response.
pub(crate) struct BodyReader<'a> {
    pub(crate) rules: &'a ResponseRules,
    pub(crate) content_type: &'a str,
    /// True if the response cannot have a body: a 204, or a response to HEAD.
    pub(crate) bodiless: bool,
    /// True if the plan reads members or rows of the body, so that text and bytes are no use.
    pub(crate) members: bool,
    /// The parts of a JSON body that expressions read; only these become values.
    pub(crate) parts: &'a PathSelection,
    /// Most memory that these values may take.
    pub(crate) max_value_bytes: usize,
}

impl<'a> BodyReader<'a> {
    /// Creates a reader of a body of which everything becomes a value.
    pub(super) fn of_everything(rules: &'a ResponseRules, content_type: &'a str) -> Self {
        let parts = &PathSelection::ALL;
        Self { rules, content_type, bodiless: false, members: false, parts, max_value_bytes: usize::MAX }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// If the body is invalid in its format, or if it is text or bytes and the plan reads members.
    pub(crate) fn read(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        if self.bodiless || bytes.is_empty() {
            return Ok(Body::Empty);
        }
        let format = BodyFormat::detect(self.rules, self.content_type);
        let is_opaque = matches!(format, BodyFormat::JsonOrText | BodyFormat::Text | BodyFormat::Binary);
        if let Some(kind) = packed_kind(bytes).filter(|_| !is_opaque || self.must_be_json()) {
            return Err(DecodeError::Packed(kind));
        }
        match format {
            BodyFormat::Json => self.json(bytes),
            BodyFormat::JsonOrText | BodyFormat::Text | BodyFormat::Binary if self.must_be_json() => {
                // Many APIs declare their JSON as text or bytes.
                if begins_like_json(bytes) { self.json(bytes) } else { Err(self.not_json(format)) }
            }
            // Many APIs send plain text errors without a content type.
            BodyFormat::JsonOrText => self.json(bytes).or_else(|_| Ok(Body::Text(self.text(bytes)))),
            BodyFormat::JsonLines => self.list(bytes, true, RowParser::Lines(LinesParser::new(usize::MAX))),
            BodyFormat::Csv => self.list(
                bytes,
                false,
                RowParser::Csv(Box::new(CsvParser::new(&self.rules.csv, usize::MAX)?)),
            ),
            BodyFormat::Xml => self.xml(bytes),
            BodyFormat::Text => Ok(Body::Text(self.text(bytes))),
            BodyFormat::Binary => {
                Ok(Body::Binary { content_type: media_type(self.content_type), bytes: bytes.clone() })
            }
        }
    }

    /// Reads a body whose content does not decide the outcome, such as that of a failed, ignored or
    /// accepted response: an invalid body becomes text.
    pub(crate) fn read_lenient(&self, bytes: &Bytes) -> Body {
        self.read(bytes).unwrap_or_else(|error| match error {
            DecodeError::NotJson { .. } => {
                Self { members: false, ..*self }.read(bytes).unwrap_or_else(|_| Body::Text(self.text(bytes)))
            }
            _ => Body::Text(self.text(bytes)),
        })
    }

    /// Returns true if the content type has no say: nothing could be read of text and bytes.
    fn must_be_json(&self) -> bool {
        self.members && self.rules.format == ResponseFormat::Auto
    }

    fn not_json(&self, format: BodyFormat) -> DecodeError {
        let kind = if format == BodyFormat::Binary { "bytes" } else { "text" };
        let content_type = match self.content_type.trim() {
            "" => "no content type".to_owned(),
            content_type => content_type.to_owned(),
        };
        DecodeError::NotJson { kind, content_type }
    }

    /// Returns the format of the rows of a streamed body, or `None` if the body is read whole.
    fn row_format(&self) -> Option<RowFormat> {
        if self.bodiless {
            return None;
        }
        match BodyFormat::detect(self.rules, self.content_type) {
            BodyFormat::JsonLines => Some(RowFormat::JsonLines),
            BodyFormat::Csv => Some(RowFormat::Csv),
            BodyFormat::Json | BodyFormat::JsonOrText if self.rules.stream => Some(RowFormat::JsonArray),
            BodyFormat::Json
            | BodyFormat::JsonOrText
            | BodyFormat::Xml
            | BodyFormat::Text
            | BodyFormat::Binary => None,
        }
    }

    /// Returns the parts of a streamed body that is text or bytes; `None` for any other.
    pub(crate) fn file_parts(&self) -> Option<FileParts> {
        match BodyFormat::detect(self.rules, self.content_type) {
            BodyFormat::Text => {
                let declared = charset::declared(self.rules, self.content_type, false);
                Some(FileParts::text(declared.unwrap_or(UTF_8)))
            }
            BodyFormat::Binary => Some(FileParts::binary(media_type(self.content_type))),
            BodyFormat::Json
            | BodyFormat::JsonOrText
            | BodyFormat::JsonLines
            | BodyFormat::Csv
            | BodyFormat::Xml => None,
        }
    }

    /// Creates the decoder of the rows at `path` in a streamed body, or `None` if the body is read
    /// whole. Rows are at most `max_row_bytes` long.
    ///
    /// # Errors
    /// If rows at that path cannot be streamed, or the encoding is unknown.
    pub(crate) fn row_decoder(
        &self,
        path: &RowPath<'_>,
        max_row_bytes: usize,
    ) -> Result<Option<RowDecoder>, DecodeError> {
        let Some(format) = self.row_format() else { return Ok(None) };
        self.decoder_of(format, path, max_row_bytes).map(Some)
    }

    /// Creates the decoder of the rows at `path` in a body that broke off, or `None` if its format
    /// has no rows before its end.
    ///
    /// # Errors
    /// As [`BodyReader::row_decoder`].
    pub(crate) fn partial_decoder(
        &self,
        path: &RowPath<'_>,
        received: &[u8],
        max_row_bytes: usize,
    ) -> Result<Option<RowDecoder>, DecodeError> {
        let format = match BodyFormat::detect(self.rules, self.content_type) {
            _ if self.bodiless => return Ok(None),
            BodyFormat::JsonLines => RowFormat::JsonLines,
            BodyFormat::Csv => RowFormat::Csv,
            BodyFormat::Json => RowFormat::JsonArray,
            BodyFormat::JsonOrText | BodyFormat::Text | BodyFormat::Binary
                if self.must_be_json() && begins_like_json(received) =>
            {
                RowFormat::JsonArray
            }
            BodyFormat::JsonOrText | BodyFormat::Text | BodyFormat::Binary | BodyFormat::Xml => {
                return Ok(None);
            }
        };
        self.decoder_of(format, path, max_row_bytes).map(Some)
    }

    fn decoder_of(
        &self,
        format: RowFormat,
        path: &RowPath<'_>,
        max_row_bytes: usize,
    ) -> Result<RowDecoder, DecodeError> {
        let json = format != RowFormat::Csv;
        let fallback = if json { charset::fallback(self.rules, self.content_type) } else { None };
        let encoding = charset::declared(self.rules, self.content_type, json)?;
        RowDecoder::new(format, &self.rules.csv, path, Transcoder::new(encoding, fallback), max_row_bytes)
    }

    /// Decodes a body as text, whatever its format.
    fn text(&self, bytes: &Bytes) -> String {
        let encoding = charset::declared(self.rules, self.content_type, false).unwrap_or(UTF_8);
        charset::decode_lossy(bytes, encoding)
    }

    fn json(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        self.parse(charset::decode_json(bytes, self.rules, self.content_type)?)
    }

    fn xml(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        let encoding = charset::declared_xml(self.rules, self.content_type, bytes)?;
        let text = charset::decode_strict(bytes, encoding)?;
        let text = std::str::from_utf8(&text).map_err(|_| DecodeError::Charset(UTF_8.name()))?;
        self.parse(Bytes::from(xml::to_json(text, &self.rules.xml)?))
    }

    pub(super) fn parse(&self, text: Bytes) -> Result<Body, DecodeError> {
        let (value, value_bytes) = Value::parse_within(&text, self.parts, self.max_value_bytes)?;
        Ok(Body::Json { text, value, value_bytes })
    }

    /// Returns the largest size of the body once it is converted to JSON.
    pub(super) fn max_converted_bytes(&self) -> usize {
        usize::try_from(self.rules.max_bytes.saturating_mul(GROWTH_MAX)).unwrap_or(usize::MAX)
    }

    /// Converts the rows of a format to one JSON list.
    fn list(&self, bytes: &Bytes, json: bool, mut parser: RowParser) -> Result<Body, DecodeError> {
        let text = if json {
            charset::decode_json(bytes, self.rules, self.content_type)?
        } else {
            charset::decode_strict(bytes, charset::declared(self.rules, self.content_type, false)?)?
        };
        let mut list = ElementList::new(self.max_converted_bytes(), text.len() + 2);
        let mut offset = 0;
        while parser.next(&text, &mut offset, true, list.end())? {
            list.end_element()?;
        }
        let list = list.finish();
        // A list has no members: if expressions read only members, no element is needed as a value.
        if self.parts.leaves_out_lists() {
            return Ok(Body::Json { text: list, value: Value::list([]), value_bytes: 0 });
        }
        self.parse(list)
    }
}

/// Returns whether a body begins with a list or an object, after white space and a byte order mark.
fn begins_like_json(bytes: &[u8]) -> bool {
    /// Bytes of a body in UTF-16 that are decoded to find its beginning.
    const HEAD_MAX: usize = 256;
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let first = text.iter().find(|byte| !is_space(**byte));
    matches!(first, Some(b'[' | b'{'))
        || (matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..])
            && charset::decode_lossy(&bytes[..bytes.len().min(HEAD_MAX)], UTF_8)
                .trim_start()
                .starts_with(['[', '{']))
}

#[cfg(test)]
mod tests {
    use orchid_plan::{CsvHeader, CsvRules, ReadSegment, ResponseFormat};

    use super::*;

    fn read(rules: &ResponseRules, content_type: &str, body: &[u8]) -> Result<Body, DecodeError> {
        BodyReader::of_everything(rules, content_type).read(&Bytes::copy_from_slice(body))
    }

    fn auto(content_type: &str, body: &str) -> Result<Body, DecodeError> {
        read(&ResponseRules::default(), content_type, body.as_bytes())
    }

    fn json(body: Result<Body, DecodeError>) -> String {
        match body {
            Ok(Body::Json { text, value, .. }) => {
                assert_eq!(value, Value::parse(&text).unwrap());
                String::from_utf8(text.to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn invalid_body_is_an_error() {
        for (content_type, body, error) in [
            ("application/json", "{", "the body is no JSON: unexpected end at byte 1"),
            ("application/json", " ", "the body is no JSON: unexpected end at byte 1"),
            ("application/json", "[1] x", "the body is no JSON: unexpected text after the end at byte 5"),
            ("application/jsonl", "1\n\n{\n", "line 3 of the body is no JSON: unexpected end"),
            (
                "text/csv",
                "a,b\n1\n",
                "line 2 of the CSV has another number of fields (1) than the header (2); response.csv.skip_rows \
                 leaves out lines above the header, skip_footer lines below the rows, and ragged: fill allows \
                 rows of any length",
            ),
            ("text/xml", "<a>", "the XML does not read at line 1: unexpected end inside of <a>"),
        ] {
            let refused = auto(content_type, body).unwrap_err();
            assert_eq!((refused.code(), refused.to_string().as_str()), ("DECODE", error));
        }
    }

    #[test]
    fn invalid_bytes_are_an_error_except_in_text() {
        for content_type in ["application/json", "application/x-ndjson", "text/csv", "text/xml"] {
            let refused = read(&ResponseRules::default(), content_type, b"\"\xFF\"").unwrap_err();
            assert_eq!(refused, DecodeError::Charset("UTF-8"), "{content_type}");
        }
        let read = read(&ResponseRules::default(), "text/plain", b"a\xFF").unwrap();
        assert!(matches!(read, Body::Text(text) if text == "a\u{FFFD}"));
    }

    #[test]
    fn body_of_any_type_is_json_if_members_are_read() {
        let rules = ResponseRules::default();
        let reading = |content_type, bytes: &'static [u8]| {
            let reader = BodyReader { members: true, ..BodyReader::of_everything(&rules, content_type) };
            (reader.read(&Bytes::from_static(bytes)), reader.read_lenient(&Bytes::from_static(bytes)))
        };
        for content_type in [
            "text/plain",
            "text/html; charset=utf-8",
            "application/octet-stream",
            "application/javascript",
            "text/html, application/json",
            "no type at all",
            "",
        ] {
            for body in ["{\"a\":1}", " \n[1]", "\u{feff}{}"] {
                let (read, _) = reading(content_type, body.as_bytes());
                assert!(matches!(read, Ok(Body::Json { .. })), "{content_type} {body:?}");
            }
            let (read, _) = reading(content_type, b"\xFF\xFE{\0}\0");
            assert!(matches!(read, Ok(Body::Json { .. })), "{content_type} in UTF-16");
            let (refused, lenient) = reading(content_type, b"<html>");
            assert_eq!(refused.unwrap_err().code(), "DECODE");
            assert!(matches!(lenient, Body::Text(_) | Body::Binary { .. }));
            assert_eq!(reading(content_type, b"{broken").0.unwrap_err().code(), "DECODE");
            assert!(matches!(reading(content_type, b"").0, Ok(Body::Empty)));
        }
        let message = reading("text/html", b"<html>").0.unwrap_err().to_string();
        assert_eq!(
            message,
            "the body is text (text/html), and the plan reads members of it: if it is JSON, set \
             response.format to \"json\""
        );
    }

    #[test]
    fn json_keeps_its_bytes() {
        assert_eq!(json(auto("application/json", "\u{feff} [1.10, \"\\u00e9\"] ")), " [1.10, \"\\u00e9\"] ");
        let utf_16: Vec<u8> = "\u{feff}{\"a\": \"ü\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(json(read(&ResponseRules::default(), "application/json", &utf_16)), "{\"a\": \"ü\"}");
        let rules = ResponseRules { charset: Some("latin1".to_owned()), ..ResponseRules::default() };
        assert_eq!(json(read(&rules, "application/json", b"\"\xFC\"")), "\"ü\"");
    }

    #[test]
    fn lines_and_csv_become_lists_and_xml_an_object() {
        for (content_type, body, text) in [
            ("application/x-ndjson", " {\"a\": 1.10}\r\n\n2", "[{\"a\": 1.10},2]"),
            ("application/x-ndjson", "\n\n", "[]"),
            ("text/csv", "a,b\n1,\"x\"\"y\"\n", r#"[{"a":"1","b":"x\"y"}]"#),
            ("text/csv", "a,b\n", "[]"),
            ("text/xml", "<a><b>1</b></a>", r#"{"a":{"b":"1"}}"#),
        ] {
            assert_eq!(json(auto(content_type, body)), text, "{body:?}");
        }
    }

    #[test]
    fn zero_bytes_are_an_empty_body() {
        for content_type in ["", "application/json", "application/x-ndjson", "text/csv", "text/xml"] {
            assert!(matches!(auto(content_type, ""), Ok(Body::Empty)), "{content_type}");
        }
        let rules = ResponseRules::default();
        let reading = BodyReader { bodiless: true, ..BodyReader::of_everything(&rules, "application/json") };
        assert!(matches!(reading.read(&Bytes::from_static(b"{")), Ok(Body::Empty)));
        assert_eq!(reading.row_format(), None);
    }

    #[test]
    fn body_without_content_type_is_json_or_text() {
        assert_eq!(json(auto("", "{}")), "{}");
        assert!(matches!(auto("", "no json"), Ok(Body::Text(text)) if text == "no json"));
    }

    #[test]
    fn plan_format_ignores_the_content_type() {
        let rules = |format| ResponseRules { format, ..ResponseRules::default() };
        let text = read(&rules(ResponseFormat::Text), "application/json", b"{}").unwrap();
        assert!(matches!(text, Body::Text(text) if text == "{}"));
        let binary = read(&rules(ResponseFormat::Binary), "Application/JSON; x=y", b"{}").unwrap();
        assert!(matches!(binary, Body::Binary { content_type, .. } if content_type == "application/json"));
        let refused = read(&rules(ResponseFormat::Json), "text/plain", b"no json").unwrap_err();
        assert_eq!(refused.code(), "DECODE");
    }

    #[test]
    fn only_parts_that_are_read_become_values() {
        let next = [ReadSegment::Member("a".to_owned())];
        for (content_type, body, built) in [
            ("application/json", "{\"a\":1,\"b\":2}", "{\"a\":1}"),
            ("text/xml", "<a x='1'>2</a>", "{\"a\":{\"#text\":\"2\",\"@x\":\"1\"}}"),
            ("text/csv", "a\n1", "[]"),
            ("application/x-ndjson", "1\n2", "[]"),
        ] {
            let rules = ResponseRules::default();
            let parts = &PathSelection::of([next.as_slice()]);
            let read = BodyReader { parts, ..BodyReader::of_everything(&rules, content_type) }
                .read(&Bytes::from_static(body.as_bytes()))
                .unwrap();
            assert_eq!(String::from_utf8(read.value().to_json()).unwrap(), built);
        }
    }

    #[test]
    fn csv_that_grows_too_much_as_json_is_refused() {
        let csv = CsvRules { header: CsvHeader::Names(vec!["n".repeat(1000)]), ..CsvRules::default() };
        let rules = ResponseRules { max_bytes: 1000, csv, ..ResponseRules::default() };
        let refused = read(&rules, "text/csv", "1\n".repeat(500).as_bytes()).unwrap_err();
        assert_eq!(refused, DecodeError::TooLarge(8000));
        assert_eq!(refused.code(), "TOO_LARGE");
    }

    #[test]
    fn values_that_take_too_much_memory_are_refused() {
        let rules = ResponseRules::default();
        let reader = BodyReader { max_value_bytes: 10_000, ..BodyReader::of_everything(&rules, "text/csv") };
        let csv = Bytes::from("a,b\n".to_owned() + &"1,2\n".repeat(50));
        let refused = reader.read(&csv).unwrap_err();
        assert_eq!((refused.code(), &refused), ("TOO_LARGE", &DecodeError::ValuesTooLarge(10_000)));
        let count = [ReadSegment::Size];
        let parts = &PathSelection::of([count.as_slice()]);
        let read = BodyReader { parts, ..reader }.read(&csv).unwrap();
        assert_eq!(read.value().length(), Some(50));
        assert!((1..1000).contains(&read.value_bytes()), "{}", read.value_bytes());
    }

    #[test]
    fn lenient_read_of_an_invalid_body_is_text() {
        let rules = ResponseRules { charset: Some("klingon".to_owned()), ..ResponseRules::default() };
        let reading = BodyReader::of_everything(&rules, "application/json");
        let body = reading.read_lenient(&Bytes::from_static(b"<html>\xFF"));
        assert!(matches!(body, Body::Text(text) if text == "<html>\u{FFFD}"));
    }

    #[test]
    fn row_formats_are_streamed_and_json_only_with_stream() {
        let format = |stream, content_type: &str| {
            let rules = ResponseRules { stream, ..ResponseRules::default() };
            BodyReader::of_everything(&rules, content_type).row_format()
        };
        for stream in [false, true] {
            assert_eq!(format(stream, "application/x-ndjson"), Some(RowFormat::JsonLines));
            assert_eq!(format(stream, "text/csv"), Some(RowFormat::Csv));
            assert_eq!(format(stream, "text/xml"), None);
            assert_eq!(format(stream, "application/json"), stream.then_some(RowFormat::JsonArray));
            assert_eq!(format(stream, ""), stream.then_some(RowFormat::JsonArray));
        }
    }
}
