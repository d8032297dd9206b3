//! Reads a whole body as what it is taken for.

use bytes::Bytes;
use encoding_rs::UTF_8;
use orchid_plan::{PathSelection, PlainPath, ResponseRules, Value};

use super::kind::{Taken, media_type};
use super::stream::{Csv, JsonLines, RowSource};
use super::{Body, DecodeError, RowDecoder, RowFormat, charset, xml};

/// A body may be so many times `max_bytes` as JSON: CSV names its fields anew in each row.
const GROWTH_MAX: u64 = 8;

/// How to read a body.
pub(crate) struct BodyReader<'a> {
    pub(crate) rules: &'a ResponseRules,
    pub(crate) content_type: &'a str,
    /// 204, HEAD and the like.
    pub(crate) bodiless: bool,
    /// The parts of a JSON body that are needed as values.
    pub(crate) parts: &'a PathSelection,
}

impl BodyReader<'_> {
    /// Reads a body.
    ///
    /// # Errors
    /// Where it is not what it is taken for. Text and bytes always read.
    pub(crate) fn read(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        if self.bodiless || bytes.is_empty() {
            return Ok(Body::Empty);
        }
        match Taken::by(self.rules, self.content_type) {
            Taken::Json => self.json(bytes),
            Taken::JsonOrText => self.json(bytes).or_else(|_| Ok(Body::Text(self.text(bytes)))),
            Taken::JsonLines => self.listed(bytes, true, RowSource::Lines(JsonLines::new(usize::MAX))),
            Taken::Csv => {
                self.listed(bytes, false, RowSource::Csv(Box::new(Csv::new(&self.rules.csv, usize::MAX)?)))
            }
            Taken::Xml => self.xml(bytes),
            Taken::Text => Ok(Body::Text(self.text(bytes))),
            Taken::Binary => {
                Ok(Body::Binary { content_type: media_type(self.content_type), bytes: bytes.clone() })
            }
        }
    }

    /// What the rows of a success are taken for that comes in pieces; none where its body is read whole.
    pub(crate) fn row_format(&self) -> Option<RowFormat> {
        if self.bodiless {
            return None;
        }
        match Taken::by(self.rules, self.content_type) {
            Taken::JsonLines => Some(RowFormat::JsonLines),
            Taken::Csv => Some(RowFormat::Csv),
            Taken::Json | Taken::JsonOrText if self.rules.stream => Some(RowFormat::JsonArray),
            Taken::Json | Taken::JsonOrText | Taken::Xml | Taken::Text | Taken::Binary => None,
        }
    }

    /// Takes the rows at `path` of the body out of its pieces; none where it is read whole. No row is longer than
    /// `max_row_bytes`.
    ///
    /// # Errors
    /// Where rows at that path cannot be taken one by one, or the encoding is unknown.
    pub(crate) fn row_decoder(
        &self,
        path: &PlainPath,
        max_row_bytes: usize,
    ) -> Result<Option<RowDecoder>, DecodeError> {
        let Some(format) = self.row_format() else { return Ok(None) };
        let encoding = charset::said(self.rules, self.content_type, format != RowFormat::Csv)?;
        RowDecoder::new(format, &self.rules.csv, path, encoding, max_row_bytes).map(Some)
    }

    /// A body as text, whatever it is.
    pub(super) fn text(&self, bytes: &Bytes) -> String {
        charset::lossy(bytes, charset::said(self.rules, self.content_type, false).unwrap_or(UTF_8))
    }

    fn json(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        let encoding = charset::said(self.rules, self.content_type, true)?;
        self.parsed(charset::exact(bytes, encoding)?)
    }

    fn xml(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        let encoding = charset::said_of_xml(self.rules, self.content_type, bytes)?;
        let text = charset::exact(bytes, encoding)?;
        let text = std::str::from_utf8(&text).map_err(|_| DecodeError::Charset(UTF_8.name()))?;
        self.parsed(Bytes::from(xml::to_json(text, &self.rules.xml_arrays)?))
    }

    fn parsed(&self, text: Bytes) -> Result<Body, DecodeError> {
        let value =
            Value::parse_selected(&text, self.parts).map_err(|error| DecodeError::Json(error.to_string()))?;
        Ok(Body::Json { text, value })
    }

    /// All rows as one list.
    fn listed(&self, bytes: &Bytes, json: bool, mut source: RowSource) -> Result<Body, DecodeError> {
        let text = charset::exact(bytes, charset::said(self.rules, self.content_type, json)?)?;
        let most = usize::try_from(self.rules.max_bytes.saturating_mul(GROWTH_MAX)).unwrap_or(usize::MAX);
        let mut list = Vec::with_capacity(text.len() + 2);
        let mut at = 0;
        list.push(b'[');
        while source.next(&text, &mut at, true, &mut list)? {
            if list.len() > most {
                return Err(DecodeError::TooLarge(most));
            }
            list.push(b',');
        }
        if list.len() > 1 {
            list.pop();
        }
        list.push(b']');
        // A list has no members: where only those are read, nothing of it is.
        if self.parts.selects_members() {
            return Ok(Body::Json { text: list.into(), value: Value::list([]) });
        }
        self.parsed(list.into())
    }
}

#[cfg(test)]
mod tests {
    use orchid_plan::{CsvHeader, CsvRules, ResponseFormat};

    use super::*;

    fn read(rules: &ResponseRules, content_type: &str, body: &[u8]) -> Result<Body, DecodeError> {
        BodyReader { rules, content_type, bodiless: false, parts: &PathSelection::ALL }
            .read(&Bytes::copy_from_slice(body))
    }

    fn auto(content_type: &str, body: &str) -> Result<Body, DecodeError> {
        read(&ResponseRules::default(), content_type, body.as_bytes())
    }

    fn json(body: Result<Body, DecodeError>) -> String {
        match body {
            Ok(Body::Json { text, value }) => {
                assert_eq!(value, Value::parse(&text).unwrap());
                String::from_utf8(text.to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_does_not_read_is_an_error() {
        for (content_type, body, error) in [
            (
                "application/json",
                "{",
                "the body is no JSON: not valid json: EOF while parsing an object at line 1 column 1",
            ),
            (
                "application/json",
                " ",
                "the body is no JSON: not valid json: EOF while parsing a value at line 1 column 1",
            ),
            (
                "application/json",
                "[1] x",
                "the body is no JSON: not valid json: trailing characters at line 1 column 5",
            ),
            ("application/jsonl", "1\n\n{\n", "line 3 of the body is no JSON: EOF while parsing an object"),
            (
                "text/csv",
                "a,b\n1\n",
                "line 2 of the CSV has another number of fields (1) than the header (2)",
            ),
            ("text/xml", "<a>", "the XML does not read at line 1: it ends inside of <a>"),
        ] {
            let refused = auto(content_type, body).unwrap_err();
            assert_eq!((refused.code(), refused.to_string().as_str()), ("DECODE", error));
        }
    }

    #[test]
    fn malformed_bytes_are_an_error_but_in_text() {
        for content_type in ["application/json", "application/x-ndjson", "text/csv", "text/xml"] {
            let refused = read(&ResponseRules::default(), content_type, b"\"\xFF\"").unwrap_err();
            assert_eq!(refused, DecodeError::Charset("UTF-8"), "{content_type}");
        }
        let read = read(&ResponseRules::default(), "text/plain", b"a\xFF").unwrap();
        assert!(matches!(read, Body::Text(text) if text == "a\u{FFFD}"));
    }

    #[test]
    fn json_stays_the_bytes_that_came() {
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
    fn nothing_is_no_body() {
        for content_type in ["", "application/json", "application/x-ndjson", "text/csv", "text/xml"] {
            assert!(matches!(auto(content_type, ""), Ok(Body::Empty)), "{content_type}");
        }
        let rules = ResponseRules::default();
        let reading = BodyReader {
            rules: &rules,
            content_type: "application/json",
            bodiless: true,
            parts: &PathSelection::ALL,
        };
        assert!(matches!(reading.read(&Bytes::from_static(b"{")), Ok(Body::Empty)));
        assert_eq!(reading.row_format(), None);
    }

    #[test]
    fn what_nobody_declared_is_json_or_text() {
        assert_eq!(json(auto("", "{}")), "{}");
        assert!(matches!(auto("", "no json"), Ok(Body::Text(text)) if text == "no json"));
    }

    #[test]
    fn a_format_that_is_said_counts_alone() {
        let rules = |format| ResponseRules { format, ..ResponseRules::default() };
        let text = read(&rules(ResponseFormat::Text), "application/json", b"{}").unwrap();
        assert!(matches!(text, Body::Text(text) if text == "{}"));
        let binary = read(&rules(ResponseFormat::Binary), "Application/JSON; x=y", b"{}").unwrap();
        assert!(matches!(binary, Body::Binary { content_type, .. } if content_type == "application/json"));
        let refused = read(&rules(ResponseFormat::Json), "text/plain", b"no json").unwrap_err();
        assert_eq!(refused.code(), "DECODE");
    }

    #[test]
    fn only_what_is_read_is_built() {
        let next = ["a".to_owned()];
        for (content_type, body, built) in [
            ("application/json", "{\"a\":1,\"b\":2}", "{\"a\":1}"),
            ("text/xml", "<a x='1'>2</a>", "{\"a\":{\"#text\":\"2\",\"@x\":\"1\"}}"),
            ("text/csv", "a\n1", "[]"),
            ("application/x-ndjson", "1\n2", "[]"),
        ] {
            let rules = ResponseRules::default();
            let reading = |parts| BodyReader { rules: &rules, content_type, bodiless: false, parts };
            let read = reading(&PathSelection::of([next.as_slice()]))
                .read(&Bytes::from_static(body.as_bytes()))
                .unwrap();
            assert_eq!(String::from_utf8(read.value().to_json()).unwrap(), built);
        }
    }

    #[test]
    fn csv_that_grows_without_measure_is_refused() {
        let csv = CsvRules { header: CsvHeader::Names(vec!["n".repeat(1000)]), ..CsvRules::default() };
        let rules = ResponseRules { max_bytes: 1000, csv, ..ResponseRules::default() };
        let refused = read(&rules, "text/csv", "1\n".repeat(500).as_bytes()).unwrap_err();
        assert_eq!(refused, DecodeError::TooLarge(8000));
        assert_eq!(refused.code(), "TOO_LARGE");
    }

    #[test]
    fn a_body_that_does_not_read_is_text_where_that_does_not_matter() {
        let rules = ResponseRules { charset: Some("klingon".to_owned()), ..ResponseRules::default() };
        let reading = BodyReader {
            rules: &rules,
            content_type: "application/json",
            bodiless: false,
            parts: &PathSelection::ALL,
        };
        let body = Body::read_lenient(&reading, &Bytes::from_static(b"<html>\xFF"));
        assert!(matches!(body, Body::Text(text) if text == "<html>\u{FFFD}"));
    }

    #[test]
    fn rows_come_one_by_one_of_what_has_them_by_its_type_and_of_json_where_the_plan_says_so() {
        let format = |stream, content_type: &str| {
            let rules = ResponseRules { stream, ..ResponseRules::default() };
            BodyReader { rules: &rules, content_type, bodiless: false, parts: &PathSelection::ALL }
                .row_format()
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
