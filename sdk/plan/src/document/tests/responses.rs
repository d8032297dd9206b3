//! `response`, and the restrictions on a step whose body is streamed.

use super::*;
use crate::{
    CsvHeader, CsvRules, Decompression, PathSegment, PlainPath, RaggedRows, ResponseFormat, ResponseRules,
    XmlPrefixes,
};

#[test]
fn responses_are_read_with_their_defaults() {
    let rules = |response: Json| compiled(json!({"response": response})).steps[0].response.clone();
    assert_eq!(rules(json!({})), ResponseRules::default());
    let whole = rules(json!({
        "format": "csv", "max_bytes": 1_000_000_000_000_u64, "charset": "latin1", "decompress": "zip",
        "csv": {"delimiter": "\t", "quote": "'", "header": ["a", "b"]},
    }));
    assert_eq!(
        (whole.format, whole.max_bytes, whole.decompress),
        (ResponseFormat::Csv, 1_000_000_000_000, Decompression::Zip)
    );
    assert_eq!(whole.charset.as_deref(), Some("windows-1252"));
    let header = CsvHeader::Names(vec!["a".to_owned(), "b".to_owned()]);
    let expected = CsvRules { delimiter: b'\t', quote: Some(b'\''), header, ..CsvRules::default() };
    assert_eq!(whole.csv, expected);
    let csv = |csv: Json| rules(json!({"csv": csv})).csv;
    assert_eq!(
        csv(json!({"quote": "", "header": false})),
        CsvRules { quote: None, header: CsvHeader::None, ..CsvRules::default() }
    );
    assert_eq!(csv(json!({"header": true, "ragged": "error"})), CsvRules::default());
    assert_eq!(
        csv(json!({"escape": "\\", "comment": "#", "skip_rows": 2, "skip_footer": 1, "ragged": "fill"})),
        CsvRules {
            escape: Some(b'\\'),
            comment: Some(b'#'),
            skip_rows: 2,
            skip_footer: 1,
            ragged: RaggedRows::Fill,
            ..CsvRules::default()
        }
    );
    assert_eq!(rules(json!({"xml": {"prefixes": "keep"}})).xml.prefixes, XmlPrefixes::Keep);
    assert_eq!(
        rules(json!({"format": "xml", "xml": {"arrays": ["item", "line"]}})).xml.arrays,
        ["item", "line"]
    );
    let archive =
        rules(json!({"format": "csv", "decompress": "zip", "files": "*.csv", "file_member": "_file"}));
    let archive = archive.archive.unwrap();
    assert_eq!((archive.files.as_str(), archive.file_member.as_deref()), ("*.csv", Some("_file")));
    for (name, format) in [
        ("json", ResponseFormat::Json),
        ("jsonl", ResponseFormat::Jsonl),
        ("text", ResponseFormat::Text),
        ("binary", ResponseFormat::Binary),
    ] {
        assert_eq!(rules(json!({"format": name})).format, format);
    }
}

#[test]
fn rows_know_their_path_and_what_their_filter_chose_from() {
    let rows = |text: &str| compiled(json!({"iterate_over": text})).steps[0].rows.clone().unwrap();
    let plain = rows("response.body.items");
    assert_eq!(plain.plain, Some(PlainPath(vec![PathSegment::Member("items".to_owned())])));
    assert!(plain.unfiltered.is_none());
    let filtered = rows("response.body.items[?cost > `0`].id");
    assert!(filtered.plain.is_none());
    let body = crate::Value::parse(br#"{"body":{"items":[{"cost":0}]}}"#).unwrap();
    let scope = crate::Scope::new().with(ScopeName::Response, body);
    let before = filtered.unfiltered.unwrap().eval(&scope, &env()).unwrap();
    assert_eq!((before.length(), filtered.expr.eval(&scope, &env()).unwrap().length()), (Some(1), Some(0)));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn response_diagnostics_have_pointer_and_correction() {
    use DiagnosticCode::*;
    let response = |response: Json| step(json!({"response": response}));
    let csv = |csv: Json| response(json!({"csv": csv}));
    let stream = |mut fields: Json| {
        fields["response"] = json!({"stream": true});
        step(fields)
    };
    check_cases(vec![
        (
            response(json!({"format": "jsn"})),
            InvalidValue,
            "/definition/step/response/format",
            None,
            Some("json"),
        ),
        (
            response(json!({"max_bytes": 1_073_741_825})),
            OutOfRange,
            "/definition/step/response/max_bytes",
            None,
            None,
        ),
        (
            response(json!({"format": "jsonl", "max_bytes": 1_099_511_627_777_u64})),
            OutOfRange,
            "/definition/step/response/max_bytes",
            None,
            None,
        ),
        (
            response(json!({"charset": "utf-9"})),
            InvalidValue,
            "/definition/step/response/charset",
            None,
            None,
        ),
        // The standard knows this label, but the encoding cannot be decoded.
        (
            response(json!({"charset": "replacement"})),
            InvalidValue,
            "/definition/step/response/charset",
            None,
            None,
        ),
        (
            response(json!({"charset": "utf-8", "format": "binary"})),
            Conflict,
            "/definition/step/response/charset",
            None,
            None,
        ),
        (
            response(json!({"decompress": "gz"})),
            InvalidValue,
            "/definition/step/response/decompress",
            None,
            Some("gzip"),
        ),
        (
            response(json!({"format": "json", "csv": {}})),
            Conflict,
            "/definition/step/response/csv",
            None,
            None,
        ),
        (
            response(json!({"format": "csv", "xml": {}})),
            Conflict,
            "/definition/step/response/xml",
            None,
            None,
        ),
        (csv(json!({"delimiter": ""})), InvalidValue, "/definition/step/response/csv/delimiter", None, None),
        (
            csv(json!({"delimiter": ";;"})),
            InvalidValue,
            "/definition/step/response/csv/delimiter",
            None,
            None,
        ),
        (csv(json!({"delimiter": "§"})), InvalidValue, "/definition/step/response/csv/delimiter", None, None),
        (
            csv(json!({"delimiter": "\n"})),
            InvalidValue,
            "/definition/step/response/csv/delimiter",
            None,
            None,
        ),
        (csv(json!({"delimiter": "\""})), Conflict, "/definition/step/response/csv/quote", None, None),
        (
            response(json!({"format": "csv", "files": "*.csv"})),
            Conflict,
            "/definition/step/response/files",
            None,
            None,
        ),
        (
            response(json!({"decompress": "zip", "files": "*.csv"})),
            Conflict,
            "/definition/step/response/files",
            None,
            None,
        ),
        (
            response(json!({"format": "csv", "decompress": "zip", "files": ""})),
            InvalidValue,
            "/definition/step/response/files",
            None,
            None,
        ),
        (
            response(json!({"format": "csv", "decompress": "zip", "file_member": "_file"})),
            Conflict,
            "/definition/step/response/file_member",
            None,
            None,
        ),
        (
            step(json!({"iterate_over": "response.body", "response": {
                "format": "json", "decompress": "zip", "files": "*.json", "stream": true,
            }})),
            Conflict,
            "/definition/step/response/stream",
            None,
            None,
        ),
        (
            step(
                json!({"iterate_over": "response.body", "extract": {"names": "response.files"}, "response": {
                    "format": "csv", "decompress": "zip", "files": "*.csv", "stream": true,
                }}),
            ),
            Conflict,
            "/definition/step/extract/names",
            None,
            None,
        ),
        (csv(json!({"escape": "\""})), Conflict, "/definition/step/response/csv/escape", None, None),
        (csv(json!({"escape": ""})), InvalidValue, "/definition/step/response/csv/escape", None, None),
        (csv(json!({"comment": ","})), Conflict, "/definition/step/response/csv/comment", None, None),
        (csv(json!({"comment": "//"})), InvalidValue, "/definition/step/response/csv/comment", None, None),
        (csv(json!({"skip_rows": -1})), OutOfRange, "/definition/step/response/csv/skip_rows", None, None),
        (
            csv(json!({"skip_footer": 0.5})),
            OutOfRange,
            "/definition/step/response/csv/skip_footer",
            None,
            None,
        ),
        (
            csv(json!({"ragged": "fil"})),
            InvalidValue,
            "/definition/step/response/csv/ragged",
            None,
            Some("fill"),
        ),
        (
            csv(json!({"ragged": "fill", "header": ["a", "_extra"]})),
            Conflict,
            "/definition/step/response/csv/header",
            None,
            None,
        ),
        (
            response(json!({"xml": {"prefixes": "kept"}})),
            InvalidValue,
            "/definition/step/response/xml/prefixes",
            None,
            Some("keep"),
        ),
        (csv(json!({"quote": false})), WrongType, "/definition/step/response/csv/quote", None, None),
        (csv(json!({"header": "first"})), WrongType, "/definition/step/response/csv/header", None, None),
        (csv(json!({"header": []})), OutOfRange, "/definition/step/response/csv/header", None, None),
        (csv(json!({"header": ["a", 1]})), WrongType, "/definition/step/response/csv/header/1", None, None),
        (csv(json!({"header": ["a", "a"]})), Duplicate, "/definition/step/response/csv/header/1", None, None),
        (
            csv(json!({"headers": true})),
            UnknownField,
            "/definition/step/response/csv/headers",
            None,
            Some("header"),
        ),
        (
            response(json!({"xml": {"arrays": [""]}})),
            InvalidValue,
            "/definition/step/response/xml/arrays/0",
            None,
            None,
        ),
        (
            response(json!({"xml": {"array": ["a"]}})),
            UnknownField,
            "/definition/step/response/xml/array",
            None,
            Some("arrays"),
        ),
        (stream(json!({})), Conflict, "/definition/step/response/stream", None, None),
        (
            stream(json!({"iterate_over": "response.body[?a]"})),
            Conflict,
            "/definition/step/response/stream",
            None,
            None,
        ),
        (
            stream(json!({"iterate_over": "response.body.pages[-1]"})),
            Conflict,
            "/definition/step/response/stream",
            None,
            None,
        ),
        (
            step(json!({"iterate_over": "response.body", "response": {"stream": true, "format": "xml"}})),
            Conflict,
            "/definition/step/response/stream",
            None,
            None,
        ),
    ]);
}

#[test]
fn reading_a_streamed_body_is_refused() {
    let url = "https://a.example.com";
    let streamed = |fields: Json| {
        let mut step = json!({"id": "big", "url": url, "iterate_over": "response.body.items[0]", "response": {"stream": true}});
        fields.as_object().unwrap().iter().for_each(|(name, value)| step[name] = value.clone());
        step
    };
    let cases = [
        (
            json!({"step": streamed(json!({"extract": {"n": "response.body.total"}}))}),
            "/definition/step/extract/n",
        ),
        (json!({"step": streamed(json!({"while": "prev.body.more"}))}), "/definition/step/while"),
        (
            json!({"step": streamed(json!({"params": {"c": "{{ response.body.next }}"}}))}),
            "/definition/step/params/c",
        ),
        (
            json!({"step": streamed(json!({"paginate": {"type": "next_url", "value": "response.body.next"}}))}),
            "/definition/step/paginate/value",
        ),
        (json!({"step": streamed(json!({"ignore_when": "response.body"}))}), "/definition/step/ignore_when"),
        (
            json!({"step": streamed(json!({"cursor": {"value": "max_of(response.body.items[*].at)"}}))}),
            "/definition/step/cursor/value",
        ),
        (
            json!({"step": streamed(json!({"set_context": {"a": "response"}}))}),
            "/definition/step/set_context/a",
        ),
        (
            json!({"step": streamed(json!({"sub_steps": [{"url": "https://a.example.com/{{ parent.body.id }}"}]}))}),
            "/definition/step/sub_steps/0/url",
        ),
        (
            json!({"steps": [streamed(json!({})), {"url": "https://a.example.com/{{ steps.big.body.id }}"}]}),
            "/definition/steps/1/url",
        ),
        (
            json!({"steps": [streamed(json!({})), {"url": url, "execute_if": "length(keys(steps)) > `0`"}]}),
            "/definition/steps/1/execute_if",
        ),
    ];
    for (definition, pointer) in cases {
        let diagnostics = diagnostics(&definition);
        let [diagnostic] = diagnostics.as_slice() else { panic!("{definition} gave {diagnostics:#?}") };
        assert_eq!((diagnostic.code, diagnostic.pointer.as_str()), (DiagnosticCode::Conflict, pointer));
        assert!(
            diagnostic.message.contains("remove /definition/step")
                && diagnostic.message.contains("/response/stream"),
            "{diagnostic}"
        );
    }
    let fine = json!({"steps": [
        streamed(json!({
            "paginate": {"type": "link_header"}, "extract": {"etag": "response.headers.etag"}, "abort_when": "response.status_code == `204`",
            "sub_steps": [{"url": "https://a.example.com/{{ item.id }}/{{ parent.headers.etag }}", "extract": {"a": "response.body.a"}}],
        })),
        {"url": "https://a.example.com/{{ steps.big.status_code }}"},
    ]});
    assert_eq!(diagnostics(&fine), []);
}

#[test]
fn row_formats_may_be_larger_unless_the_body_is_read() {
    let large = |fields: Json| {
        let mut step = step(json!({"response": {"format": "jsonl", "max_bytes": 2_000_000_000_u64}}));
        fields.as_object().unwrap().iter().for_each(|(name, value)| step["step"][name] = value.clone());
        step
    };
    assert_eq!(diagnostics(&large(json!({}))), []);
    assert_eq!(diagnostics(&large(json!({"iterate_over": "response.body"}))), []);
    let at = "/definition/step/response/max_bytes";
    check_cases(vec![
        (
            large(json!({"extract": {"n": "length(response.body)"}})),
            DiagnosticCode::OutOfRange,
            at,
            None,
            None,
        ),
        (large(json!({"iterate_over": "response.body[?a]"})), DiagnosticCode::OutOfRange, at, None, None),
    ]);
    // Below the server's limit for whole bodies, expressions may read the body.
    assert_eq!(
        diagnostics(&step(
            json!({"response": {"format": "jsonl"}, "extract": {"n": "length(response.body)"}})
        )),
        []
    );
}
