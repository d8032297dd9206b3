//! `for_each` and `sub_steps`, and the names in scope of outer and inner steps.

use super::*;
use crate::AuthFlow;

const URL: &str = "https://api.example.com/x";

#[test]
fn sub_steps_see_names_of_outer_steps() {
    let definition = json!({"steps": [
        {"id": "first", "url": URL},
        {"id": "outer", "url": URL, "for_each": "steps.first.body.accounts", "execute_if": "item.active",
         "iterate_over": "response.body.items", "concurrency": 7, "stop_on_error": true, "sub_steps": [
            {"id": "inner", "url": "https://api.example.com/{{ item.id }}/{{ item_index }}/{{ items[0].id }}/{{ parent.url }}",
             "execute_if": "parent.body.more && steps.first.body", "iterate_over": "response.body",
             "sub_steps": [{"id": "leaf", "url": "https://api.example.com/{{ items[2].id }}", "emit": "record", "iterate_over": "response.body"}]},
            {"id": "next", "url": "https://api.example.com/{{ steps.inner.body.id }}/{{ steps.first.body.id }}"},
        ]},
        {"url": "https://api.example.com/{{ steps.outer.body.id }}"},
    ]});
    let definition = compile(&definition, &ServerLimits::default()).unwrap();
    let outer = &definition.steps[1];
    assert_eq!(
        (outer.for_each.as_ref().map(|expr| expr.text()), outer.concurrency, outer.stop_on_error),
        (Some("steps.first.body.accounts"), 7, true)
    );
    let [inner, next] = outer.sub_steps.as_slice() else { panic!("two sub-steps") };
    assert_eq!((inner.pointer.as_str(), &*next.id), ("/definition/steps/1/sub_steps/0", "next"));
    assert_eq!(
        (outer.emit, inner.emit, inner.sub_steps[0].emit),
        (EmitMode::Page, EmitMode::None, EmitMode::Record)
    );
    assert_eq!(&*definition.steps[2].id, "step_6");
    assert!(definition.reads.includes(ScopeName::Parent) && !outer.reads.includes(ScopeName::Parent));
}

#[test]
fn name_out_of_scope_is_explained() {
    let below = |fields: Json| step(json!({"iterate_over": "response.body", "sub_steps": [fields]}));
    let cases = [
        (step(json!({"for_each": "item.list"})), "/definition/step/for_each", "it exists under for_each"),
        (step(json!({"for_each": "response.body"})), "/definition/step/for_each", "from the first page on"),
        (
            step(json!({"while": "item.id"})),
            "/definition/step/while",
            "it exists under for_each and in the sub-steps of rows",
        ),
        (step(json!({"while": "parent.body"})), "/definition/step/while", "in the sub-steps of a step"),
        (step(json!({"execute_if": "page.number"})), "/definition/step/execute_if", "from the first page on"),
        (
            step(json!({"while": "cursor"})),
            "/definition/step/while",
            "neither this step nor a step around it has a cursor",
        ),
        (
            step(json!({"while": "window.to"})),
            "/definition/step/while",
            "in the pages of a step with a window",
        ),
        (
            step(json!({"execute_if": "window.to", "window": {"from": "'2026-01-01'", "step": "1d"}})),
            "/definition/step/execute_if",
            "in the pages of a step with a window",
        ),
        (
            step(json!({"sub_steps": [{"url": URL, "while": "item.id"}]})),
            "/definition/step/sub_steps/0/while",
            "in the sub-steps of rows",
        ),
        (
            below(json!({"url": URL, "while": "steps.step_1.body"})),
            "/definition/step/sub_steps/0/while",
            "no step step_1 finishes before this one",
        ),
        (
            json!({"steps": [{"url": URL, "while": "steps.later.body"}, {"id": "later", "url": URL}]}),
            "/definition/steps/0/while",
            "no step later finishes before this one",
        ),
        (
            json!({"steps": [{"url": URL, "sub_steps": [{"id": "inner", "url": URL}]}, {"url": URL, "while": "steps.inner.body"}]}),
            "/definition/steps/1/while",
            "no step inner finishes before this one",
        ),
        (
            step(json!({"cursor": {"value": "response.body.a"}, "while": "cursor.value"})),
            "/definition/step/while",
            "cursor is a single value and has no members",
        ),
        (
            below(json!({"url": URL, "while": "item_index.a"})),
            "/definition/step/sub_steps/0/while",
            "item_index is a single value and has no members",
        ),
        (
            step(json!({"window": {"from": "'2026-01-01'", "step": "1d"}, "while": "window.start"})),
            "/definition/step/while",
            "window has no member start",
        ),
    ];
    for (definition, pointer, words) in cases {
        let diagnostics = diagnostics(&definition);
        let [diagnostic] = diagnostics.as_slice() else { panic!("{definition} gave {diagnostics:#?}") };
        assert_eq!((diagnostic.code, diagnostic.pointer.as_str()), (DiagnosticCode::UnknownName, pointer));
        assert!(diagnostic.message.contains(words), "{diagnostic}");
    }
}

#[test]
fn name_diagnostic_lists_the_names_in_scope() {
    let below = |fields: Json| step(json!({"iterate_over": "response.body", "sub_steps": [fields]}));
    let names = |field: &str, value: Json| {
        diagnostics(&below(json!({"url": URL, field: value})))[0].in_scope.join(" ")
    };
    assert_eq!(names("execute_if", json!("x")), "config context item item_index items meta parent steps");
    assert_eq!(
        names("while", json!("x")),
        "config context item item_index items meta page parent prev response steps"
    );
    let names = diagnostics(&step(json!({"for_each": "x", "cursor": {"value": "response.body.a"}})))[0]
        .in_scope
        .join(" ");
    assert_eq!(names, "config context meta steps");
}

#[test]
fn cursors_and_windows_are_in_scope_of_sub_steps() {
    compiled(json!({
        "cursor": {"value": "max_of(response.body[*].at)", "start": "2026-01-01T00:00:00Z"},
        "execute_if": "cursor",
        "window": {"step": "1d", "to": "cursor"},
        "params": {"from": "{{ window.from }}", "to": "{{ window.to }}"},
        "iterate_over": "response.body",
        "sub_steps": [{"url": "https://api.example.com/{{ cursor }}/{{ window.from }}", "for_each": "[window.from, cursor]"}],
    }));
}

#[test]
fn nesting_and_number_of_steps_are_limited() {
    let nested = |levels: usize| {
        (1..levels).fold(json!({"url": URL}), |below, _| json!({"url": URL, "sub_steps": [below]}))
    };
    assert_eq!(diagnostics(&json!({"step": nested(5)})), []);
    let deep = diagnostics(&json!({"step": nested(6)}));
    let [diagnostic] = deep.as_slice() else { panic!("{deep:#?}") };
    assert_eq!(diagnostic.code, DiagnosticCode::TooLarge);
    assert!(
        diagnostic.pointer.ends_with("/sub_steps/0/sub_steps/0") && diagnostic.message.contains("5 levels"),
        "{diagnostic}"
    );
    let bounded = diagnostics(&json!({"max_nesting_depth": 1, "step": nested(2)}));
    assert_eq!(bounded[0].code, DiagnosticCode::TooLarge);
    let many = json!({"steps": vec![json!({"url": URL, "sub_steps": vec![json!({"url": URL}); 50]}); 2]});
    assert_eq!(diagnostics(&many)[0].message, "the definition has too many steps: at most 100 are allowed");
}

#[test]
fn concurrency_is_read_with_its_default() {
    for (fields, concurrency) in
        [(json!({}), 50), (json!({"concurrency": 1}), 1), (json!({"concurrency": 1000}), 1000)]
    {
        assert_eq!(compiled(fields).steps[0].concurrency, concurrency);
    }
}

#[test]
fn fan_out_diagnostics_have_pointer_and_correction() {
    use DiagnosticCode::*;
    check_cases(vec![
        (step(json!({"for_each": ["a"]})), WrongType, "/definition/step/for_each", None, None),
        (
            step(json!({"for_each": "{{ context.list }}"})),
            Syntax,
            "/definition/step/for_each",
            Some(0),
            Some("context.list"),
        ),
        (step(json!({"concurrency": 0})), OutOfRange, "/definition/step/concurrency", None, None),
        (step(json!({"concurrency": 1001})), OutOfRange, "/definition/step/concurrency", None, None),
        (step(json!({"stop_on_error": "yes"})), WrongType, "/definition/step/stop_on_error", None, None),
        (step(json!({"sub_steps": {"url": URL}})), WrongType, "/definition/step/sub_steps", None, None),
        (
            step(json!({"sub_steps": [{"url": URL, "id": "a"}, {"url": URL, "id": "a"}]})),
            Duplicate,
            "/definition/step/sub_steps/1/id",
            None,
            None,
        ),
        (
            step(json!({"sub_steps": [{"url": URL, "id": "step_1"}]})),
            Duplicate,
            "/definition/step/sub_steps/0/id",
            None,
            None,
        ),
        (
            step(json!({"sub_steps": [{"url": URL, "emit": "record"}]})),
            Conflict,
            "/definition/step/sub_steps/0/emit",
            None,
            None,
        ),
    ]);
}

#[test]
fn auth_flow_is_given_by_its_key() {
    let wrong = diagnostics(&step(json!({"auth_flow": "Main"})));
    let wrong: Vec<_> =
        wrong.iter().map(|diagnostic| (diagnostic.code, diagnostic.pointer.as_str())).collect();
    let at = "/definition/step/auth_flow";
    assert_eq!(wrong, [(DiagnosticCode::Unsupported, at), (DiagnosticCode::InvalidValue, at)]);
}

#[test]
fn sub_steps_inherit_the_auth_flow() {
    let definition =
        compiled(json!({"auth_flow": "none", "sub_steps": [{"url": URL, "sub_steps": [{"url": URL}]}]}));
    let below = &definition.steps[0].sub_steps[0];
    assert_eq!(
        (&below.auth_flow, &below.sub_steps[0].auth_flow),
        (&Some(AuthFlow::Off), &Some(AuthFlow::Off))
    );
    assert_eq!(compiled(json!({"sub_steps": [{"url": URL}]})).steps[0].sub_steps[0].auth_flow, None);
}

#[test]
fn storing_credentials_is_refused() {
    // In addition to the diagnostic that they are not supported yet.
    let secret = |fields: Json| -> Vec<String> {
        let found = diagnostics(&step(fields))
            .into_iter()
            .filter(|diagnostic| diagnostic.code == DiagnosticCode::Secret);
        found.map(|diagnostic| diagnostic.pointer).collect()
    };
    for (fields, pointer) in [
        (json!({"extract": {"a": "auth.token"}}), "extract/a"),
        (json!({"extract": {"a": "root()"}}), "extract/a"),
        (json!({"set_context": {"a": "auth"}}), "set_context/a"),
        (json!({"set_context": {"a": "auth.headers.authorization"}}), "set_context/a"),
        (json!({"iterate_over": "response.body[?a == root().auth.token]"}), "iterate_over"),
        (json!({"for_each": "[auth.token]"}), "for_each"),
        (json!({"window": {"from": "auth.token", "to": "'2026-01-01'", "step": "1d"}}), "window/from"),
        (json!({"window": {"from": "'2026-01-01'", "to": "auth.token", "step": "1d"}}), "window/to"),
        (json!({"cursor": {"value": "auth.token"}}), "cursor/value"),
        (json!({"cursor": {"value": "response.body.a", "start": "{{ auth.token }}"}}), "cursor/start"),
        (
            json!({"for_each": "context.a", "cursor": {"value": "response.body.a", "per_item": "auth.token"}}),
            "cursor/per_item",
        ),
    ] {
        assert_eq!(secret(fields), [format!("/definition/step/{pointer}")]);
    }
    let sent = json!({"extract": {"a": "auth.instance_url"}, "headers": {"x": "{{ auth.token }}"}, "while": "auth.token"});
    assert_eq!(secret(sent), [""; 0]);
}
