//! Fuzzes templates: texts of braces, quotes and expressions in every field that takes a template.

use proptest::prelude::*;
use serde_json::json;

use crate::template::tests::{env, scope};
use crate::{ServerLimits, compile};

/// Generates text that is nearly a template.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{{",
        "}}",
        "{{ ",
        " }}",
        "{",
        "}",
        "'",
        "\"",
        "`",
        "``",
        "\\",
        "[",
        "]",
        "config.token",
        "context.big",
        "page.cursor",
        "config.list",
        "config.object",
        "config.nothing",
        "raw(",
        ")",
        "join('', [",
        "'{{'",
        "'}}'",
        "`\"}}\"`",
        "{a: ",
        " | ",
        " || ''",
        "https://a.example.com/",
        "?a=",
        "&",
        "#",
        "%",
        "/",
        "\r\n",
        "\u{0}",
        "é",
        "{{ config.token }}",
        "{{ context.bad }}",
        "{{ raw(page.cursor) }}",
    ]);
    prop::collection::vec(pieces, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_template_renders_safely_or_fails_with_its_pointer(
        url in text(), other in text(), form in any::<bool>(), whole in any::<bool>(),
    ) {
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let body = if whole { json!(other) } else { json!({"a": other, "b": [other, {"c": other}]}) };
        let step = json!({
            "method": "POST", "url": format!("https://a.example.com/{url}"), "params": {"p": other, "q": [other]},
            "headers": {"content-type": kind, "x-other": other}, "body": body
        });
        let Ok(definition) = compile(&json!({"step": step}), &ServerLimits::default()) else { return Ok(()) };
        match definition.steps[0].request().unwrap().render(&scope(), &env()) {
            Ok(request) => {
                prop_assert_eq!(request.url.host_str(), Some("a.example.com"));
                for (name, value) in &request.headers {
                    let plain = value.chars().all(|c| !c.is_control() || c == '\t');
                    prop_assert!(plain && name.to_ascii_lowercase() == *name, "{name}: {value:?}");
                }
                if !form && !whole {
                    let body = request.body.unwrap_or_default();
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok(), "{body:?}");
                }
            }
            Err(error) => {
                let document = json!({"definition": {"step": step}});
                prop_assert!(document.pointer(&error.pointer).is_some(), "{} does not resolve", error.pointer);
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}
