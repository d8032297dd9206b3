//! Properties of exactness: values keep every digit on each path through the language, and the
//! parts of a body that no expression reads can be left out.

use chrono::DateTime;
use proptest::prelude::*;

use super::tests::compile_anywhere;
use crate::{
    EvalEnv, PathSegment, PathSelection, PlainPath, RawRows, Scope, ScopeName, ServerLimits, Value, compile,
};

/// Generates JSON text whose numbers are 64-bit integers or short decimals.
fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (any::<i16>(), 1..99_u8).prop_map(|(whole, part)| format!("{whole}.{part:02}")),
    ];
    let text = prop::sample::select(vec!["\"\"", "\"a\"", "\"\\u00fc\\n\"", "\"2026-01-15T10:30:00Z\""])
        .prop_map(str::to_owned);
    let leaf = prop_oneof![
        number,
        text,
        prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned)
    ];
    let name = prop::sample::select(vec!["a", "b", "items", "true"]);
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::btree_map(name.clone(), inner, 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn env() -> EvalEnv {
    EvalEnv::new(DateTime::UNIX_EPOCH, 1)
}

fn with_body(body: Value) -> Scope {
    Scope::new()
        .with(ScopeName::Response, Value::object([("body", body), ("status_code", Value::from(200_u64))]))
}

const EXPRESSIONS: &[&str] = &[
    "response.body",
    "response.body.a",
    "response.body.a.b",
    "response.body.items[*].a",
    "response.body.items[0].a.b",
    "response.body.a || response.body.b.items",
    "response.body.a && !(response.body.b)",
    "response.body.a.b == response.body.b",
    "response.body.{x: a, y: b.items}",
    "response.body.a.{x: b.a, y: `1`}",
    "response.body.[a.b, items]",
    "response.body.a.[`1`]",
    "response.body.a.b.{x: `1`}",
    "response.body.*",
    "response.body.a.*.b",
    "response.body.items[?a == `1`].b",
    "response.body[]",
    "response.body.items[1:].a",
    "length(response.body.items)",
    "length(response.body)",
    "!(response.body.items)",
    "response.body.a == `null` || response.body.a != 'x'",
    "response.body.items[?b].a",
    "response.body.items[?a == `true`] | length(@)",
    "response.body.items[0:2].a",
    "response.body.items[-1].a",
    "response.body.items[1].b || response.body.items[-2]",
    "response.body.items[].a",
    "response.body.items[*].items[]",
    "response.body.items[*].items[].b",
    "response.body.items[*].{x: a, n: length(b)}",
    "response.body.items[*].keys(a)",
    "response.body.items[*].a | [0]",
    "response.body[*].a",
    "response.body[0]",
    "response.body[?a > `0`].b",
    "max_by(response.body.items, &a).b",
    "type(response.body.items[0])",
    "type(response.body.a)",
    "keys(response.body.a)",
    "map(&a, response.body.items)",
    "response.body.items[?b == root().response.body.a]",
    "response | body.a | b",
    "@.response.body.a",
    "response.{x: body.a}",
    "not_null(response.body.a.b, response.body.b)",
    "response.body.\"true\".a",
    "if(response.body.a, response.body.b, response.status_code)",
    "json_stringify(response.body.a)",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn unread_parts_of_a_body_make_no_difference(body in json()) {
        let whole = with_body(Value::parse(body.as_bytes()).unwrap());
        for text in EXPRESSIONS {
            let expr = compile_anywhere(text);
            let Some(paths) = expr.reads().exact_below(&["response", "body"]) else { continue };
            let part = with_body(Value::parse_selected(body.as_bytes(), &PathSelection::of(paths)).unwrap());
            let (whole, part) = (expr.eval(&whole, &env()), expr.eval(&part, &env()));
            match (whole, part) {
                (Ok(whole), Ok(part)) => prop_assert_eq!(whole.to_json(), part.to_json(), "{} of {}", text, body),
                (Err(whole), Err(part)) => prop_assert_eq!(whole, part),
                (whole, part) => prop_assert!(false, "{} of {}: {:?} and {:?}", text, body, whole, part),
            }
        }
    }

    #[test]
    fn raw_rows_equal_the_rows_as_values(items in prop::collection::vec(json(), 0..5)) {
        let body = format!(" {{ \"x\" : 1 , \"a\":{{\"items\": [ {} ] }} }} ", items.join(" ,\n"));
        let path = PlainPath(["a", "items"].map(|name| PathSegment::Member(name.to_owned())).to_vec());
        let rows = RawRows::find(body.as_bytes(), &path).unwrap().rows;
        prop_assert_eq!(rows.iter().map(|row| std::str::from_utf8(row).unwrap()).collect::<Vec<_>>(), items);
        let values = Value::parse(body.as_bytes()).unwrap().member("a").member("items");
        for (row, value) in rows.into_iter().zip(values.items().unwrap()) {
            prop_assert_eq!(Value::parse(row).unwrap().to_json(), value.to_json());
        }
    }

    #[test]
    fn values_keep_digits_through_context_and_templates(body in json()) {
        let definition = serde_json::json!({"step": {
            "url": "https://api.example.com", "body": {"copy": "{{ context.kept }}"}, "set_context": {"kept": "response.body"},
        }});
        let definition = compile(&definition, &ServerLimits::default()).unwrap();
        let step = &definition.steps[0];
        let original = Value::parse(body.as_bytes()).unwrap();
        let value = step.set_context[0].1.eval(&with_body(original.clone()), &env()).unwrap();
        let stored = Value::parse(&value.to_json()).unwrap();
        let scope = Scope::new().with(ScopeName::Context, Value::object([("kept", stored)]));
        let sent = Value::parse(&step.request().unwrap().render(&scope, &env()).unwrap().body.unwrap()).unwrap();
        prop_assert_eq!(sent.member("copy").to_json(), original.to_json());
    }
}
