//! Tests of expressions: diagnostics of the checker, results and budgets of evaluation.

use std::path::PathBuf;
use std::process::Command;

use chrono::DateTime;
use proptest::prelude::*;

use super::eval::equality::equal;
use super::eval::evaluation::{EvalData, Evaluation};
use super::eval::interpreter::interpret;
use super::*;
use crate::{Diagnostic, DiagnosticCode, EvalEnv, ReadSegment, Scope, ScopeName, Value};

pub(crate) fn compile_anywhere(text: &str) -> Expr {
    let scope = InScope::anything();
    Expr::compile(text, &ExprOrigin { pointer: "/x", start: 0, scope: &scope })
        .unwrap_or_else(|diagnostics| panic!("{text}: {diagnostics:?}"))
}

pub(crate) fn eval_with(text: &str, scope: &Scope, env: &EvalEnv) -> Result<Value, EvalError> {
    compile_anywhere(text).eval(scope, env)
}

/// Evaluates with an empty scope, and returns the result as JSON.
pub(crate) fn eval(text: &str) -> Result<String, EvalError> {
    let env = EvalEnv::new(DateTime::UNIX_EPOCH, 1);
    eval_with(text, &Scope::new(), &env).map(|value| String::from_utf8(value.to_json()).unwrap())
}

/// Evaluates with a sixteenth of the budget, because the whole takes minutes in a debug build.
pub(crate) fn eval_in_part(text: &str, scope: &Scope) -> Result<Value, EvalError> {
    let env = EvalEnv::new(DateTime::UNIX_EPOCH, 1);
    compile_anywhere(text).eval_in(Evaluation::new(scope, &env).with_budget_fraction(16))
}

fn diagnostics(text: &str) -> Vec<Diagnostic> {
    let scope = InScope::new(
        [ScopeName::Response, ScopeName::Context, ScopeName::Meta, ScopeName::Steps],
        [ScopeName::Window],
        &["first".to_owned()],
    );
    match Expr::compile(text, &ExprOrigin { pointer: "/definition/step/while", start: 3, scope: &scope }) {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics,
    }
}

#[test]
fn diagnostics_have_code_position_and_suggestion() {
    use DiagnosticCode::*;
    let cases = [
        ("body.items", UnknownName, 0, Some("response.body")),
        ("respnse.body", UnknownName, 0, Some("response")),
        ("zzzzzz", UnknownName, 0, None),
        ("response.status == `200`", UnknownName, 9, Some("response.status_code")),
        ("meta.execution", UnknownName, 5, Some("meta.execution_id")),
        ("steps.frist.body", UnknownName, 6, Some("steps.first")),
        ("steps.first.boddy", UnknownName, 12, Some("steps.first.body")),
        ("window.from", Unsupported, 0, None),
        ("context.a && loop_count", UnknownName, 13, Some("meta.loop_count")),
        ("lenght(response.body)", UnknownFunction, 0, Some("length")),
        ("add(`1`)", WrongArity, 0, Some("add(a: number, b: number) → number")),
        ("response.body.done == true", Trap, 22, Some("`true`")),
        ("response.body.items[?active == false]", Trap, 31, Some("`false`")),
        ("response.body.next != null", Trap, 22, Some("`null`")),
        ("context.a | true", Trap, 12, Some("`true`")),
        ("response.status_code == 200", Trap, 24, Some("`200`")),
        ("context.a < -1.5", Trap, 12, Some("`-1.5`")),
        ("!response.body.more", Trap, 0, Some("!(response.body.more)")),
        ("!response.body[0]", Trap, 0, Some("!(response.body[0])")),
        ("context.a && !context.b[0].c", Trap, 13, Some("!(context.b[0].c)")),
        ("context.since > '2026'", Trap, 16, Some("compare(context.since, '2026') > `0`")),
        ("'a' <= context.b.c", Trap, 0, Some("compare('a', context.b.c) <= `0`")),
        ("response.body.at < now()", Trap, 19, Some("compare(response.body.at, now()) < `0`")),
        ("lower(context.a) >= context.b", Trap, 0, Some("compare(lower(context.a), context.b) >= `0`")),
        ("context.at > meta.started_at", Trap, 13, Some("compare(context.at, meta.started_at) > `0`")),
        ("(context.a || context.b) > now()", Trap, 27, Some("compare(a, b) > `0`")),
        ("now() > `1700000000`", Trap, 0, Some("to_epoch(now()) > `1700000000`")),
        ("`5` < meta.scheduled_at", Trap, 6, Some("`5` < to_epoch(meta.scheduled_at)")),
        (
            "response.headers.\"x-left\" < `10`",
            Trap,
            0,
            Some("to_number(response.headers.\"x-left\") < `10`"),
        ),
        ("context.a + `1`", Trap, 10, Some("add(a, b)")),
        ("context.a == 2026-01-15", Trap, 13, Some("'2026-01-15'")),
        ("2026-01-15T10:30:00Z", Trap, 0, Some("'2026-01-15T10:30:00Z'")),
        ("context.a -1", Trap, 10, Some("sub(a, b)")),
        ("context.a - context.b", Trap, 10, Some("sub(a, b)")),
        ("context.a and context.b", Trap, 10, Some("&&")),
        ("context.items.0.id", Trap, 14, Some("[0]")),
        ("context.state == \"open\"", Trap, 17, Some("'open'")),
        ("response.body.items[?state == \"open\"]", Trap, 30, Some("'open'")),
        ("context.state > \"open\"", Trap, 16, Some("compare(context.state, 'open') > `0`")),
        ("\"count\" > `5`", Trap, 0, Some("count")),
        ("context.at > \"2026-01-01\"", Trap, 13, Some("compare(context.at, '2026-01-01') > `0`")),
        ("\"2026-01-01\" <= context.at", Trap, 0, Some("compare('2026-01-01', context.at) <= `0`")),
        ("context.at == \"2026-01-01T10:30:00Z\"", Trap, 14, Some("'2026-01-01T10:30:00Z'")),
        ("context.n >= \"-1.5\"", Trap, 13, Some("`-1.5`")),
        ("context.n != \"5\"", Trap, 13, Some("'5'")),
        ("response.body[", Syntax, 14, None),
        ("", Syntax, 0, None),
        ("response.body[::0]", InvalidValue, 17, None),
        ("regex_match(context.a, '(')", InvalidValue, 23, None),
        ("[&a]", Syntax, 1, None),
        ("not_null(&a)", Syntax, 9, None),
        ("raw(context.a)", InvalidValue, 0, None),
        ("root().bdy", UnknownName, 7, None),
        ("@.contxt", UnknownName, 2, Some("context")),
    ];
    for (text, code, offset, suggestion) in cases {
        let diagnostics = diagnostics(text);
        let diagnostic = diagnostics.first().unwrap_or_else(|| panic!("{text} was not refused"));
        assert_eq!((diagnostic.code, diagnostic.position), (code, Some(offset + 3)), "{text}: {diagnostic}");
        assert_eq!(diagnostic.suggestion.as_deref(), suggestion, "{text}: {diagnostic}");
        assert_eq!(diagnostic.pointer, "/definition/step/while");
    }
    assert_eq!(diagnostics("boddy.items")[0].in_scope, ["context", "meta", "response", "steps"]);
}

#[test]
fn name_that_needs_quotes_is_answered_with_its_quoted_form() {
    for (text, offset, suggestion) in [
        ("response.body.my-list", 14, "response.body.\"my-list\""),
        ("response.body.my-list[*].id", 14, "response.body.\"my-list\""),
        ("response.headers.x-rate-limit == '0'", 17, "response.headers.\"x-rate-limit\""),
        ("length(response.body.a[0].b-c)", 26, "response.body.a[0].\"b-c\""),
        ("response.body.items[?my-field == 'x']", 21, "\"my-field\""),
        ("response.body.page-1", 14, "response.body.\"page-1\""),
        ("response.body.\"my-list\"[*].größe", 27, "response.body.\"my-list\"[*].\"größe\""),
        ("response.body.Ärger", 14, "response.body.\"Ärger\""),
        ("response.body.items[?größe == `1`]", 21, "\"größe\""),
        ("response.body.first name", 14, "response.body.\"first name\""),
        ("response.body.first name || context.a", 14, "response.body.\"first name\""),
        ("response.body.'data.value'", 14, "response.body.\"data.value\""),
        ("response.body.items[*].'a b'", 23, "response.body.items[*].\"a b\""),
        ("response.body.@type", 14, "response.body.\"@type\""),
        ("response.body.@odata.nextLink", 14, "response.body.\"@odata.nextLink\""),
        ("response.body.items[?@type == 'x']", 21, "\"@type\""),
        ("response.body.#text", 14, "response.body.\"#text\""),
        ("response.body.$ref", 14, "response.body.\"$ref\""),
        ("response.body.2xx", 14, "response.body.\"2xx\""),
        ("response.body.media:title", 14, "response.body.\"media:title\""),
        ("map(&my-field, response.body.items)", 5, "\"my-field\""),
    ] {
        let diagnostic = diagnostics(text).remove(0);
        assert_eq!(diagnostic.suggestion.as_deref(), Some(suggestion), "{text}: {diagnostic}");
        assert_eq!(
            (diagnostic.code, diagnostic.position),
            (DiagnosticCode::Trap, Some(offset + 3)),
            "{text}"
        );
    }
    for (text, suggestion) in [
        ("context.a-context.b", "sub(a, b)"),
        ("context.a - context.b", "sub(a, b)"),
        ("context.a+context.b", "add(a, b)"),
        ("meta-b", "sub(a, b)"),
        ("context.items.0", "[0]"),
        ("context.items.-1", "[-1]"),
    ] {
        let diagnostic = diagnostics(text).remove(0);
        assert_eq!(diagnostic.suggestion.as_deref(), Some(suggestion), "{text}: {diagnostic}");
    }
}

#[test]
fn outer_without_an_element_around_is_refused() {
    for text in [
        "outer()",
        "context.items[*].outer()",
        "response.body.a[].b[].{c: outer().id}",
        "map(&outer(), context.a)",
    ] {
        let diagnostic = diagnostics(text).remove(0);
        assert_eq!(diagnostic.code, DiagnosticCode::Trap, "{text}: {diagnostic}");
        assert!(diagnostic.message.contains("no element around"), "{diagnostic}");
    }
    assert_eq!(diagnostics("response.body.a[*].b[*].{c: outer().id}[]"), []);
}

#[test]
fn function_of_another_name_is_suggested() {
    for (text, suggestion) in [
        ("items(response.body.data)", "entries"),
        ("from_items(response.body.data)", "from_entries"),
        ("response.body.rows[*].zip(root().response.body.columns, @)", "zip_rows"),
    ] {
        let diagnostic = diagnostics(text).remove(0);
        assert_eq!(diagnostic.code, DiagnosticCode::UnknownFunction);
        assert_eq!(diagnostic.suggestion.as_deref(), Some(suggestion), "{diagnostic}");
    }
}

#[test]
fn unknown_timezone_of_format_time_is_refused() {
    let diagnostic = diagnostics("format_time(now(), 'date', 'Berlin')").remove(0);
    assert_eq!((diagnostic.code, diagnostic.position), (DiagnosticCode::InvalidValue, Some(30)));
    assert_eq!(diagnostics("format_time(now(), 'date', 'Europe/Berlin')"), []);
}

#[test]
fn pitfalls_are_found_at_any_depth() {
    for (text, offset, suggestion) in [
        ("add(context.a, 1)", 15, "`1`"),
        ("if(context.a, true, `false`)", 14, "`true`"),
        ("[context.a, null]", 12, "`null`"),
        ("{a: false}", 4, "`false`"),
        ("response.body.items[?n > 5]", 25, "`5`"),
        ("response.body.items[?at > '2026']", 26, "compare(at, '2026') > `0`"),
        ("response.body.items[?at >= root().context.at || at < 'b']", 53, "compare(at, 'b') < `0`"),
        (
            "response.body.items[?at > root().meta.started_at]",
            26,
            "compare(at, root().meta.started_at) > `0`",
        ),
        ("response.body.items[?at > \"2026-01-01\"]", 26, "compare(at, '2026-01-01') > `0`"),
        ("response.body.items[?\"2026-01-01\" < now()]", 21, "compare('2026-01-01', now()) < `0`"),
        ("meta | started_at > `5`", 7, "to_epoch(started_at) > `5`"),
        ("response.body.items[?!a.b]", 21, "!(a.b)"),
        ("map(&(!a.b), response.body.items)", 6, "!(a.b)"),
        ("not_null(context.a, !context.b.c)", 20, "!(context.b.c)"),
    ] {
        let diagnostics = diagnostics(text);
        let [diagnostic] = diagnostics.as_slice() else { panic!("{text} gave {diagnostics:#?}") };
        assert_eq!(
            (diagnostic.code, diagnostic.position),
            (DiagnosticCode::Trap, Some(offset + 3)),
            "{text}: {diagnostic}"
        );
        assert_eq!(diagnostic.suggestion.as_deref(), Some(suggestion), "{text}: {diagnostic}");
    }
}

#[test]
fn expression_beyond_its_bounds_is_too_large() {
    let code = |text: &str| diagnostics(text).first().map(|diagnostic| diagnostic.code);
    let long = |bytes: usize| format!("context.{}", "a".repeat(bytes - 8));
    assert_eq!((code(&long(4096)), code(&long(4097))), (None, Some(DiagnosticCode::TooLarge)));
    let deep = |levels: usize| format!("{}context.a{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!((code(&deep(100)), code(&deep(101))), (None, Some(DiagnosticCode::TooLarge)));
}

#[test]
fn all_diagnostics_of_one_expression_are_returned() {
    let codes: Vec<_> =
        diagnostics("foo && lenght(bar) == true").into_iter().map(|diagnostic| diagnostic.code).collect();
    assert_eq!(
        codes,
        [
            DiagnosticCode::UnknownName,
            DiagnosticCode::UnknownFunction,
            DiagnosticCode::UnknownName,
            DiagnosticCode::Trap
        ]
    );
}

#[test]
fn expressions_that_only_resemble_pitfalls_pass() {
    for text in [
        "context.true",
        "\"context\".\"true\" == `true`",
        "response.body.items[?\"null\" == `1`]",
        "!(response.body.more)",
        "response.body.a < `5`",
        "response.body.items[?\"24h\" > `5`]",
        "response.body.items[?\"2xx\" == `1`]",
        "response.body.items[?\"a-b\" > `1`]",
        "response.body.items[?started_at > `1`]",
        "response.body.items[?meta.started_at > `1`]",
        "response.body.meta.started_at > `1`",
        "response.body.url > response.status_code",
        "meta.loop_count < `3` && meta.attempt < `3`",
        "to_epoch(now()) > context.at",
        "now() == context.at",
        "to_number(response.headers.\"x-left\") > `5`",
        "max_of(response.body.items[*].n) > `5`",
        "(context.a || now()) > `5`",
        "if(context.a, `1`, 'x') > `0`",
        "length(split(context.a, ',')) > `1`",
        "context.a == 'text'",
        "`true`",
        "context.items[5].x",
        "map(&true_name, context.list)",
    ] {
        assert_eq!(diagnostics(text), [], "{text}");
    }
}

#[test]
fn ordering_with_a_text_is_refused() {
    for side in [
        "'2026'",
        "now()",
        "format_time(now(), 'date')",
        "time_add(now(), '1d')",
        "replace(context.a, 'a', 'b')",
        "url_encode(context.a)",
        "sha256(context.a)",
        "uuid()",
        "json_stringify(context.a)",
        "to_string(context.a)",
        "type(context.a)",
        "join(',', context.a)",
        "query_param(response.url, 'page')",
        "if(context.a, 'x', now())",
        "not_null(context.a | 'x', 'y')",
        "(meta.scheduled_at || now())",
        "(context.a && 'x')",
        "(context.a | lower(@))",
        "meta.execution_id",
        "root().meta.tenant_id",
        "response.url",
        "steps.first.url",
        "response.headers.date",
    ] {
        for text in [format!("context.x > {side}"), format!("{side} <= context.x")] {
            let diagnostics = diagnostics(&text);
            let [diagnostic] = diagnostics.as_slice() else { panic!("{text} gave {diagnostics:#?}") };
            assert_eq!(
                (diagnostic.code, diagnostic.message.contains("always null")),
                (DiagnosticCode::Trap, true),
                "{text}"
            );
        }
    }
}

/// The suggestion for a refused expression must itself compile.
#[test]
fn suggestion_compiles() {
    for text in [
        "context.at > '2026'",
        "context.at < now()",
        "now() > `1700000000`",
        "context.at > \"2026-01-01\"",
        "context.state > \"open\"",
        "response.headers.\"x-left\" < `10`",
        "response.body.items[?a.b[0].\"c d\" > root().meta.started_at].x || context.x",
    ] {
        let diagnostic = diagnostics(text).remove(0);
        let suggestion = diagnostic.suggestion.unwrap();
        assert_eq!(diagnostics(&suggestion.replace("(a.b", "(context.b")), [], "{text}: {suggestion}");
    }
}

#[test]
fn reads_are_the_literal_paths() {
    let reads =
        |text: &str| compile_anywhere(text).reads().paths().map(|path| path.join(".")).collect::<Vec<_>>();
    assert_eq!(reads("response.body.next && context.a"), ["context.a", "response.body.next"]);
    assert_eq!(reads("response.body.items[*].id"), ["response.body.items"]);
    assert_eq!(reads("response.{a: body.x, b: status_code}"), ["response.body.x", "response.status_code"]);
    assert_eq!(
        reads("length(response.body.items[?id == root().context.id])"),
        ["context.id", "response.body.items"]
    );
    assert_eq!(reads("root()"), [""]);
    assert_eq!(reads("@.meta"), ["meta"]);
    assert_eq!(reads("response.[`1`]"), ["response"]);
    assert_eq!(reads("map(&context, response.body)"), ["response.body"]);
    assert_eq!(reads("`1`"), [""; 0]);
}

#[test]
fn exact_reads_follow_indexes_and_projections() {
    let segment = |segment: &ReadSegment| match segment {
        ReadSegment::Member(name) => name.clone(),
        ReadSegment::Index(index) => format!("[{index}]"),
        ReadSegment::Every => "[*]".to_owned(),
        ReadSegment::Size => "#".to_owned(),
    };
    let reads = |text: &str| {
        let expr = compile_anywhere(text);
        let below = expr.reads().exact_below(&["response", "body"]);
        below.map(|paths| {
            paths
                .iter()
                .map(|path| path.iter().map(segment).collect::<Vec<_>>().join("."))
                .collect::<Vec<_>>()
        })
    };
    let cases: [(&str, &[&str]); 20] = [
        ("response.body.data[-1].id", &["data.[-1].id"]),
        ("response.body.accounts[*].users[*].{a: outer().id, n: n}[]", &["accounts"]),
        ("response.body.items[*].root().config.x", &["items.[*]"]),
        ("response.body.items[*].{a: b.c, d: e}", &["items.[*].b.c", "items.[*].e"]),
        ("response.body.items[?a == 'x'].b | [0]", &["items.[*].a.#", "items.[*].b"]),
        ("response.body.items[].b", &["items.[*].b", "items.[*].[*].b"]),
        ("response.body.items[0:2].b", &["items"]),
        ("length(response.body.items)", &["items.#"]),
        ("keys(response.body.items[0])", &["items.[0].#"]),
        ("!(response.body.items) || type(response.body) == 'x'", &["items.#", "#"]),
        ("response.body.items == `null`", &["items.#"]),
        ("response.body.items == response.body.old", &["items", "old"]),
        ("response.body.items[?tags && `true`].b", &["items.[*].b", "items.[*].tags"]),
        ("response.body.items[?tags].b", &["items.[*].b", "items.[*].tags.#"]),
        ("max_by(response.body.items, &at).at", &["items"]),
        ("response.body.*.a", &[]),
        ("(response.body.a || response.body.b).c", &["a", "b"]),
        ("response.body.items[*].{n: `1`}", &["items.[*]"]),
        ("root().response.body.a.b", &["a.b"]),
        ("context.a", &[]),
    ];
    for (text, expected) in cases {
        if text == "response.body.*.a" {
            assert_eq!(reads(text), None, "{text}");
            continue;
        }
        assert_eq!(reads(text).unwrap(), expected, "{text}");
    }
    assert_eq!(compile_anywhere("root()").reads().exact_below(&["response"]), None);
}

#[test]
fn integers_keep_every_digit() {
    let scope = Scope::new().with(
        ScopeName::Context,
        Value::parse(b"{\"id\":9007199254740993,\"u\":18446744073709551615}").unwrap(),
    );
    let env = EvalEnv::new(DateTime::UNIX_EPOCH, 1);
    for (text, expected) in [
        ("context.id", "9007199254740993"),
        ("{a: [context.u]}", "{\"a\":[18446744073709551615]}"),
        ("add(context.id, `1`)", "9007199254740994"),
        ("abs(context.id)", "9007199254740993"),
        ("sum([context.id, `0`])", "9007199254740993"),
        ("to_number('9007199254740993')", "9007199254740993"),
        ("to_string(context.u)", "\"18446744073709551615\""),
        ("context.id == `9007199254740992`", "true"),
        ("compare(context.id, `9007199254740992`)", "1"),
    ] {
        let value = eval_with(text, &scope, &env).unwrap();
        assert_eq!(String::from_utf8(value.to_json()).unwrap(), expected, "{text}");
    }
}

#[test]
fn jmespath_compares_doubles_and_compare_is_exact() {
    let (more, less) = ("9007199254740993", "9007199254740992");
    for (text, expected) in [
        (format!("`{more}` == `{less}`"), "true".to_owned()),
        (format!("`{more}` > `{less}`"), "false".to_owned()),
        (format!("`{more}` <= `{less}`"), "true".to_owned()),
        (format!("sort(`[{more}, {less}]`)"), format!("[{more},{less}]")),
        (format!("sort_by(`[{{\"n\": {more}}}, {{\"n\": {less}}}]`, &n)[*].n"), format!("[{more},{less}]")),
        (format!("max(`[{less}, {more}]`)"), less.to_owned()),
        (format!("compare(`{more}`, `{less}`)"), "1".to_owned()),
        (format!("max_of(`[{less}, {more}]`)"), more.to_owned()),
        (format!("min_of(`[{more}, {less}]`)"), less.to_owned()),
        ("max_of(`[1, 1.5, -2]`)".to_owned(), "1.5".to_owned()),
        (
            "min_of(['2026-01-15T12:00:00+02:00', '2026-01-15T10:30:00Z'])".to_owned(),
            "\"2026-01-15T12:00:00+02:00\"".to_owned(),
        ),
        ("min_of(['b', 'a'])".to_owned(), "\"a\"".to_owned()),
    ] {
        assert_eq!(eval(&text).unwrap(), expected, "{text}");
    }
}

#[test]
fn uuids_differ_within_an_evaluation_and_repeat_per_seed() {
    let once = eval("[uuid(), uuid()]").unwrap();
    let parts: Vec<&str> = once.split('"').collect();
    assert_ne!(parts[1], parts[3]);
    assert_eq!(eval("[uuid(), uuid()]").unwrap(), once);
}

/// Runs on a small stack, where unbounded recursion would end the process.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn hostile_expression_exceeds_its_budget() {
    on_a_small_stack(|| {
        let doubling = |step: &str, times: usize| vec![step; times].join("|");
        let hostile = [
            format!("'a'|{}", doubling("[@,@]", 60)),
            format!("'a'|{}", doubling("[@,@][]", 60)),
            format!("('a'|{0}) == ('a'|{0})", doubling("[@,@]", 60)),
            format!("unique('{}'|{})", "x".repeat(1000), doubling("[@,@]", 60)),
            format!("'{}'|{}", "x".repeat(1000), doubling("join('',[@,@])", 60)),
            format!("'x'|{}", doubling("replace(@,'x','xxxxxxxxxx')", 60)),
            format!(
                "length({}range(`0`,`1000000`){})",
                "map(&range(`0`,`1000000`),".repeat(3),
                ")".repeat(3)
            ),
            "range(`0`, `1000000000`)".to_owned(),
            format!("json_parse('{}{}')|{}", "[".repeat(900), "]".repeat(900), doubling("[@]", 150)),
            "range(`0`,`1000000`)[*].{KEY: @}".replace("KEY", &"k".repeat(3000)),
            format!("map(&contains('{}', 'y'), range(`0`, `1000000`))", "x".repeat(3000)),
            "map(&sha256(to_string(root().response)), range(`0`, `1000000`))"
                .replace("root().response", &format!("'{}'", "x".repeat(3500))),
        ];
        let (scope, env) = (Scope::new(), EvalEnv::new(DateTime::UNIX_EPOCH, 1));
        for text in hostile {
            let run = Evaluation::new(&scope, &env).with_budget_fraction(16);
            let error =
                compile_anywhere(&text).eval_in(run).expect_err(&text.chars().take(60).collect::<String>());
            assert!(error.over_budget || error.message.contains("more than"), "{error}");
        }
    });
}

/// Returns a response that a hostile API could send: a large text, a long list, JSON in a text, and
/// many members.
fn large_body() -> Scope {
    let text = "ab".repeat(500_000);
    let list = vec!["1"; 20_000].join(",");
    let members: Vec<_> = (0..100_000).map(|number| format!("\"m{number}\":{number}")).collect();
    let json = format!("[{}]", vec!["[1]"; 100_000].join(","));
    let body = format!(
        r#"{{"body":{{"text":"{text}","list":[{list}],"members":{{{}}},"json":"{json}"}}}}"#,
        members.join(",")
    );
    Scope::new().with(ScopeName::Response, Value::parse(body.as_bytes()).unwrap())
}

#[test]
fn each_budget_is_enforced() {
    for (text, words) in [
        ("'a'|REPEAT".replace("REPEAT", &vec!["[@,@]"; 60].join("|")), "4000000 values"),
        (format!("'{}'|{}", "x".repeat(1000), vec!["join('',[@,@])"; 60].join("|")), "64 MiB of new text"),
        (format!("map(&contains('{}', 'y'), range(`0`, `1000000`))", "x".repeat(3000)), "20000000 steps"),
    ] {
        let error = eval(&text).unwrap_err();
        assert!(error.over_budget && error.message.contains(words), "{error}");
    }
}

#[test]
fn hostile_body_ends_in_a_result_or_an_error() {
    let scope = large_body();
    // The list shares one text in memory, but reading all of its elements means reading 10 GB.
    let texts = "map(&root().response.body.text, range(`0`, `10000`))";
    for (text, over_budget) in [
        (format!("sort({texts})"), true),
        (format!("max({texts})"), true),
        ("sort_by(range(`0`, `10000`), &root().response.body.text)".to_owned(), true),
        (format!("max_of({texts})"), true),
        (format!("unique({texts})"), true),
        (format!("join('', {texts})"), true),
        (format!("({texts}) == ({texts})"), true),
        (format!("contains({texts}, 'x')"), false),
        (format!("length(to_string({texts}))"), true),
        (texts.to_owned(), true),
        (format!("length({texts})"), false),
        ("map(&replace(root().response.body.text, 'a', 'bbbb'), range(`0`, `10000`))".to_owned(), true),
        ("map(&sha256(root().response.body.text), range(`0`, `10000`))".to_owned(), true),
        ("map(&regex_match(root().response.body.text, '(a|b)*c'), range(`0`, `10000`))".to_owned(), true),
        ("map(&split(root().response.body.text, 'a'), range(`0`, `10000`))".to_owned(), true),
        ("map(&json_parse(root().response.body.json), range(`0`, `10000`))".to_owned(), true),
        ("map(&base64_encode(root().response.body.text), range(`0`, `10000`))".to_owned(), true),
        ("map(&merge(root().response.body.members, `{}`), range(`0`, `10000`))".to_owned(), true),
        ("map(&keys(root().response.body.members), range(`0`, `10000`))".to_owned(), true),
        ("map(&reverse(root().response.body.list), range(`0`, `10000`))".to_owned(), true),
        ("map(&chunk(root().response.body.list, `1`), range(`0`, `10000`))".to_owned(), true),
        ("response.body.list[*].[@, @] | [] | [*].[@, @] | [] | [*].[@, @] | [] | [*].[@, @] | [] | [*].[@, @]".to_owned(), true),
        ("sum(response.body.list)".to_owned(), false),
        ("sort_by(response.body.list, &@)[0]".to_owned(), false),
        ("length(response.body.members)".to_owned(), false),
    ] {
        match eval_in_part(&text, &scope) {
            Ok(_) => assert!(!over_budget, "{text} was evaluated"),
            Err(error) => assert!(over_budget && error.over_budget, "{error}"),
        }
    }
}

#[test]
fn context_that_contains_itself_exceeds_the_budget() {
    for text in ["context", "root()", "@"] {
        let expr = compile_anywhere(text);
        let mut context = Value::object([("a", Value::null())]);
        let env = EvalEnv::new(DateTime::UNIX_EPOCH, 0);
        let failed = (0..1100).find_map(|_| {
            let scope = Scope::new().with(ScopeName::Context, context.clone());
            match expr.eval(&scope, &env) {
                Ok(value) => {
                    context = Value::object([("a", value)]);
                    None
                }
                Err(error) => Some(error),
            }
        });
        assert!(failed.is_some_and(|error| error.over_budget), "{text}");
    }
}

#[test]
fn slices_with_extreme_bounds_are_safe() {
    for (text, expected) in [
        ("`[0,1,2,3]`[1::2147483647]", "[1]"),
        ("`[0,1,2,3]`[::-2147483647]", "[3]"),
        ("`[0,1,2,3]`[-2147483647:2147483647]", "[0,1,2,3]"),
        ("`[0,1,2,3]`[10:-10:-1]", "[3,2,1,0]"),
        ("`[]`[-2147483647]", "null"),
    ] {
        assert_eq!(eval(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn nesting_beyond_the_bounds_is_refused_without_overflow() {
    on_a_small_stack(|| {
        let scope = InScope::anything();
        let compile = |text: &str| Expr::compile(text, &ExprOrigin { pointer: "", start: 0, scope: &scope });
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("{a:", "}"),
            ("(a||", ")"),
            ("(a&&b==", ")"),
            ("(a||b&&c==", ")"),
            ("!(", ")"),
            ("[?a==", "]"),
            ("to_array(", ")"),
        ] {
            for levels in [50, 99, 100, 101, 500, 1300] {
                let text = format!("{}a{}", open.repeat(levels), close.repeat(levels));
                if let Err(diagnostics) = compile(&text) {
                    assert!(levels > 48, "{text}: {diagnostics:?}");
                    assert!(
                        diagnostics
                            .iter()
                            .all(|diagnostic| matches!(diagnostic.code, DiagnosticCode::TooLarge)),
                        "{diagnostics:?}"
                    );
                }
            }
        }
        for chain in [".a", "[0]", "[*]", "[]", "|a", "||a", ".*", "[?a]", "==a", "[1:]", "&&!a", "|&a"] {
            for times in [50, 200, 1000, 2000] {
                let text = format!("a{}", chain.repeat(times));
                if let Ok(expr) = compile(&text) {
                    expr.eval(&Scope::new(), &EvalEnv::new(DateTime::UNIX_EPOCH, 0)).unwrap();
                }
            }
        }
    });
}

/// Reads the cases of the official suite from the sources of the parser's crate.
fn compliance_suites() -> Vec<(String, serde_json::Value)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let manifest = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|package| package["name"] == "jmespath")
        .and_then(|package| package["manifest_path"].as_str())
        .unwrap();
    let folder: PathBuf = PathBuf::from(manifest).parent().unwrap().join("tests/compliance");
    let mut suites = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let suite = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        suites.push((path.file_name().unwrap().to_string_lossy().into_owned(), suite));
    }
    suites
}

/// Cases of the suite that Orchid refuses on purpose, each with the reason. All others pass.
const REFUSED: [(&str, &str); 3] = [
    (r#"[?"\\">`"foo"`]"#, "ordering with text is always null: `compare` orders it"),
    (r#"[?"\\" > `"foo"`]"#, "ordering with text is always null: `compare` orders it"),
    ("to_array(false)", "false without backticks reads a member of that name"),
];

#[test]
fn the_official_compliance_suite_passes() {
    let env = EvalEnv::new(DateTime::UNIX_EPOCH, 0);
    let (mut passed, mut refused) = (0, Vec::new());
    for (file, suite) in compliance_suites() {
        for group in suite.as_array().unwrap() {
            let given = Value::from(&group["given"]);
            let nothing = Scope::new();
            for case in group["cases"].as_array().unwrap() {
                let text = case["expression"].as_str().unwrap();
                let scope = InScope::anything();
                let compiled = Expr::compile(text, &ExprOrigin { pointer: "", start: 0, scope: &scope });
                let outcome = match compiled {
                    Err(diagnostics) if case.get("result").is_some() => {
                        let pitfalls =
                            diagnostics.iter().all(|diagnostic| diagnostic.code == DiagnosticCode::Trap);
                        assert!(pitfalls, "{file}: {text}: {diagnostics:?}");
                        refused.push(text.to_owned());
                        continue;
                    }
                    Err(diagnostics) => Err(format!("{diagnostics:?}")),
                    Ok(expr) => {
                        let mut evaluation = Evaluation::new(&nothing, &env).with_literals(expr.literals());
                        interpret(&mut evaluation, expr.ast(), EvalData::Value(given.rcvar()))
                            .map(Value::from)
                            .map_err(|failure| failure.message)
                    }
                };
                match (case.get("result"), outcome) {
                    (Some(expected), Ok(value)) => {
                        // Numbers compare as doubles, as in the suite's own runner.
                        let expected = Value::from(expected);
                        let mut evaluation = Evaluation::new(&nothing, &env);
                        let equal = equal(&mut evaluation, value.rcvar(), expected.rcvar()).unwrap();
                        assert!(equal, "{file}: {text} gave {}", String::from_utf8_lossy(&value.to_json()));
                    }
                    (Some(_), Err(error)) => panic!("{file}: {text}: {error}"),
                    (None, Ok(value)) => {
                        assert!(case.get("bench").is_some(), "{file}: {text} gave {value:?}")
                    }
                    (None, Err(_)) => {}
                }
                passed += 1;
            }
        }
    }
    assert!(passed > 850, "{passed}");
    assert_eq!(refused, REFUSED.map(|(text, _)| text));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_compiles_or_is_refused(text in r#"([a-c@*!&|.,:\[\]{}()?<>=' "`0-9-]|\[\*\]|\[\?|==|response|body|length\(|map\(&|`1`|'x'){0,40}"#) {
        let scope = InScope::anything();
        if let Ok(expr) = Expr::compile(&text, &ExprOrigin { pointer: "", start: 0, scope: &scope }) {
            let values = Scope::new().with(ScopeName::Response, Value::parse(br#"{"body":[{"a":[1,2],"b":{"c":"x"}}]}"#).unwrap());
            let _outcome = expr.eval(&values, &EvalEnv::new(DateTime::UNIX_EPOCH, 0));
        }
    }

    #[test]
    fn diagnostic_position_stays_inside_the_text(text in "\\PC{0,60}") {
        for diagnostic in diagnostics(&text) {
            prop_assert!(diagnostic.position.unwrap() <= text.len() + 3);
        }
    }
}
