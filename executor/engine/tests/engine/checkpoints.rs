//! Contents and size limits of checkpoints.

use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{
    Checkpoint, ExecutionError, ExecutionFinish, Input, Machine, Output, Response, SavedCheckpoint,
    StopReason, Topic, TryId,
};
use orchid_plan::ServerLimits;
use serde_json::{Value, json};

use crate::support::{EXECUTION, TestClock, TestSetup, saved};

const CLOCK: TestClock = TestClock { elapsed: Duration::ZERO };
const KIB: usize = 1024;

fn setup(definition: &Value) -> TestSetup {
    TestSetup::new(orchid_plan::compile(definition, &ServerLimits::default()).unwrap())
}

fn begun(setup: &TestSetup, attempt: i32, resume: Option<SavedCheckpoint>) -> (Machine, Vec<Output>) {
    let mut machine = Machine::new(setup.job(attempt, EXECUTION, resume)).unwrap();
    let outputs = machine.step(CLOCK.now(), Input::Begin);
    (machine, outputs)
}

fn drained(mut machine: Machine) -> Checkpoint {
    machine.step(CLOCK.now(), Input::Stop(StopReason::Drain));
    machine.checkpoint().unwrap()
}

fn requested_url(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|output| match output {
        Output::Fetch { request, .. } => Some(request.url.as_str()),
        _ => None,
    })
}

fn error(outputs: &[Output]) -> Option<&ExecutionError> {
    match outputs.last() {
        Some(Output::Finished(ExecutionFinish::Ended(ending))) => ending.error.as_ref(),
        _ => None,
    }
}

#[test]
fn context_is_saved_outside_the_resume_state() {
    let fields: serde_json::Map<String, Value> =
        (0..6).map(|number| (format!("f{number}"), json!("response.body"))).collect();
    let setup = setup(&json!({"step": {
        "url": "https://api.example.com/orders", "params": {"n": "{{ length(context.f0 || '') }}"},
        "set_context": fields, "while": "meta.loop_count < `5`", "emit": "none"
    }}));
    let (mut machine, _) = begun(&setup, 1, None);
    let response = Response {
        status: 200,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: Bytes::from("x".repeat(60 * KIB)),
        url: "https://api.example.com/orders".to_owned(),
        files: Vec::new(),
    };
    let input = Input::Response { try_id: TryId(1), result: Ok(response), duration: Duration::ZERO };
    let outputs = machine.step(CLOCK.now(), input);
    assert_eq!(requested_url(&outputs), Some("https://api.example.com/orders?n=61440"));
    let checkpoint = drained(machine);
    let changed: usize =
        checkpoint.context_changes.iter().map(|(_, json)| json.as_ref().map_or(0, Bytes::len)).sum();
    assert!(
        changed > 256 * KIB && checkpoint.resume_state.len() < KIB,
        "{changed} {}",
        checkpoint.resume_state.len()
    );
}

#[test]
fn for_each_list_is_saved_once_outside_the_resume_state() {
    let mut setup = setup(&json!({"step": {
        "for_each": "config.ids", "concurrency": 1, "url": "https://api.example.com/{{ item }}"
    }}));
    setup.config = json!({"ids": (0..60_000).collect::<Vec<_>>()});
    let checkpoint = drained(begun(&setup, 1, None).0);
    let list = checkpoint.finished_steps.as_ref().map_or(0, Bytes::len);
    assert!(
        list > 256 * KIB && checkpoint.resume_state.len() < KIB,
        "{list} {}",
        checkpoint.resume_state.len()
    );

    let (machine, outputs) = begun(&setup, 2, Some(saved(&checkpoint, None)));
    assert_eq!(requested_url(&outputs), Some("https://api.example.com/0"));
    assert_eq!(drained(machine).finished_steps, None);
}

#[test]
fn list_over_8_mib_fails_before_the_first_request() {
    let mut setup = setup(&json!({"step": {
        "id": "orders", "for_each": "config.texts", "url": "https://api.example.com/orders",
        "params": {"n": "{{ length(item) }}"}
    }}));
    setup.config = json!({"texts": ["x".repeat(9 * KIB * KIB)]});
    let (_, outputs) = begun(&setup, 1, None);
    assert_eq!(requested_url(&outputs), None);
    let error = error(&outputs).unwrap();
    assert_eq!((error.class.as_str(), error.code.as_str()), ("limit", "CHECKPOINT_TOO_LARGE"));
    assert_eq!(error.pointer, "/definition/step");
}

/// A plan's author cannot cause this error, so its class is `system`.
#[test]
fn unreadable_item_state_is_a_system_error() {
    let setup = setup(&json!({"step": {
        "id": "orders", "for_each": "['a']", "url": "https://api.example.com/{{ item }}"
    }}));
    let mut checkpoint = drained(begun(&setup, 1, None).0);
    let state = String::from_utf8(checkpoint.resume_state.to_vec()).unwrap();
    checkpoint.resume_state = state.replace("\"asked\"", "\"guard\":\"?\",\"asked\"").into();
    let (_, outputs) = begun(&setup, 2, Some(saved(&checkpoint, None)));
    let found = error(&outputs).map(|error| (error.class.as_str(), error.code.as_str()));
    assert_eq!(found, Some(("system", "CHECKPOINT")));
    let told = outputs.iter().any(|output| match output {
        Output::Emit { message, .. } => {
            let payload: Value = serde_json::from_slice(&message.payload).unwrap();
            message.topic == Topic::Errors && payload["error"]["class"] == "system"
        }
        _ => false,
    });
    assert!(told, "{outputs:?}");
}
