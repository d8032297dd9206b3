//! Tests of streams: rows come out as early as they can, and little is held.

use bytes::Bytes;
use orchid_plan::{PathSegment, PlainPath, ResponseFormat, Value};

use super::error::DecodeError;
use super::properties::{at, piece_of, rules, streamed};
use super::reader::BodyReader;
use super::row_reader::RowReader;
use super::stream::row_decoder::NextRow;

#[test]
fn early_piece_is_buffered() {
    let rules = rules(ResponseFormat::Jsonl);
    let reading = BodyReader::of_everything(&rules, "");
    let mut rows =
        RowReader::from_decoder(reading.row_decoder(&at(&PlainPath::default()), 99).unwrap().unwrap());
    assert_eq!(rows.next(), Ok(NextRow::NeedMore));
    rows.feed(piece_of(b"1\n2\n"));
    assert_eq!(rows.next(), Ok(NextRow::Row(Bytes::from_static(b"1"))));
    rows.feed(piece_of(b"3\n4"));
    rows.finish();
    rows.feed(piece_of(b"no more"));
    for row in ["2", "3", "4"] {
        assert_eq!(rows.next(), Ok(NextRow::Row(Bytes::from_static(row.as_bytes()))));
    }
    assert_eq!(rows.next(), Ok(NextRow::End));
}

#[test]
fn rows_before_an_encoding_error_come_first() {
    let read = streamed(
        &rules(ResponseFormat::Jsonl),
        &PlainPath::default(),
        99,
        vec![b"1\n2\n\"\xFF\"\n3".to_vec(), b"4\n".to_vec()],
    );
    assert_eq!(read.rows, [Bytes::from_static(b"1"), Bytes::from_static(b"2")]);
    assert_eq!(read.error, Some(DecodeError::Charset("UTF-8")));
}

#[test]
fn lines_and_csv_have_no_rows_at_a_path() {
    let path = PlainPath(vec![PathSegment::Member("items".to_owned())]);
    for format in [ResponseFormat::Jsonl, ResponseFormat::Csv] {
        let read = streamed(&rules(format), &path, 99, Vec::new());
        assert!(matches!(read.error, Some(DecodeError::NotStreamable(_))), "{read:?}");
    }
}

#[test]
fn stream_holds_one_row_and_one_piece() {
    let rules = rules(ResponseFormat::Json);
    let reading = BodyReader::of_everything(&rules, "");
    let path = PlainPath(vec![PathSegment::Member("rows".to_owned())]);
    let mut rows = RowReader::from_decoder(reading.row_decoder(&at(&path), 1 << 10).unwrap().unwrap());
    let row = format!("{{\"text\":\"{}\"}},", "x".repeat(500));
    let piece = row.repeat(100);
    rows.feed(piece_of(b"{\"before\":["));
    for _ in 0..100 {
        rows.feed(piece_of(b"[\"passed over\",{\"rows\":[1]}],"));
        assert_eq!(rows.next(), Ok(NextRow::NeedMore));
    }
    rows.feed(piece_of(b"0],\"rows\":["));
    let mut taken = 0;
    for _ in 0..100 {
        rows.feed(piece_of(piece.as_bytes()));
        while let NextRow::Row(row) = rows.next().unwrap() {
            taken += 1;
            assert_eq!(row.len(), 511);
        }
        let RowReader::Stream(decoder) = &rows else { panic!("a stream") };
        assert!(decoder.held() <= 3 * piece.len() + 4096, "{}", decoder.held());
    }
    assert_eq!(taken, 10_000);
    rows.feed(piece_of(b"0],\"after\":{}}"));
    rows.finish();
    assert_eq!(rows.next(), Ok(NextRow::Row(Bytes::from_static(b"0"))));
    assert_eq!(rows.next(), Ok(NextRow::End));
}

/// Checks the examples in the plan language guide: each body with the JSON it becomes.
#[test]
fn guide_examples_are_correct() {
    const PAGE: &str = include_str!("../../../../docs/plan-language.md");
    let section = PAGE.split("\n## ").find(|section| section.starts_with("Responses\n")).unwrap();
    let blocks: Vec<(&str, &str)> = section
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').expect("a fence with a language"))
        .collect();
    let mut examples = 0;
    for pair in blocks.windows(2) {
        let format = match pair[0].0 {
            "jsonl" => ResponseFormat::Jsonl,
            "csv" => ResponseFormat::Csv,
            "xml" => ResponseFormat::Xml,
            _ => continue,
        };
        let rules = rules(format);
        let reading = BodyReader::of_everything(&rules, "");
        let body = reading.read(&Bytes::from_static(pair[0].1.as_bytes())).unwrap();
        assert_eq!(body.value(), Value::parse(pair[1].1.as_bytes()).unwrap(), "{}", pair[0].1);
        examples += 1;
    }
    assert_eq!(examples, 3);
}
