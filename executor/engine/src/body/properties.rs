//! Properties of every body: pieces have the same rows as the whole, and every read ends.

use bytes::Bytes;
use orchid_plan::{
    CsvHeader, CsvRules, PathSegment, PathSelection, PlainPath, RaggedRows, RawRows, ReadSegment,
    ResponseFormat, ResponseRules, Value, XmlRules,
};
use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::error::DecodeError;
use super::parsed_body::Body;
use super::reader::BodyReader;
use super::row_path::RowPath;
use super::row_reader::RowReader;
use super::stream::row_decoder::NextRow;
use crate::input::BodyPiece;

/// Rows up to the end or the first error.
#[derive(Debug, PartialEq)]
pub(super) struct RowsRead {
    pub(super) rows: Vec<Bytes>,
    found: bool,
    pub(super) error: Option<DecodeError>,
}

/// Creates a piece of a body that is no archive.
pub(super) fn piece_of(bytes: &[u8]) -> BodyPiece {
    Bytes::copy_from_slice(bytes).into()
}

/// Reads all rows; pieces are fed as they are needed.
fn take(rows: Result<RowReader, DecodeError>, mut pieces: impl Iterator<Item = Vec<u8>>) -> RowsRead {
    let mut read = RowsRead { rows: Vec::new(), found: false, error: None };
    let mut rows = match rows {
        Ok(rows) => rows,
        Err(error) => return RowsRead { error: Some(error), ..read },
    };
    loop {
        let next = rows.next();
        read.found = rows.found();
        match next {
            Ok(NextRow::Row(row)) => read.rows.push(row),
            Ok(NextRow::NeedMore) => match pieces.next() {
                Some(piece) => rows.feed(Bytes::from(piece).into()),
                None => rows.finish(),
            },
            Ok(NextRow::End) => {
                assert_eq!(rows.next(), Ok(NextRow::End));
                return read;
            }
            Err(error) => {
                assert_eq!(rows.next(), Err(error.clone()));
                return RowsRead { error: Some(error), found: false, ..read };
            }
        }
    }
}

pub(super) fn at(path: &PlainPath) -> RowPath<'_> {
    RowPath { path, may_be_absent: false }
}

pub(super) fn streamed(
    rules: &ResponseRules,
    path: &PlainPath,
    max: usize,
    pieces: Vec<Vec<u8>>,
) -> RowsRead {
    let reading = BodyReader::of_everything(rules, "");
    let rows = reading
        .row_decoder(&at(path), max)
        .map(|decoder| RowReader::from_decoder(decoder.expect("rows one by one")));
    take(rows, pieces.into_iter())
}

/// Reads the rows of the whole body.
fn whole(rules: &ResponseRules, path: &PlainPath, body: &[u8]) -> RowsRead {
    let reading = BodyReader::of_everything(rules, "");
    let rows = match reading.read(&Bytes::copy_from_slice(body)) {
        Ok(Body::Json { text, .. }) => RowReader::from_json(&text, &at(path)),
        Ok(Body::Empty) => RowReader::from_list(Value::null()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    take(rows, std::iter::empty())
}

pub(super) fn rules(format: ResponseFormat) -> ResponseRules {
    ResponseRules { format, stream: true, ..ResponseRules::default() }
}

/// Cuts bytes at these indexes.
fn cut(bytes: &[u8], indexes: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut offsets: Vec<usize> = indexes.iter().map(|index| index.index(bytes.len() + 1)).collect();
    offsets.extend([0, bytes.len()]);
    offsets.sort_unstable();
    offsets.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

/// Generates names that often coincide, also by an escape.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["a", "b", "\\u0061", "ü", "", "long name", "\\ud83d"][..])
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "", "", " ", "\n", "\t \r\n"][..])
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(
            &[
                "null",
                "true",
                "false",
                "0",
                "-1.50e+7",
                "12345678901234567890123",
                "1E400",
                "-0.12345678901234567890"
            ][..]
        )
        .prop_map(str::to_owned),
        prop::sample::select(
            &[
                "\"\"",
                "\"ü€𝄞\"",
                "\"[{\\\"\\\\\"",
                "\"\\ud834\\udd1e\\n\"",
                "\"]}\"",
                "\"cut \\ud83d\"",
                "\"\\udc00\\ud834\"",
            ][..]
        )
        .prop_map(str::to_owned),
    ]
}

/// Generates JSON with white space and occasional duplicate names.
fn document() -> impl Strategy<Value = String> {
    scalar().prop_recursive(5, 40, 5, |inner| {
        let spaced = (space(), inner, space())
            .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
            .boxed();
        let member = (name(), space(), spaced.clone())
            .prop_map(|(name, space, value)| format!("{space}\"{name}\"{space}:{value}"));
        prop_oneof![
            prop::collection::vec(spaced, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn path() -> impl Strategy<Value = PlainPath> {
    let step = prop_oneof![
        3 => prop::sample::select(&["a", "b", "ü", ""][..])
            .prop_map(|name| PathSegment::Member(name.to_owned())),
        1 => (0..3_i32).prop_map(PathSegment::Index),
    ];
    prop::collection::vec(step, 0..3).prop_map(PlainPath)
}

/// Generates bytes that are almost valid: fragments of every format, and random bytes.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "00e9",
        "\"a\"",
        "a",
        "tru",
        "true",
        "null",
        "1",
        "-",
        "0",
        ".",
        "e",
        "+",
        " ",
        "\n",
        "\r\n",
        "<",
        ">",
        "</",
        "/>",
        "<a>",
        "</a>",
        "<a b='1'/>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?xml version='1.0'?>",
        "<!DOCTYPE a [",
        "&amp;",
        "&#x",
        ";",
        "&",
        "=",
        "'",
        "ü",
        "a,b\n",
        "\"\"",
        "\u{feff}",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let any = prop::collection::vec(any::<u8>(), 0..4);
    prop::collection::vec(prop_oneof![12 => word, 1 => any], 0..40).prop_map(|words| words.concat())
}

fn csv_rules() -> impl Strategy<Value = CsvRules> {
    let header = prop_oneof![
        Just(CsvHeader::First),
        Just(CsvHeader::None),
        Just(CsvHeader::Names(vec!["x".to_owned(), "y".to_owned()])),
    ];
    let dialect = (
        prop::sample::select(vec![b',', b';', b'a', 0xC3]),
        prop::option::of(Just(b'"')),
        prop::option::of(Just(b'\\')),
        prop::option::of(prop::sample::select(vec![b'#', b'1'])),
    );
    let lines = (prop::sample::select(vec![0, 0, 1, 2]), prop::sample::select(vec![0, 0, 1, 3]));
    let ragged = prop::sample::select(vec![RaggedRows::Error, RaggedRows::Fill]);
    (dialect, lines, ragged, header).prop_map(
        |((delimiter, quote, escape, comment), (skip_rows, skip_footer), ragged, header)| CsvRules {
            delimiter,
            quote,
            escape,
            comment,
            skip_rows,
            skip_footer,
            ragged,
            header,
        },
    )
}

const FORMATS: [ResponseFormat; 3] = [ResponseFormat::Json, ResponseFormat::Jsonl, ResponseFormat::Csv];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn document_in_pieces_has_the_rows_of_the_whole(json in document(), path in path(), cuts in cuts()) {
        let rules = rules(ResponseFormat::Json);
        let pieces = streamed(&rules, &path, usize::MAX, cut(json.as_bytes(), &cuts));
        prop_assert_eq!(&pieces, &whole(&rules, &path, json.as_bytes()));
        for row in &pieces.rows {
            prop_assert_eq!(row.trim_ascii(), &row[..]);
            prop_assert!(serde_json::from_slice::<IgnoredAny>(row).is_ok());
        }
        // The plan crate finds rows with other code: both must agree.
        if pieces.error.is_none() {
            let found = RawRows::find(json.as_bytes(), &path).unwrap();
            prop_assert_eq!(found.rows, pieces.rows);
        }
    }

    #[test]
    fn values_are_the_same_wherever_a_body_is_read(json in document(), path in path(), cuts in cuts()) {
        let value = Value::parse(json.as_bytes());
        prop_assert!(value.is_ok(), "{:?}", value);
        let value = value.unwrap();
        // The values of the rows, in pieces, as the path reads them in the whole body.
        let rules = rules(ResponseFormat::Json);
        let pieces = streamed(&rules, &path, usize::MAX, cut(json.as_bytes(), &cuts));
        if pieces.error.is_none() {
            let mut at = value.clone();
            for segment in &path.0 {
                at = match segment {
                    PathSegment::Member(name) => at.member(name),
                    PathSegment::Index(index) => at.index(usize::try_from(*index).unwrap()),
                };
            }
            let rows: Vec<Value> = pieces.rows.iter().map(|row| Value::parse(row).unwrap()).collect();
            prop_assert_eq!(rows, at.items().map(Iterator::collect::<Vec<_>>).unwrap_or_default());
        }
        // The values of the parts that are selected.
        let names = ["a", "b"].map(|name| ReadSegment::Member(name.to_owned()));
        for selected in [&names[..1], &names[..]] {
            let part = Value::parse_selected(json.as_bytes(), &PathSelection::of([selected])).unwrap();
            let member = |at: Value, segment: &ReadSegment| match segment {
                ReadSegment::Member(name) => at.member(name),
                other => unreachable!("{other:?}"),
            };
            let of = |value: &Value| selected.iter().fold(value.clone(), member);
            prop_assert_eq!(of(&part), of(&value));
        }
        // The printed value reads as the same value again.
        prop_assert_eq!(Value::parse(&value.to_json()).unwrap(), value);
    }

    #[test]
    fn nesting_has_one_limit(levels in 990..1010_usize, object in any::<bool>(), size in 1..50_usize) {
        let (open, close) = if object { ("{\"a\":", "}") } else { ("[", "]") };
        let nested = format!("{}1{}", open.repeat(levels - 2), close.repeat(levels - 2));
        let body = format!("{{\"rows\":[{nested}]}}");
        let path = PlainPath(vec![PathSegment::Member("rows".to_owned())]);
        let rules = rules(ResponseFormat::Json);
        let pieces: Vec<Vec<u8>> = body.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
        let read = streamed(&rules, &path, usize::MAX, pieces);
        prop_assert_eq!(read.error.is_none(), levels <= 1000, "{:?}", read.error);
        prop_assert_eq!(whole(&rules, &path, body.as_bytes()).error, read.error);
        prop_assert_eq!(Value::parse(body.as_bytes()).is_ok(), levels <= 1000);
        let unread = PathSelection::of([[ReadSegment::Member("other".to_owned())].as_slice()]);
        prop_assert_eq!(Value::parse_selected(body.as_bytes(), &unread).is_ok(), levels <= 1000);
        // JSON lines are a list, which is a level too.
        let line = format!("{}1{}", open.repeat(levels - 1), close.repeat(levels - 1));
        let rules = self::rules(ResponseFormat::Jsonl);
        let rows = streamed(&rules, &PlainPath::default(), usize::MAX, vec![line.clone().into_bytes()]);
        prop_assert_eq!(rows.error.is_none(), levels <= 1000, "{:?}", rows.error);
        prop_assert_eq!(whole(&rules, &PlainPath::default(), line.as_bytes()).error, rows.error);
    }

    #[test]
    fn lines_in_pieces_are_the_rows_of_the_whole(
        values in prop::collection::vec((document(), space()), 0..6),
        cuts in cuts(),
    ) {
        let lines: Vec<String> = values
            .iter()
            .map(|(json, space)| json.replace(['\n', '\r'], " ") + &space.replace('\n', "\n\n") + "\n")
            .collect();
        let text = lines.concat();
        let rules = rules(ResponseFormat::Jsonl);
        let read = streamed(&rules, &PlainPath::default(), usize::MAX, cut(text.as_bytes(), &cuts));
        prop_assert_eq!(read.rows.len(), values.len());
        prop_assert_eq!(read, whole(&rules, &PlainPath::default(), text.as_bytes()));
    }

    #[test]
    fn csv_fields_survive_a_round_trip(
        records in prop::collection::vec(prop::collection::vec("[a-c,;\"\r\n üж]{0,6}", 3), 0..6),
        cuts in cuts(),
        utf_16 in any::<bool>(),
    ) {
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let line = |record: &Vec<String>| record.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
        let text: String = records.iter().map(line).collect();
        let mut rules = rules(ResponseFormat::Csv);
        rules.csv.header = CsvHeader::None;
        let bytes = if utf_16 {
            rules.charset = Some("utf-16le".to_owned());
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else {
            text.into_bytes()
        };
        let read = streamed(&rules, &PlainPath::default(), usize::MAX, cut(&bytes, &cuts));
        let rows: Vec<Vec<String>> = read.rows.iter().map(|row| serde_json::from_slice(row).unwrap()).collect();
        prop_assert_eq!(rows, records);
        prop_assert_eq!(read, whole(&rules, &PlainPath::default(), &bytes));
    }

    #[test]
    fn any_bytes_in_pieces_equal_the_whole(
        body in noise(),
        format in prop::sample::select(&FORMATS[..]),
        csv in csv_rules(),
        path in path(),
        cuts in cuts(),
        charset in prop::option::of(prop::sample::select(vec!["utf-16be", "shift_jis", "latin1", "iso-2022-jp"])),
    ) {
        let path = if format == ResponseFormat::Json { path } else { PlainPath::default() };
        let rules = ResponseRules { csv, charset: charset.map(str::to_owned), ..rules(format) };
        let pieces = streamed(&rules, &path, usize::MAX, cut(&body, &cuts));
        let whole = whole(&rules, &path, &body);
        // An invalid body yields the rows before the error in pieces, and none as a whole.
        prop_assert_eq!(pieces.error.is_some(), whole.error.is_some(), "{:?} {:?}", pieces, whole);
        if pieces.error.is_none() {
            prop_assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn rows_stay_within_the_limit(
        body in noise(),
        format in prop::sample::select(&FORMATS[..]),
        max in 0..30_usize,
        cuts in cuts(),
    ) {
        let bounded = streamed(&rules(format), &PlainPath::default(), max, cut(&body, &cuts));
        let free = streamed(&rules(format), &PlainPath::default(), usize::MAX, vec![body.clone()]);
        prop_assert!(bounded.rows.iter().all(|row| row.len() <= max));
        // A record behind the limit may prove that the header of a CSV is wrong, so it has no rows.
        prop_assume!(format != ResponseFormat::Csv || free.error.is_none());
        prop_assert!(free.rows.starts_with(&bounded.rows));
        if !matches!(bounded.error, Some(DecodeError::RowTooLarge { .. })) {
            prop_assert_eq!(bounded.rows, free.rows);
        }
    }

    #[test]
    fn stream_and_parser_accept_the_same_json(body in noise()) {
        // The path matches nothing, so that only the grammar is tested.
        let path = PlainPath(vec![PathSegment::Member("no such member".to_owned())]);
        let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body);
        let valid = std::str::from_utf8(text).is_ok() && serde_json::from_slice::<IgnoredAny>(text).is_ok();
        let read = streamed(&rules(ResponseFormat::Json), &path, usize::MAX, vec![body.clone()]);
        prop_assert_eq!(read.error.is_none(), valid || body.is_empty(), "{:?}", read.error);
    }

    #[test]
    fn any_bytes_in_any_format_end_as_valid_json(
        body in noise(),
        format in prop::sample::select(vec![
            ResponseFormat::Auto, ResponseFormat::Json, ResponseFormat::Jsonl, ResponseFormat::Xml,
            ResponseFormat::Csv, ResponseFormat::Text, ResponseFormat::Binary,
        ]),
        arrays in prop::collection::vec(name().prop_map(str::to_owned), 0..2),
    ) {
        let rules = ResponseRules { xml: XmlRules { arrays, ..XmlRules::default() }, ..rules(format) };
        let bytes = Bytes::from(body);
        let reading = BodyReader { parts: &PathSelection::NONE, ..BodyReader::of_everything(&rules, "") };
        if let Ok(Body::Json { text, .. }) = reading.read(&bytes) {
            prop_assert!(Value::parse(&text).is_ok() || format != ResponseFormat::Xml);
            prop_assert!(std::str::from_utf8(&text).is_ok());
        }
        let message = reading.read_lenient(&bytes).to_message_body();
        prop_assert!(serde_json::from_slice::<IgnoredAny>(&message.array()).is_ok());
    }

    #[test]
    fn xml_survives_a_round_trip(
        fields in prop::collection::vec(("[a-d]{1,2}", "[ -~üж]{0,8}"), 1..8),
        prefix in prop::option::of("[x-z]"),
    ) {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let prefix = prefix.map(|prefix| prefix + ":").unwrap_or_default();
        let element = |(name, text): &(String, String)| format!("<{prefix}{name}>{}</{prefix}{name}>\n", escape(text));
        let xml = format!("<r>{}</r>", fields.iter().map(element).collect::<String>());
        let rules = ResponseRules {
            xml: XmlRules { arrays: fields.iter().map(|(name, _)| name.clone()).collect(), ..XmlRules::default() },
            ..rules(ResponseFormat::Xml)
        };
        let reading = BodyReader::of_everything(&rules, "");
        let body = reading.read(&Bytes::from(xml)).unwrap().value().member("r");
        for (name, _) in &fields {
            let texts = fields.iter().filter(|(other, _)| other == name);
            let texts: Vec<Option<String>> = texts
                .map(|(_, text)| text.trim_matches(' ').to_owned())
                .map(|text| (!text.is_empty()).then_some(text))
                .collect();
            let member = body.member(name);
            let read: Vec<Option<String>> = member.items().unwrap().map(|item| item.to_text()).collect();
            prop_assert_eq!(read, texts);
        }
    }
}
