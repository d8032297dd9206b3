//! Documents that are accepted, and documents that are refused.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

mod async_job;
mod fan_out;
mod hostile;
mod plans;
mod responses;
mod walks;

use super::*;
use crate::template::tests::{env, scope};
use crate::{
    Backoff, CatchUpPolicy, Diagnostic, DiagnosticCode, EmitMode, Jitter, OnLimit, OnRepeat, OutcomeMatcher,
    OverlapPolicy, PaginationKind, PlanHeader, RetryPolicy, ScopeName, StatusClass, StopOn,
};

fn step(fields: Json) -> Json {
    let mut step = json!({"url": "https://api.example.com/items"});
    for (name, value) in fields.as_object().unwrap() {
        step[name] = value.clone();
    }
    json!({"step": step})
}

fn compiled(fields: Json) -> Definition {
    compile(&step(fields), &ServerLimits::default()).unwrap()
}

fn diagnostics(definition: &Json) -> Vec<Diagnostic> {
    compile(definition, &ServerLimits::default()).err().map(|diagnostics| diagnostics.0).unwrap_or_default()
}

#[test]
fn defaults_are_those_of_the_language() {
    let document = json!({"key": "orders", "integration": "shop", "definition": {"step": {"url": "https://x.example.com/a"}}});
    let Plan { header, definition } = check(&document, &ServerLimits::default()).unwrap();
    assert_eq!((header.key.as_str(), header.integration.as_str()), ("orders", "shop"));
    assert_eq!((header.configs, header.enabled.unwrap_or_default()), (vec![], false));
    assert_eq!(header.wait_seconds.unwrap_or(PlanHeader::DEFAULT_WAIT_SECONDS), 300);
    assert_eq!(
        (header.overlap.unwrap_or_default(), header.repeat_count, header.catch_up.unwrap_or_default()),
        (OverlapPolicy::Skip, None, CatchUpPolicy::RunOnce)
    );
    assert_eq!(header.priority.unwrap_or(PlanHeader::DEFAULT_PRIORITY), 5);
    assert_eq!(
        (definition.max_execution.as_secs(), definition.max_loops, definition.max_requests),
        (300, 1000, None)
    );
    assert_eq!((definition.max_nesting_depth, definition.on_limit), (5, OnLimit::Fail));
    let step = &definition.steps[0];
    assert_eq!((&*step.id, step.pointer.as_str()), ("step_1", "/definition/step"));
    assert_eq!(
        (step.timeout.as_secs(), step.emit, step.concurrency, step.stop_on_error),
        (30, EmitMode::Page, 50, false)
    );
    assert_eq!((step.retry.max_retries, step.retry.backoff), (3, Backoff::Fibonacci));
    assert_eq!((step.retry.initial_delay.as_millis(), step.retry.max_delay.as_millis()), (1000, 60_000));
    assert_eq!(
        (step.request().unwrap().method(), step.response.max_bytes),
        (crate::Method::Get, 10 * 1024 * 1024)
    );
    assert!(!step.loops() && step.paginate.is_none() && step.rows.is_none());
}

#[test]
fn steps_are_numbered_in_document_order() {
    let definition = json!({"steps": [{"url": "https://a.example.com"}, {"id": "b", "url": "https://b.example.com/{{ steps.step_1.body.id }}"}]});
    let definition = compile(&definition, &ServerLimits::default()).unwrap();
    let ids: Vec<_> = definition.steps.iter().map(|step| (&*step.id, step.pointer.as_str())).collect();
    assert_eq!(ids, [("step_1", "/definition/steps/0"), ("b", "/definition/steps/1")]);
    assert_eq!(definition.reads.step_ids(), Some(["step_1"].into()));
    assert!(!definition.steps[0].reads.includes(ScopeName::Steps));
    assert!(definition.steps[1].reads.includes(ScopeName::Steps));
}

/// A definition with the diagnostic that it must cause: code, pointer, position, suggestion.
type Case = (Json, DiagnosticCode, &'static str, Option<usize>, Option<&'static str>);

fn check_cases(cases: Vec<Case>) {
    for (definition, code, pointer, position, suggestion) in cases {
        let diagnostics = diagnostics(&definition);
        let [diagnostic] = diagnostics.as_slice() else { panic!("{definition} gave {diagnostics:#?}") };
        assert_eq!((diagnostic.code, diagnostic.pointer.as_str()), (code, pointer), "{diagnostic}");
        assert_eq!(diagnostic.position, position, "{diagnostic}");
        assert_eq!(diagnostic.suggestion.as_deref(), suggestion, "{diagnostic}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn field_diagnostics_have_pointer_and_correction() {
    use DiagnosticCode::*;
    check_cases(vec![
        (json!({}), Required, "/definition", None, None),
        (json!([]), WrongType, "/definition", None, None),
        (json!({"steps": []}), OutOfRange, "/definition/steps", None, None),
        (json!({"step": {}}), Required, "/definition/step", None, None),
        (step(json!({"metod": "GET"})), UnknownField, "/definition/step/metod", None, Some("method")),
        (step(json!({"method": "get"})), InvalidValue, "/definition/step/method", None, Some("GET")),
        (step(json!({"a/b~c": 1})), UnknownField, "/definition/step/a~1b~0c", None, None),
        (step(json!({"id": "1x"})), InvalidValue, "/definition/step/id", None, None),
        (step(json!({"timeout_seconds": 0})), OutOfRange, "/definition/step/timeout_seconds", None, None),
        (step(json!({"timeout_seconds": 1.5})), OutOfRange, "/definition/step/timeout_seconds", None, None),
        (step(json!({"timeout_seconds": "9"})), WrongType, "/definition/step/timeout_seconds", None, None),
        (step(json!({"while": true})), WrongType, "/definition/step/while", None, Some("\"`true`\"")),
        (
            step(json!({"while": "{{ context.a }}"})),
            Syntax,
            "/definition/step/while",
            Some(0),
            Some("context.a"),
        ),
        (
            step(json!({"extract": {"a b": "contxt.a"}})),
            UnknownName,
            "/definition/step/extract/a b",
            Some(0),
            Some("context"),
        ),
        (
            step(json!({"execute_if": "response.body"})),
            UnknownName,
            "/definition/step/execute_if",
            Some(0),
            None,
        ),
        (step(json!({"while": "item.id"})), UnknownName, "/definition/step/while", Some(0), None),
        (step(json!({"url": "items"})), InvalidValue, "/definition/step/url", Some(0), None),
        (step(json!({"url": "ftp://a.example.com"})), InvalidValue, "/definition/step/url", Some(0), None),
        (step(json!({"url": "api/{{ config.a }}"})), InvalidValue, "/definition/step/url", Some(0), None),
        (
            step(json!({"url": "https://a.example.com/{{ confg.a }}"})),
            UnknownName,
            "/definition/step/url",
            Some(25),
            Some("config"),
        ),
        (
            step(json!({"url": "https://a.example.com/{{ config.a"})),
            Syntax,
            "/definition/step/url",
            Some(22),
            Some("{{ '{{' }} for a literal {{"),
        ),
        (
            step(json!({"url": "https://a.example.com/{{ upper(raw(config.a)) }}"})),
            InvalidValue,
            "/definition/step/url",
            Some(31),
            None,
        ),
        (
            step(json!({"headers": {"X": "{{ raw(config.a) }}"}})),
            InvalidValue,
            "/definition/step/headers/X",
            Some(3),
            None,
        ),
        (step(json!({"headers": {"Host": "x"}})), InvalidValue, "/definition/step/headers/Host", None, None),
        (
            step(json!({"headers": {"content-LENGTH": "1"}})),
            InvalidValue,
            "/definition/step/headers/content-LENGTH",
            None,
            None,
        ),
        (step(json!({"headers": {"a b": "1"}})), InvalidValue, "/definition/step/headers/a b", None, None),
        (step(json!({"headers": {"X": "a\r\nb"}})), InvalidValue, "/definition/step/headers/X", None, None),
        (step(json!({"headers": {"A": "1", "a": "2"}})), Duplicate, "/definition/step/headers/a", None, None),
        (step(json!({"headers": {"A": ["1"]}})), WrongType, "/definition/step/headers/A", None, None),
        (
            step(json!({"body": {"a": [{"b": "{{ true }}"}]}})),
            Trap,
            "/definition/step/body/a/0/b",
            Some(3),
            Some("`true`"),
        ),
        (
            step(json!({"body": {"a": 9_007_199_254_740_993_i64}})),
            OutOfRange,
            "/definition/step/body/a",
            None,
            Some("\"9007199254740993\""),
        ),
        (step(json!({"abort_on": ["404"]})), WrongType, "/definition/step/abort_on/0", None, Some("404")),
        (
            step(json!({"abort_on": ["4XX"]})),
            InvalidValue,
            "/definition/step/abort_on/0",
            None,
            Some("\"4xx\""),
        ),
        (step(json!({"ignore_on": [404, 404]})), Duplicate, "/definition/step/ignore_on/1", None, None),
        (step(json!({"accept_on": [99]})), OutOfRange, "/definition/step/accept_on/0", None, None),
        (step(json!({"retry": {"on": [true]}})), WrongType, "/definition/step/retry/on/0", None, None),
        (
            step(json!({"retry": {"backoff": "fibonaci"}})),
            InvalidValue,
            "/definition/step/retry/backoff",
            None,
            Some("fibonacci"),
        ),
        (
            step(json!({"retry": {"initial_delay_ms": 10, "max_delay_ms": 5}})),
            Conflict,
            "/definition/step/retry/max_delay_ms",
            None,
            None,
        ),
        (
            step(json!({"response": {"max_bytes": 0}})),
            OutOfRange,
            "/definition/step/response/max_bytes",
            None,
            None,
        ),
        (step(json!({"paginate": {}})), Required, "/definition/step/paginate", None, None),
        (
            step(json!({"paginate": {"type": "link"}})),
            InvalidValue,
            "/definition/step/paginate/type",
            None,
            Some("link_header"),
        ),
        (step(json!({"paginate": {"type": "next_url"}})), Required, "/definition/step/paginate", None, None),
        (step(json!({"paginate": {"type": "page"}})), Conflict, "/definition/step/paginate", None, None),
        (
            step(json!({"paginate": {"type": "link_header", "param": "p"}})),
            UnknownField,
            "/definition/step/paginate/param",
            None,
            None,
        ),
        (
            step(json!({"paginate": {"type": "link_header", "stop_on": ["empty"]}})),
            Conflict,
            "/definition/step/paginate",
            None,
            None,
        ),
        (
            step(
                json!({"params": {"c": 1}, "paginate": {"type": "cursor", "value": "response.body.c", "param": "c"}}),
            ),
            Conflict,
            "/definition/step/paginate/param",
            None,
            None,
        ),
        (step(json!({"emit": "record"})), Conflict, "/definition/step/emit", None, None),
    ]);
}

#[test]
fn definition_diagnostics_have_pointer_and_correction() {
    use DiagnosticCode::*;
    let with = |field: &str, value: Json| {
        let mut definition = step(json!({}));
        definition[field] = value;
        definition
    };
    let at = "https://a.example.com";
    check_cases(vec![
        (with("steps", json!([{"url": at}])), Conflict, "/definition/steps", None, None),
        (with("max_lops", json!(5)), UnknownField, "/definition/max_lops", None, Some("max_loops")),
        (
            with("max_execution_seconds", json!(0)),
            OutOfRange,
            "/definition/max_execution_seconds",
            None,
            None,
        ),
        (with("max_loops", json!("5")), WrongType, "/definition/max_loops", None, None),
        (with("max_requests", json!(0)), OutOfRange, "/definition/max_requests", None, None),
        (with("max_nesting_depth", json!(6)), OutOfRange, "/definition/max_nesting_depth", None, None),
        (with("on_limit", json!("continu")), InvalidValue, "/definition/on_limit", None, Some("continue")),
        (step(json!({"abort_on": 404})), WrongType, "/definition/step/abort_on", None, None),
        (step(json!({"emit": "pages"})), InvalidValue, "/definition/step/emit", None, Some("page")),
        (step(json!({"conditional": "yes"})), WrongType, "/definition/step/conditional", None, None),
        (
            step(json!({"retry": {"max_retries": -1}})),
            OutOfRange,
            "/definition/step/retry/max_retries",
            None,
            None,
        ),
        (
            step(json!({"retry": {"jitter": "ful"}})),
            InvalidValue,
            "/definition/step/retry/jitter",
            None,
            Some("full"),
        ),
    ]);
}

#[test]
fn unknown_field_of_any_object_suggests_the_closest() {
    for (fields, field, nearest) in [
        (json!({"retry": {"max_retry": 1}}), "retry/max_retry", "max_retries"),
        (json!({"params": [{"name": "a", "valu": "b"}]}), "params/0/valu", "value"),
        (
            json!({"iterate_over": "response.body", "paginate": {"type": "page", "sizes": 5}}),
            "paginate/sizes",
            "size",
        ),
        (
            json!({"window": {"from": "context.a", "step": "1d", "form_param": "a"}}),
            "window/form_param",
            "from_param",
        ),
        (json!({"cursor": {"value": "response.body.a", "order": true}}), "cursor/order", "ordered"),
        (json!({"response": {"max_byte": 5}}), "response/max_byte", "max_bytes"),
        (
            json!({"sub_steps": [{"url": "https://a.example.com", "methode": "GET"}]}),
            "sub_steps/0/methode",
            "method",
        ),
    ] {
        let found = diagnostics(&step(fields));
        let [diagnostic] = found.as_slice() else { panic!("{field} gave {found:#?}") };
        assert_eq!(
            (diagnostic.code, diagnostic.suggestion.as_deref()),
            (DiagnosticCode::UnknownField, Some(nearest)),
            "{diagnostic}"
        );
        assert_eq!(diagnostic.pointer, format!("/definition/step/{field}"));
    }
}

#[test]
fn invalid_id_is_refused() {
    for id in ["a", "_", "_9", "aB_9", "A"] {
        assert_eq!(&*compiled(json!({"id": id})).steps[0].id, id);
    }
    for id in ["", "9a", "a-b", "a.b", "a b", "ä"] {
        let found = diagnostics(&step(json!({"id": id})));
        assert_eq!(
            (found[0].code, found[0].pointer.as_str()),
            (DiagnosticCode::InvalidValue, "/definition/step/id"),
            "{id}"
        );
    }
}

#[test]
fn control_characters_and_connection_headers_are_refused() {
    for name in ["Host", "Content-Length", "Transfer-Encoding", "Connection"] {
        for spelled in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
            let found = diagnostics(&step(json!({"headers": {&spelled: "x"}})));
            let [diagnostic] = found.as_slice() else { panic!("{spelled} gave {found:#?}") };
            assert_eq!(diagnostic.code, DiagnosticCode::InvalidValue, "{diagnostic}");
            assert_eq!(diagnostic.pointer, format!("/definition/step/headers/{spelled}"));
        }
    }
    for text in ["a\rb", "a\nb", "a\0b"] {
        let found = diagnostics(&step(json!({"headers": {"x": text}})));
        assert_eq!((found.len(), found[0].code), (1, DiagnosticCode::InvalidValue), "{text:?}");
    }
    compiled(json!({"headers": {"x": "a\tb"}}));
}

#[test]
fn retry_is_read_with_its_defaults() {
    let retry = |retry: Json| compiled(json!({"retry": retry})).steps[0].retry.clone();
    let printed = |retry: &RetryPolicy| format!("{retry:?}");
    assert_eq!(printed(&compiled(json!({})).steps[0].retry), printed(&retry(json!({}))));
    let wait = retry(json!({"wait": "response.body.retry_after"})).wait.unwrap();
    assert_eq!(wait.text(), "response.body.retry_after");
    let short = retry(json!({"max_retries": 0}));
    assert_eq!(
        (short.max_retries, short.backoff, short.jitter, short.on),
        (0, Backoff::Fibonacci, Jitter::Full, vec![])
    );
    assert_eq!((short.initial_delay.as_millis(), short.max_delay.as_millis()), (1000, 60_000));
    let whole = retry(json!({
        "max_retries": 5, "backoff": "linear", "initial_delay_ms": 10, "max_delay_ms": 20, "jitter": "none", "on": [404, "4xx", "DECODE"],
    }));
    assert_eq!((whole.max_retries, whole.backoff, whole.jitter), (5, Backoff::Linear, Jitter::None));
    assert_eq!((whole.initial_delay.as_millis(), whole.max_delay.as_millis()), (10, 20));
    let on = vec![
        OutcomeMatcher::Status(404),
        OutcomeMatcher::Class(StatusClass(4)),
        OutcomeMatcher::Code("DECODE".to_owned()),
    ];
    assert_eq!(whole.on, on);
    for (name, backoff) in [
        ("fibonacci", Backoff::Fibonacci),
        ("exponential", Backoff::Exponential),
        ("constant", Backoff::Constant),
    ] {
        assert_eq!(retry(json!({"backoff": name})).backoff, backoff);
    }
}

#[test]
fn unsupported_fields_are_reported() {
    let found = |diagnostics: Vec<Diagnostic>| -> Vec<_> {
        diagnostics.into_iter().map(|diagnostic| (diagnostic.code.as_str(), diagnostic.pointer)).collect()
    };
    let unsupported = |pointer: &str| vec![("UNSUPPORTED", pointer.to_owned())];
    assert_eq!(
        found(diagnostics(&step(json!({"auth_flow": "main"})))),
        unsupported("/definition/step/auth_flow")
    );
    let below = json!({"sub_steps": [{"url": "https://a.example.com", "auth_flow": "main"}]});
    assert_eq!(found(diagnostics(&step(below))), unsupported("/definition/step/sub_steps/0/auth_flow"));
    assert_eq!(
        found(diagnostics(&step(json!({"while": "auth.expires_at"})))),
        unsupported("/definition/step/while")
    );
    let mut limited = step(json!({}));
    limited["rate_limits"] = json!([{"name": "a", "max_concurrent": 1}]);
    assert_eq!(found(diagnostics(&limited)), unsupported("/definition/rate_limits"));
}

#[test]
fn neutral_value_of_an_unsupported_field_is_accepted() {
    compiled(json!({
        "sub_steps": [], "stop_on_error": false, "conditional": false, "auth_flow": "none", "for_each": null,
        "response": {"format": "json", "decompress": "auto", "stream": false},
    }));
}

#[test]
fn all_problems_are_reported_at_once_in_order() {
    let document = json!({
        "key": "Orders", "integratoin": "shop", "priority": 10, "configs": ["a", "a", 5],
        "definition": {
            "max_loops": 0, "on_limit": "stop",
            "steps": [
                {"id": "a", "url": "https://x.example.com/{{ contxt.page }}", "while": "response.body.more == true"},
                {"id": "a", "url": "https://x.example.com", "headers": {"Host": "y", "X": "{{ lenght(context.a) }}"}},
            ],
        },
    });
    let diagnostics = check(&document, &ServerLimits::default()).unwrap_err().0;
    let found: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| (diagnostic.code.as_str(), diagnostic.pointer.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("UNKNOWN_FIELD", "/integratoin"),
            ("INVALID_VALUE", "/key"),
            ("REQUIRED", ""),
            ("DUPLICATE", "/configs/1"),
            ("WRONG_TYPE", "/configs/2"),
            ("OUT_OF_RANGE", "/priority"),
            ("OUT_OF_RANGE", "/definition/max_loops"),
            ("INVALID_VALUE", "/definition/on_limit"),
            ("UNKNOWN_NAME", "/definition/steps/0/url"),
            ("TRAP", "/definition/steps/0/while"),
            ("DUPLICATE", "/definition/steps/1/id"),
            ("INVALID_VALUE", "/definition/steps/1/headers/Host"),
            ("UNKNOWN_FUNCTION", "/definition/steps/1/headers/X"),
        ]
    );
    let name = diagnostics.iter().find(|diagnostic| diagnostic.code == DiagnosticCode::UnknownName).unwrap();
    assert_eq!(name.in_scope, ["config", "context", "meta", "page", "prev", "response", "steps"]);
}

#[test]
fn server_limits_apply_to_plans() {
    let server = ServerLimits {
        loops: 10,
        execution_seconds: 20,
        requests: Some(30),
        timeout_seconds: 5,
        body_bytes: 100,
        retries: 2,
        steps: 1,
        definition_bytes: 200,
        ..ServerLimits::default()
    };
    let small = compile(&step(json!({"timeout_seconds": 5})), &server).unwrap();
    assert_eq!((small.max_loops, small.max_execution.as_secs(), small.max_requests), (10, 20, Some(30)));
    assert_eq!((small.steps[0].response.max_bytes, small.steps[0].retry.max_retries), (100, 2));
    let refused = |definition: Json| compile(&definition, &server).unwrap_err().0[0].code;
    assert_eq!(refused(step(json!({"timeout_seconds": 6}))), DiagnosticCode::OutOfRange);
    assert_eq!(refused(step(json!({"retry": {"max_retries": 3}}))), DiagnosticCode::OutOfRange);
    assert_eq!(refused(step(json!({"body": "x".repeat(200)}))), DiagnosticCode::TooLarge);
    let two = json!({"steps": [{"url": "https://a.example.com"}, {"url": "https://b.example.com"}]});
    assert_eq!(refused(two), DiagnosticCode::TooLarge);
}

#[test]
fn pagination_is_read_with_its_defaults() {
    let kind = |paginate: Json| {
        let definition = compiled(json!({"iterate_over": "response.body.items", "paginate": paginate}));
        definition.steps[0].paginate.clone().unwrap()
    };
    let page = kind(json!({"type": "page"}));
    assert!(
        matches!(page.kind, PaginationKind::Page { param: Some(param), start: 1, size_param: None, size: None } if param == "page")
    );
    assert_eq!(
        (page.on_repeat, page.stop_on, page.pointer.as_str()),
        (OnRepeat::Fail, StopOn::default(), "/definition/step/paginate")
    );
    let offset = kind(
        json!({"type": "offset", "param": "skip", "size_param": "take", "size": 50, "stop_on": ["empty", "short"], "on_repeat": "stop"}),
    );
    assert!(
        matches!(offset.kind, PaginationKind::Offset { param: Some(param), start: 0, size_param: Some(_), size: 50 } if param == "skip")
    );
    assert!(offset.stop_on.empty && offset.stop_on.short && offset.on_repeat == OnRepeat::Stop);
    let cursor = kind(json!({"type": "cursor", "value": "response.body.next"}));
    assert!(
        matches!(cursor.kind, PaginationKind::Cursor { value, param: None } if value.text() == "response.body.next")
    );
    assert!(matches!(kind(json!({"type": "link_header"})).kind, PaginationKind::LinkHeader));
    let none = kind(json!({"type": "page", "param": null}));
    assert!(matches!(none.kind, PaginationKind::Page { param: None, start: 1, .. }));
    let from_one = kind(json!({"type": "offset", "param": null, "start": 1, "size": 5}));
    assert!(matches!(from_one.kind, PaginationKind::Offset { param: None, start: 1, .. }));
}

#[test]
fn kept_params_are_parameters_of_the_step() {
    let keep = |names: Json| {
        step(json!({
            "params": {"api_key": "k"},
            "cursor": {"value": "response.body.at", "param": "since"},
            "paginate": {"type": "link_header", "keep_params": names},
        }))
    };
    let definition = compile(&keep(json!(["since", "api_key"])), &ServerLimits::default()).unwrap();
    assert_eq!(definition.steps[0].paginate.as_ref().unwrap().keep_params, ["since", "api_key"]);
    let refused =
        compile(&keep(json!(["api-key", 5, "since", "since"])), &ServerLimits::default()).unwrap_err();
    let found: Vec<_> = refused
        .0
        .iter()
        .map(|found| (found.code, found.pointer.as_str(), found.suggestion.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            (DiagnosticCode::InvalidValue, "/definition/step/paginate/keep_params/0", Some("api_key")),
            (DiagnosticCode::WrongType, "/definition/step/paginate/keep_params/1", None),
            (DiagnosticCode::Duplicate, "/definition/step/paginate/keep_params/3", None),
        ]
    );
    let page =
        step(json!({"iterate_over": "response.body", "paginate": {"type": "page", "keep_params": []}}));
    assert_eq!(compile(&page, &ServerLimits::default()).unwrap_err().0[0].code, DiagnosticCode::UnknownField);
}

fn arbitrary_json() -> impl Strategy<Value = Json> {
    let names = prop::sample::select(vec![
        "step",
        "steps",
        "url",
        "method",
        "headers",
        "params",
        "body",
        "while",
        "paginate",
        "type",
        "value",
        "retry",
        "on",
        "extract",
        "iterate_over",
        "sub_steps",
        "for_each",
        "window",
        "cursor",
        "async_job",
        "submit",
        "poll",
        "done_when",
        "download",
        "start",
        "id",
        "response",
        "max_bytes",
        "name",
        "key",
        "definition",
        "set_context",
        "emit",
        "x",
    ]);
    let texts = prop::sample::select(vec![
        "https://a.example.com/{{ config.a }}",
        "{{ page.cursor }}",
        "response.body.items",
        "GET",
        "page",
        "cursor",
        "{{",
        "",
        "`1`",
        "5xx",
        "a",
    ]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        texts.prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map(names.clone(), inner, 0..6).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_document_is_accepted_or_refused_with_diagnostics(document in arbitrary_json()) {
        let server = ServerLimits::default();
        for outcome in [check(&document, &server).map(|plan| plan.definition), compile(&document, &server)] {
            match outcome {
                Ok(definition) => {
                    for request in definition.steps.iter().filter_map(|step| step.request()) {
                        let _rendered = request.render(&scope(), &env());
                    }
                }
                Err(diagnostics) => prop_assert!(!diagnostics.0.is_empty()),
            }
        }
    }
}
