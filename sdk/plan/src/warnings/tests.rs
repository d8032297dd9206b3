//! Definitions with the warnings that they produce.

use serde_json::{Value as Json, json};

use super::*;
use crate::{ServerLimits, compile};

const URL: &str = "https://api.example.com/x";

fn step(fields: Json) -> Json {
    let mut step = json!({"url": URL});
    fields.as_object().unwrap().iter().for_each(|(name, value)| step[name] = value.clone());
    json!({"step": step})
}

fn warnings(definition: &Json) -> Vec<(&'static str, String)> {
    let compiled = compile(definition, &ServerLimits::default())
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}\n{definition}"));
    compiled.warnings().into_iter().map(|warning| (warning.code.as_str(), warning.pointer)).collect()
}

/// A filter where pagination counts rows.
fn filters() -> [(Json, &'static str, &'static str); 2] {
    let step = |paginate: Json, rows: &str| step(json!({"paginate": paginate, "iterate_over": rows}));
    let links = json!({"type": "link_header", "stop_on": ["empty"]});
    [
        (
            step(json!({"type": "offset", "size": 10}), "response.body.items[?open]"),
            "FILTER_COUNTS",
            "/step/iterate_over",
        ),
        (step(links, "response.body[?open].id"), "FILTER_COUNTS", "/step/iterate_over"),
    ]
}

/// All definitions with a warning: those of [`cases`], and of pages that are not sent.
fn all_cases() -> Vec<(Json, &'static str, &'static str)> {
    let paginate = json!({"type": "offset", "param": null, "size": 5});
    let unsent = step(json!({"paginate": paginate, "iterate_over": "response.body.items"}));
    let mut all = cases();
    all.push((unsent, "PAGE_NOT_SENT", "/step/paginate/param"));
    all
}

/// Definitions with the one warning that each has: its code, and its pointer below `/definition`.
fn cases() -> Vec<(Json, &'static str, &'static str)> {
    let rows = "response.body.items";
    let each = |fields: Json| {
        let mut sub = json!({"url": "https://api.example.com/{{ item.id }}"});
        fields.as_object().unwrap().iter().for_each(|(name, value)| sub[name] = value.clone());
        step(json!({"iterate_over": rows, "sub_steps": [sub]}))
    };
    let cursor = json!({"value": "response.body.at", "start": "2026-01-01"});
    let window = json!({"from": "config.since", "step": "1d"});
    let mut cases = vec![
        (step(json!({"concurrency": 5})), "NO_FAN_OUT", "/step/concurrency"),
        (step(json!({"stop_on_error": true, "iterate_over": rows})), "NO_FAN_OUT", "/step/stop_on_error"),
        (step(json!({"for_each": "config.accounts"})), "SAME_FOR_EVERY_ITEM", "/step/url"),
        (
            each(json!({"url": "https://api.example.com/{{ parent.body.id }}"})),
            "SAME_FOR_EVERY_ITEM",
            "/step/sub_steps/0/url",
        ),
        (
            each(json!({"cursor": cursor, "params": {"a": "{{ cursor }}"}})),
            "CURSOR_SHARED_BY_ITEMS",
            "/step/sub_steps/0/cursor",
        ),
        (step(json!({"while": "`true`"})), "ENDLESS_LOOP", "/step/while"),
        (step(json!({"while": "config.more", "break_when": "`false`"})), "ENDLESS_LOOP", "/step/while"),
        (step(json!({"break_when": "response.body.done"})), "BREAK_WITHOUT_LOOP", "/step/break_when"),
        (
            step(json!({"paginate": {"type": "cursor", "value": "response.body.next"}})),
            "PAGE_CURSOR_NOT_SENT",
            "/step/paginate",
        ),
        (
            step(json!({"paginate": {"type": "page", "stop_on": ["empty"]}, "iterate_over": rows})),
            "STOP_ON_REDUNDANT",
            "/step/paginate/stop_on",
        ),
        (step(json!({"window": window})), "WINDOW_NOT_SENT", "/step/window"),
        (step(json!({"cursor": cursor})), "CURSOR_NOT_USED", "/step/cursor"),
        (step(json!({"ignore_on": [404, 204]})), "IGNORES_SUCCESS", "/step/ignore_on/1"),
        (step(json!({"ignore_on": ["2xx"]})), "IGNORES_SUCCESS", "/step/ignore_on/0"),
        (step(json!({"accept_on": [201]})), "ACCEPTED_ALREADY", "/step/accept_on/0"),
        (step(json!({"abort_on": ["4xx"], "accept_on": [404]})), "NEVER_REACHED", "/step/accept_on/0"),
        (
            step(json!({"abort_on": ["TIMEOUT"], "retry": {"on": ["TIMEOUT"]}})),
            "NEVER_REACHED",
            "/step/retry/on/0",
        ),
        (step(json!({"abort_on": [404], "ignore_on": [500, 404]})), "NEVER_REACHED", "/step/ignore_on/1"),
        (step(json!({"retry": {"max_retries": 0, "on": [404]}})), "NEVER_RETRIED", "/step/retry/on"),
        (
            step(json!({"retry": {"max_retries": 0}, "retry_when": "response.body.busy"})),
            "NEVER_RETRIED",
            "/step/retry_when",
        ),
        (step(json!({"timeout_seconds": 301})), "TIMEOUT_OUTLASTS_RUN", "/step/timeout_seconds"),
        (step(json!({"emit": "none"})), "NOTHING_EMITTED", ""),
        (
            json!({"steps": [{"url": URL}, {"url": URL, "emit": "none"}]}),
            "FETCHED_FOR_NOTHING",
            "/steps/1/emit",
        ),
        (each(json!({"extract": {"a": "response.body.a"}})), "EXTRACT_UNUSED", "/step/sub_steps/0/extract"),
        (
            step(json!({"set_context": {"a/b": "response.body.a"}})),
            "CONTEXT_NEVER_READ",
            "/step/set_context/a~1b",
        ),
        (step(json!({"params": {"a": "{{ context.since }}"}})), "CONTEXT_NEVER_WRITTEN", "/step/params/a"),
    ];
    cases.extend(filters());
    cases
}

#[test]
fn every_warning_has_a_case_and_a_place() {
    for (definition, code, pointer) in all_cases() {
        assert_eq!(warnings(&definition), [(code, format!("/definition{pointer}"))], "{definition}");
    }
    let known: Vec<_> = all_cases().into_iter().map(|(_, code, _)| code).collect();
    for code in WarningCode::ALL {
        assert!(known.contains(&code.as_str()), "{} has no case", code.as_str());
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}

#[test]
fn misspelled_context_field_is_reported_at_both_ends() {
    let definition =
        step(json!({"set_context": {"since": "response.body.at"}, "params": {"a": "{{ context.sinse }}"}}));
    let compiled = compile(&definition, &ServerLimits::default()).unwrap();
    let messages: Vec<_> = compiled.warnings().into_iter().map(|warning| warning.message).collect();
    assert_eq!(messages[0], "nothing reads context.since");
    assert!(messages[1].ends_with("; context.since is written and never read"), "{messages:?}");
}

#[test]
fn sensible_definitions_have_no_warnings() {
    let rows = "response.body.items";
    let below = |sub: Json| {
        step(json!({"iterate_over": rows, "concurrency": 5, "stop_on_error": true, "sub_steps": [sub]}))
    };
    let job = |submit: Json| {
        json!({"submit": {"method": "POST", "url": URL, "body": submit}, "poll": {"url": URL}, "done_when": "response.body.done",
            "download": [{"url": URL}, {"url": URL}], "cancel": {"url": URL}})
    };
    for definition in [
        step(json!({"while": "response.body.more"})),
        step(json!({"while": "`true`", "break_when": "response.body.done"})),
        step(json!({"while": "compare(now(), config.until) < `0`"})),
        step(json!({"while": "`true`", "paginate": {"type": "link_header"}})),
        step(json!({"while": "context.more", "set_context": {"more": "response.body.more"}})),
        step(json!({"while": "meta.loop_count < `5`"})),
        step(json!({"paginate": {"type": "cursor", "value": "response.body.next", "param": "c"}})),
        step(
            json!({"method": "POST", "body": {"after": "{{ page.cursor }}"}, "paginate": {"type": "cursor", "value": "response.body.next"}}),
        ),
        step(
            json!({"params": {"after": "{{ response.body.last }}"}, "paginate": {"type": "cursor", "value": "response.body.next"}}),
        ),
        step(json!({"paginate": {"type": "link_header", "stop_on": ["empty"]}, "iterate_over": rows})),
        step(
            json!({"params": {"at": "{{ page.offset }}"}, "paginate": {"type": "offset", "param": null, "size": 5}, "iterate_over": rows}),
        ),
        step(json!({"window": {"from": "config.since", "step": "1d", "from_param": "from"}})),
        step(
            json!({"window": {"from": "config.since", "step": "1d"}, "iterate_over": "response.body[?day == root().window.from]"}),
        ),
        step(
            json!({"window": {"step": "1d", "from_param": "from"}, "cursor": {"value": "window.to", "start": "2026-01-01"}}),
        ),
        step(json!({"cursor": {"value": "response.body.at"}, "execute_if": "cursor"})),
        step(json!({"cursor": {"value": "response.body.at", "param": "since"}})),
        step(
            json!({"for_each": "config.accounts", "url": "https://api.example.com/{{ item }}", "concurrency": 2,
            "cursor": {"value": "response.body.at", "param": "since", "per_item": "item"}}),
        ),
        step(
            json!({"abort_on": [401], "ignore_on": [404], "accept_on": [410, "4xx"], "retry": {"on": [404]}}),
        ),
        below(json!({"url": "https://api.example.com/{{ items[0].id }}", "iterate_over": rows})),
        below(
            json!({"url": "https://api.example.com/{{ item.id }}", "emit": "page", "extract": {"a": "response.body.a"}}),
        ),
        json!({"steps": [{"id": "a", "url": URL, "emit": "none"}, {"url": "https://api.example.com/{{ steps.a.body.id }}"}]}),
        json!({"steps": [{"id": "a", "url": URL, "emit": "none"}, {"url": URL, "for_each": "steps.a.body", "params": {"a": "{{ item_index }}"}}]}),
        json!({"steps": [{"url": URL, "emit": "none", "method": "POST"}, {"url": URL}]}),
        json!({"steps": [{"url": URL, "emit": "none", "set_context": {"a": "response.body.a"}}, {"url": "https://api.example.com/{{ context.a }}"}]}),
        json!({"step": {"async_job": job(json!({}))}}),
        json!({"step": {"for_each": "config.accounts", "async_job": job(json!({"id": "{{ item.id }}"}))}}),
    ] {
        assert_eq!(warnings(&definition), [], "{definition}");
    }
    let job = json!({"step": {"for_each": "config.accounts", "async_job": job(json!({}))}});
    assert_eq!(warnings(&job), [("SAME_FOR_EVERY_ITEM", "/definition/step/async_job/submit".to_owned())]);
}

#[test]
fn warnings_are_bounded() {
    let entries: Vec<u16> = (201..=299).collect();
    let steps = vec![json!({"url": URL, "accept_on": entries}); 5];
    assert_eq!(warnings(&json!({"steps": steps})).len(), MAX_WARNINGS);
}
