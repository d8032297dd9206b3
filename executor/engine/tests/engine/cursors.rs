//! What a plan may keep for a config has bounds: a run that passes one ends by its name, and keeps what it had.

use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{
    CURSOR_MAX_BYTES, CURSORS_MAX, CursorKey, CursorKind, ExecutionError, ExecutionFinish, Machine, Request,
    Response, StopReason,
};
use serde_json::json;

use crate::chaos::setup;
use crate::support::{Clock, EXECUTION, Event, Left, Reply, Setup, apply_cursors, attempt};

fn answer(request: &Request, body: &serde_json::Value) -> Reply {
    Reply::Answer {
        result: Ok(Response {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into(),
            url: request.url.to_string(),
        }),
        duration: Duration::from_millis(5),
    }
}

/// Runs to the end; the error that it ended with, and the cursors that the checkpoints left.
fn run(setup: &Setup, body: &serde_json::Value) -> (Option<ExecutionError>, usize) {
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let (mut clock, mut events) = (Clock { elapsed: Duration::ZERO }, Vec::<Event>::new());
    let left = attempt(&mut machine, &mut clock, &mut |request| answer(request, body), &mut events);
    let Left::Finished(ExecutionFinish::Ended(ending)) = left else { panic!("it ends") };
    let mut cursors = setup.cursors.clone();
    if let Some(checkpoint) = machine.checkpoint() {
        apply_cursors(&mut cursors, &checkpoint);
    }
    (ending.error, cursors.len())
}

fn is(error: Option<ExecutionError>, code: &str, pointer: &str) -> bool {
    error.is_some_and(|error| {
        (error.class.as_str(), error.code.as_str(), error.pointer.as_str()) == ("limit", code, pointer)
    })
}

#[test]
fn one_cursor_too_many_ends_the_run_and_is_not_kept() {
    let plan = json!({"step": {"id": "orders", "for_each": "`[1, 2]`", "url": "https://api.example.com/o",
        "cursor": {"value": "response.body.at", "type": "number", "per_item": "item"}}});
    let mut setup = setup(&plan);
    let of = |item: usize| CursorKey {
        kind: CursorKind::Cursor,
        step: "orders".to_owned(),
        item: item.to_string(),
    };
    // All but one of the places are taken, by items that are gone.
    setup.cursors = (3..CURSORS_MAX + 2).map(|item| (of(item), Bytes::from_static(b"1"))).collect();
    let (error, kept) = run(&setup, &json!({"at": 7}));
    assert!(is(error, "TOO_MANY_CURSORS", "/definition/step/cursor"));
    assert_eq!(kept, CURSORS_MAX);
}

#[test]
fn a_cursor_that_is_too_large_ends_the_run() {
    let plan = json!({"step": {"id": "orders", "url": "https://api.example.com/o",
        "cursor": {"value": "response.body.at", "type": "text", "param": "at"}}});
    let text = |length: usize| json!({"at": "x".repeat(length)});
    let (error, kept) = run(&setup(&plan), &text(CURSOR_MAX_BYTES - 1));
    assert!(is(error, "CURSOR_TOO_LARGE", "/definition/step/cursor/value"));
    assert_eq!(kept, 0);
    assert_eq!(run(&setup(&plan), &text(CURSOR_MAX_BYTES - 2)), (None, 1));
}

#[test]
fn cursors_of_rows_are_part_of_a_place_as_far_as_it_has_room() {
    let plan = json!({"step": {"id": "list", "url": "https://api.example.com/list", "iterate_over": "response.body", "concurrency": 1,
        "sub_steps": [{"id": "one", "url": "https://api.example.com/one/{{ item }}",
            "cursor": {"value": "response.body.at", "type": "number", "per_item": "item"}}]}});
    for (rows, carried) in [(100_usize, true), (3000, false)] {
        let mut machine = Machine::new(setup(&plan).job(1, EXECUTION, None)).unwrap();
        let last = format!("/one/{}", rows - 1);
        let left = attempt(
            &mut machine,
            &mut Clock { elapsed: Duration::ZERO },
            &mut |request| match request.url.path() {
                "/list" => answer(request, &json!((0..rows).collect::<Vec<usize>>())),
                path if path == last => Reply::Stop(StopReason::Drain),
                _ => answer(request, &json!({"at": 7})),
            },
            &mut Vec::new(),
        );
        assert!(matches!(left, Left::Finished(ExecutionFinish::Released)));
        let checkpoint = machine.checkpoint().unwrap();
        let place = String::from_utf8(checkpoint.resume_state.to_vec()).unwrap();
        assert!(place.contains(&format!("\"done\":{}", rows - 1)), "{place}");
        assert_eq!(place.contains("\"cursors\""), carried, "{rows} rows");
        assert!(checkpoint.cursor_changes.is_empty(), "the page has not ended");
    }
}
