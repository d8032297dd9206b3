//! Limits of stored cursors: an execution that exceeds one fails with its code and keeps the
//! cursors it had.

use std::time::Duration;

use bytes::Bytes;
use orchid_common::limits::{CURSOR_MAX_BYTES, CURSORS_MAX};
use orchid_engine::{
    CursorKey, CursorKind, ExecutionError, ExecutionFinish, Machine, Request, Response, StopReason,
};
use serde_json::json;

use crate::chaos::setup;
use crate::support::{
    AttemptEnd, EXECUTION, Reply, TestClock, TestSetup, TraceEvent, apply_cursors, attempt,
};

fn json_reply(request: &Request, body: &serde_json::Value) -> Reply {
    Reply::Response {
        result: Ok(Response {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into(),
            url: request.url.to_string(),
            files: Vec::new(),
        }),
        duration: Duration::from_millis(5),
    }
}

/// Runs to the end. Returns the final error and the number of stored cursors.
fn run(setup: &TestSetup, body: &serde_json::Value) -> (Option<ExecutionError>, usize) {
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let (mut clock, mut events) = (TestClock { elapsed: Duration::ZERO }, Vec::<TraceEvent>::new());
    let left = attempt(&mut machine, &mut clock, &mut |request| json_reply(request, body), &mut events);
    let AttemptEnd::Finished(ExecutionFinish::Ended(ending)) = left else {
        panic!("the execution does not end")
    };
    let mut cursors = setup.cursors.clone();
    if let Some(checkpoint) = machine.checkpoint() {
        apply_cursors(&mut cursors, &checkpoint);
    }
    (ending.error, cursors.len())
}

fn is_limit_error(error: Option<ExecutionError>, code: &str, pointer: &str) -> bool {
    error.is_some_and(|error| {
        (error.class.as_str(), error.code.as_str(), error.pointer.as_str()) == ("limit", code, pointer)
    })
}

#[test]
fn one_cursor_too_many_fails_and_is_not_stored() {
    let plan = json!({"step": {"id": "orders", "for_each": "`[1, 2]`", "url": "https://api.example.com/o",
        "cursor": {"value": "response.body.at", "type": "number", "per_item": "item"}}});
    let mut setup = setup(&plan);
    let of = |item: usize| CursorKey {
        kind: CursorKind::Cursor,
        step: "orders".to_owned(),
        item: item.to_string(),
    };
    // All but one of the entries belong to items that no longer exist.
    setup.cursors = (3..CURSORS_MAX + 2).map(|item| (of(item), Bytes::from_static(b"1"))).collect();
    let (error, kept) = run(&setup, &json!({"at": 7}));
    assert!(is_limit_error(error, "TOO_MANY_CURSORS", "/definition/step/cursor"));
    assert_eq!(kept, CURSORS_MAX);
}

#[test]
fn oversized_cursor_fails_the_execution() {
    let plan = json!({"step": {"id": "orders", "url": "https://api.example.com/o",
        "cursor": {"value": "response.body.at", "type": "text", "param": "at"}}});
    let text = |length: usize| json!({"at": "x".repeat(length)});
    let (error, kept) = run(&setup(&plan), &text(CURSOR_MAX_BYTES - 1));
    assert!(is_limit_error(error, "CURSOR_TOO_LARGE", "/definition/step/cursor/value"));
    assert_eq!(kept, 0);
    assert_eq!(run(&setup(&plan), &text(CURSOR_MAX_BYTES - 2)), (None, 1));
}

#[test]
fn resume_state_includes_row_cursors_if_they_fit() {
    let plan = json!({"step": {"id": "list", "url": "https://api.example.com/list", "iterate_over": "response.body", "concurrency": 1,
        "sub_steps": [{"id": "one", "url": "https://api.example.com/one/{{ item }}",
            "cursor": {"value": "response.body.at", "type": "number", "per_item": "item"}}]}});
    for (rows, carried) in [(100_usize, true), (3000, false)] {
        let mut machine = Machine::new(setup(&plan).job(1, EXECUTION, None)).unwrap();
        let last = format!("/one/{}", rows - 1);
        let left = attempt(
            &mut machine,
            &mut TestClock { elapsed: Duration::ZERO },
            &mut |request| match request.url.path() {
                "/list" => json_reply(request, &json!((0..rows).collect::<Vec<usize>>())),
                path if path == last => Reply::Stop(StopReason::Drain),
                _ => json_reply(request, &json!({"at": 7})),
            },
            &mut Vec::new(),
        );
        assert!(matches!(left, AttemptEnd::Finished(ExecutionFinish::Released)));
        let checkpoint = machine.checkpoint().unwrap();
        let state = String::from_utf8(checkpoint.resume_state.to_vec()).unwrap();
        assert!(state.contains(&format!("\"done\":{}", rows - 1)), "{state}");
        assert_eq!(state.contains("\"cursors\""), carried, "{rows} rows");
        assert!(checkpoint.cursor_changes.is_empty(), "cursors are saved only when the page has ended");
    }
}
