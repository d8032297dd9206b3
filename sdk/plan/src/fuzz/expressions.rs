//! Fuzzes expressions: prints trees of all language elements and evaluates them on values of every
//! type.

use std::time::{Duration, Instant};

use chrono::DateTime;
use proptest::prelude::*;

use crate::expr::{ExprOrigin, InScope};
use crate::functions::names;
use crate::{EvalEnv, Expr, Scope, ScopeName, Value};

/// Maximum time of one evaluation: ample for its budget of steps in an unoptimised build.
const TIME_LIMIT: Duration = Duration::from_secs(60);

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => prop::sample::select(vec![
            "response.body", "response.body.rows", "response.body.rows[0]", "response.body.big", "response.status_code", "context.text", "context.time",
            "context", "@", "root()", "response.body.rows[*].id", "response.headers", "item", "missing",
        ]).prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            "`1`", "`0`", "`-1`", "`1.5`", "`9007199254740993`", "`null`", "`true`", "`[]`", "`{}`", "`[1,[2]]`", "'a'", "''", "'2026-01-15T10:30:00Z'", "'%Y'",
            "'(a)'", "'1d'", "'next'", "'ü\\n'", "`\"\\ud83d\\ude00\"`",
        ]).prop_map(str::to_owned),
    ];
    let functions: Vec<&'static str> = names().filter(|name| *name != "raw").collect();
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let call = (prop::sample::select(functions.clone()), prop::collection::vec(inner.clone(), 0..4))
            .prop_map(|(name, arguments)| format!("{name}({})", arguments.join(", ")));
        let pair = (inner.clone(), prop::sample::select(vec!["&&", "||", "|", "==", "!=", "<", ">=", "."]), inner.clone())
            .prop_map(|(left, operator, right)| format!("({left}) {operator} ({right})"));
        let after = (inner.clone(), prop::sample::select(vec![
            "[0]", "[-1]", "[*]", "[]", "[1:]", "[::-1]", ".*", ".id", "[?id]", "[?id > `1`]", ".{a: id, b: @}", ".[id, id]", "[?@ == `1`] | [0]",
        ])).prop_map(|(inner, after)| format!("({inner}){after}"));
        prop_oneof![
            4 => call,
            3 => pair,
            3 => after,
            1 => inner.clone().prop_map(|inner| format!("!({inner})")),
            1 => prop::collection::vec(inner.clone(), 1..4).prop_map(|items| format!("[{}]", items.join(", "))),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{a: {a}, b: {b}}}")),
            1 => (prop::sample::select(vec!["map", "sort_by", "max_by", "min_by"]), inner.clone(), inner)
                .prop_map(|(name, by, list)| if name == "map" { format!("map(&({by}), {list})") } else { format!("{name}({list}, &({by}))") }),
        ]
    })
}

fn scopes() -> Vec<Scope> {
    let value = |json: &str| Value::parse(json.as_bytes()).unwrap();
    let full = Scope::new()
        .with(ScopeName::Response, value(r#"{"status_code":200,"headers":{"link":"</a?page=2>; rel=next"},
            "body":{"rows":[{"id":2,"at":"2026-01-15"},{"id":1.5},{"id":null},7,"x",[]],"big":9007199254740993}}"#))
        .with(ScopeName::Context, value(r#"{"text":"a-b","time":"2026-01-15T10:30:00+02:00"}"#))
        .with(ScopeName::Item, value("18446744073709551615"));
    vec![Scope::new(), full]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_expression_returns_json_or_fails_within_budget(text in expression()) {
        let scope = InScope::anything();
        let Ok(expr) = Expr::compile(&text, &ExprOrigin { pointer: "/x", start: 0, scope: &scope }) else { return Ok(()) };
        let env = || EvalEnv::new(DateTime::UNIX_EPOCH, 1);
        for scope in scopes() {
            let started = Instant::now();
            let value = expr.eval(&scope, &env());
            prop_assert!(started.elapsed() < TIME_LIMIT, "{} took {:?}", text, started.elapsed());
            match value {
                Ok(value) => {
                    let json = value.to_json();
                    let again = Value::parse(&json);
                    prop_assert!(again.is_ok(), "{} gave {}", text, String::from_utf8_lossy(&json));
                    prop_assert_eq!(again.unwrap().to_json(), json, "{}", text);
                    prop_assert_eq!(expr.eval(&scope, &env()).ok(), Some(value), "{} is deterministic", text);
                }
                Err(error) => prop_assert!(!error.message.is_empty(), "{}", text),
            }
        }
    }

    #[test]
    fn any_text_is_an_expression_or_has_a_diagnostic(text in "[ -~é]{0,40}|([a-z]{1,6}[.(\\[`'|&]){0,12}|\\PC{0,200}") {
        let scope = InScope::new([ScopeName::Response, ScopeName::Context], [], &[]);
        match Expr::compile(&text, &ExprOrigin { pointer: "/x", start: 0, scope: &scope }) {
            Ok(expr) => drop(expr.eval(&scopes()[1], &EvalEnv::new(DateTime::UNIX_EPOCH, 1))),
            Err(diagnostics) => {
                prop_assert!(!diagnostics.is_empty());
                for diagnostic in diagnostics {
                    let position = diagnostic.position.unwrap_or_default();
                    prop_assert!(text.get(position..).is_some(), "{position} in {text:?}: {diagnostic}");
                }
            }
        }
    }
}
