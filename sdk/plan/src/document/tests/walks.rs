//! `window`, `cursor` and `conditional`, and the parameters that they and pagination send.

use chrono::TimeDelta;

use super::*;
use crate::{CursorKind, CursorLookback, SliceLength, TimeFormat};

#[test]
fn windows_are_read_with_their_defaults() {
    let window = |window: Json| compiled(json!({"window": window})).steps[0].window.clone().unwrap();
    let short = window(json!({"from": "context.since", "step": "1d"}));
    assert_eq!(
        (short.step, short.format, short.pointer.as_str()),
        (SliceLength::Exact(TimeDelta::days(1)), TimeFormat::Rfc3339, "/definition/step/window")
    );
    assert!(short.to.is_none() && short.from_param.is_none() && short.to_param.is_none());
    let whole = window(
        json!({"from": "context.since", "to": "meta.started_at", "step": "1h30m", "format": "%Y-%m-%d %H:%M", "from_param": "a", "to_param": "b"}),
    );
    assert_eq!(
        (whole.step, whole.format),
        (SliceLength::Exact(TimeDelta::minutes(90)), TimeFormat::Strftime("%Y-%m-%d %H:%M".to_owned()))
    );
    assert!(short.timezone.is_none() && !short.inclusive_end);
    let calendar = window(json!({
        "from": "context.since", "step": "1mo", "timezone": "Europe/Berlin", "format": "date", "inclusive_end": true,
    }));
    assert_eq!((calendar.step, calendar.inclusive_end), (SliceLength::Months(1), true));
    assert_eq!(calendar.timezone.map(|zone| zone.name()), Some("Europe/Berlin"));
    assert_eq!((whole.from_param.as_deref(), whole.to_param.as_deref()), (Some("a"), Some("b")));
    for (name, format) in [
        ("epoch_s", TimeFormat::EpochSeconds),
        ("epoch_ms", TimeFormat::EpochMillis),
        ("date", TimeFormat::Date),
    ] {
        assert_eq!(window(json!({"from": "context.since", "step": "2d", "format": name})).format, format);
    }
}

#[test]
fn cursors_are_read_with_their_defaults() {
    let cursor = |fields: Json| compiled(fields).steps[0].cursor.clone().unwrap();
    let short = cursor(json!({"cursor": {"value": "response.body.at"}}));
    assert_eq!(
        (short.kind, short.lookback, short.param, short.ordered),
        (CursorKind::Timestamp, None, None, false)
    );
    assert!(short.per_item.is_none() && short.start.is_none());
    let whole = cursor(json!({"for_each": "context.repos", "cursor": {
        "value": "response.body.id", "type": "number", "start": 0, "lookback": 10, "param": "since", "ordered": true, "per_item": "item.id",
    }}));
    assert_eq!(
        (whole.kind, whole.lookback, whole.param.as_deref(), whole.ordered),
        (CursorKind::Number, Some(CursorLookback::Number(10.into())), Some("since"), true)
    );
    assert_eq!(whole.per_item.map(|expr| expr.text().to_owned()).as_deref(), Some("item.id"));
    let timed =
        cursor(json!({"cursor": {"value": "response.body.at", "type": "epoch_ms", "lookback": "10m"}}));
    assert_eq!(timed.lookback, Some(CursorLookback::Time(TimeDelta::minutes(10))));
    // The rows of a step around it count as items, too.
    compiled(json!({"iterate_over": "response.body", "sub_steps": [
        {"url": "https://api.example.com/{{ item.id }}", "cursor": {"value": "response.body.at", "per_item": "item.id"}},
    ]}));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn window_and_cursor_diagnostics_have_pointer_and_correction() {
    use DiagnosticCode::*;
    let window = |window: Json| step(json!({"window": window}));
    let cursor = |cursor: Json| step(json!({"cursor": cursor}));
    let from = "'2026-01-01'";
    check_cases(vec![
        (window(json!({"from": from})), Required, "/definition/step/window", None, None),
        (window(json!({"step": "1d"})), Required, "/definition/step/window", None, None),
        (
            window(json!({"from": from, "step": 5})),
            WrongType,
            "/definition/step/window/step",
            None,
            Some("\"5s\""),
        ),
        (
            window(json!({"from": from, "step": "1 day"})),
            InvalidValue,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "0s"})),
            InvalidValue,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "500ms"})),
            InvalidValue,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "5300w"})),
            OutOfRange,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "1mo2d"})),
            InvalidValue,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "101y"})),
            OutOfRange,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "6h", "timezone": "Europe/Berlin"})),
            Conflict,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "1d", "timezone": "Europe/Berln"})),
            InvalidValue,
            "/definition/step/window/timezone",
            None,
            Some("Europe/Berlin"),
        ),
        (
            window(json!({"from": from, "step": "1d", "inclusive_end": 1})),
            WrongType,
            "/definition/step/window/inclusive_end",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "36h", "format": "date"})),
            Conflict,
            "/definition/step/window/step",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "1d", "format": "rfc339"})),
            InvalidValue,
            "/definition/step/window/format",
            None,
            Some("rfc3339"),
        ),
        (
            window(json!({"from": from, "step": "1d", "format": "%Q"})),
            InvalidValue,
            "/definition/step/window/format",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "1d", "format": "%Y".repeat(100)})),
            InvalidValue,
            "/definition/step/window/format",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "1d", "from_param": ""})),
            InvalidValue,
            "/definition/step/window/from_param",
            None,
            None,
        ),
        (
            window(json!({"from": from, "step": "1d", "until": from})),
            UnknownField,
            "/definition/step/window/until",
            None,
            None,
        ),
        (
            window(json!({"from": "2026-01-01", "step": "1d"})),
            Trap,
            "/definition/step/window/from",
            Some(0),
            Some("'2026-01-01'"),
        ),
        (
            step(json!({"window": {"step": "1d"}, "cursor": {"value": "response.body.a"}})),
            Required,
            "/definition/step/cursor",
            None,
            None,
        ),
        (cursor(json!({})), Required, "/definition/step/cursor", None, None),
        (
            cursor(json!({"value": "response.body.a", "type": "date"})),
            InvalidValue,
            "/definition/step/cursor/type",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "start": true})),
            WrongType,
            "/definition/step/cursor/start",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "start": "now"})),
            InvalidValue,
            "/definition/step/cursor/start",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "start": 5})),
            InvalidValue,
            "/definition/step/cursor/start",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "type": "number", "start": "x"})),
            InvalidValue,
            "/definition/step/cursor/start",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "start": "{{ response.body.a }}"})),
            UnknownName,
            "/definition/step/cursor/start",
            Some(3),
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "start": "{{ cursor }}"})),
            UnknownName,
            "/definition/step/cursor/start",
            Some(3),
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "lookback": 5})),
            WrongType,
            "/definition/step/cursor/lookback",
            None,
            Some("\"5s\""),
        ),
        (
            cursor(json!({"value": "response.body.a", "type": "number", "lookback": "5m"})),
            WrongType,
            "/definition/step/cursor/lookback",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "type": "number", "lookback": 0})),
            OutOfRange,
            "/definition/step/cursor/lookback",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "type": "text", "lookback": "5m"})),
            Conflict,
            "/definition/step/cursor/lookback",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "per_item": "'a'"})),
            Conflict,
            "/definition/step/cursor/per_item",
            None,
            None,
        ),
        (
            cursor(json!({"value": "response.body.a", "ordered": 1})),
            WrongType,
            "/definition/step/cursor/ordered",
            None,
            None,
        ),
        (
            step(json!({"conditional": true, "while": "context.a"})),
            Conflict,
            "/definition/step/conditional",
            None,
            None,
        ),
        (
            step(json!({"conditional": true, "paginate": {"type": "link_header"}})),
            Conflict,
            "/definition/step/conditional",
            None,
            None,
        ),
        (
            step(json!({"conditional": true, "window": {"from": from, "step": "1d"}})),
            Conflict,
            "/definition/step/conditional",
            None,
            None,
        ),
        (
            step(json!({"conditional": true, "method": "POST"})),
            Conflict,
            "/definition/step/conditional",
            None,
            None,
        ),
        (
            step(json!({"conditional": true, "headers": {"If-None-Match": "x"}})),
            Conflict,
            "/definition/step/headers/If-None-Match",
            None,
            None,
        ),
    ]);
    let definition = compiled(json!({"conditional": true, "method": "HEAD"}));
    assert!(definition.steps[0].conditional);
}

#[test]
fn parameter_sent_twice_is_refused() {
    let rows = |mut fields: Json| {
        fields["iterate_over"] = json!("response.body.items");
        step(fields)
    };
    let window = |fields: Json| {
        let mut window = json!({"from": "'2026-01-01'", "step": "1d"});
        fields.as_object().unwrap().iter().for_each(|(name, value)| window[name] = value.clone());
        window
    };
    let cursor = |param: &str| json!({"value": "response.body.a", "param": param});
    let conflict =
        |definition: Json, pointer: &'static str| (definition, DiagnosticCode::Conflict, pointer, None, None);
    let page = json!({"type": "page"});
    check_cases(vec![
        conflict(rows(json!({"params": {"page": 1}, "paginate": page})), "/definition/step/paginate"),
        conflict(
            rows(json!({"params": [{"name": "page", "value": 1}], "paginate": page})),
            "/definition/step/paginate",
        ),
        conflict(
            rows(json!({"url": "https://a.example.com?x=1&page=1", "paginate": page})),
            "/definition/step/paginate",
        ),
        conflict(
            rows(json!({"url": "{{ config.base }}/a?%70age={{ config.page }}", "paginate": page})),
            "/definition/step/paginate",
        ),
        conflict(
            rows(json!({"paginate": {"type": "offset", "size": 5, "size_param": "offset"}})),
            "/definition/step/paginate/size_param",
        ),
        conflict(
            step(json!({"params": {"a": 1}, "window": window(json!({"to_param": "a"}))})),
            "/definition/step/window/to_param",
        ),
        conflict(
            step(json!({"window": window(json!({"from_param": "a", "to_param": "a"}))})),
            "/definition/step/window/to_param",
        ),
        conflict(
            step(json!({"params": {"since": 1}, "cursor": cursor("since")})),
            "/definition/step/cursor/param",
        ),
        conflict(
            step(json!({"window": window(json!({"from_param": "since"})), "cursor": cursor("since")})),
            "/definition/step/cursor/param",
        ),
    ]);
    assert_eq!(
        diagnostics(&rows(
            json!({"url": "https://a.example.com/{{ config.a[?page] && 'b' }}", "paginate": page})
        )),
        []
    );
    assert_eq!(
        diagnostics(&rows(json!({"url": "https://a.example.com/page?pages=1", "paginate": page}))),
        []
    );
}

#[test]
fn counting_rows_requires_iterate_over() {
    let next = "response.body.next";
    let counts = [
        json!({"type": "page"}),
        json!({"type": "offset", "size": 5}),
        json!({"type": "cursor", "value": next, "stop_on": ["empty"]}),
        json!({"type": "next_url", "value": next, "stop_on": ["empty"]}),
        json!({"type": "link_header", "stop_on": ["empty"]}),
    ];
    for paginate in counts {
        let refused = (
            step(json!({"paginate": paginate})),
            DiagnosticCode::Conflict,
            "/definition/step/paginate",
            None,
            None,
        );
        check_cases(vec![refused]);
        compiled(json!({"iterate_over": "response.body.items", "paginate": paginate}));
    }
    compiled(json!({"paginate": {"type": "cursor", "value": next}}));
}
