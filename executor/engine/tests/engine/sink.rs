//! Reactions to the sink: acknowledgements in any order, and messages that the broker refuses.

use std::time::Duration;

use orchid_engine::{
    EmitId, EndStatus, ExecutionFinish, Input, Machine, Message, Output, Response, Topic, TryId, message,
};
use serde_json::json;

use crate::support::{EXECUTION, TestClock, TestSetup};

const CLOCK: TestClock = TestClock { elapsed: Duration::ZERO };

fn machine() -> Machine {
    let definition = json!({"step": {
        "id": "orders", "url": "https://api.example.com/orders", "iterate_over": "response.body.items",
        "paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}
    }});
    let definition = orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap();
    Machine::new(TestSetup::new(definition).job(1, EXECUTION, None)).unwrap()
}

/// Responds to the try in flight with a page; a page without `next` is the last.
fn respond(machine: &mut Machine, try_id: u64, next: Option<&str>) -> (Vec<EmitId>, Option<ExecutionFinish>) {
    let response = Response {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"items": [try_id], "next": next}).to_string().into(),
        url: "https://api.example.com/orders".to_owned(),
    };
    let input =
        Input::Response { try_id: TryId(try_id), result: Ok(response), duration: Duration::from_millis(1) };
    sorted(machine.step(CLOCK.now(), input)).1
}

fn sorted(outputs: Vec<Output>) -> (Vec<Message>, (Vec<EmitId>, Option<ExecutionFinish>)) {
    let (mut messages, mut emitted, mut finish) = (Vec::new(), Vec::new(), None);
    for output in outputs {
        match output {
            Output::Emit { emit_id, message } => {
                emitted.push(emit_id);
                messages.push(message);
            }
            Output::Finished(finished) => finish = Some(finished),
            Output::Fetch { .. }
            | Output::ReadBody { .. }
            | Output::Discard { .. }
            | Output::StartTimer { .. }
            | Output::Park { .. } => {}
        }
    }
    (messages, (emitted, finish))
}

fn pages_of(machine: &mut Machine) -> Option<u64> {
    machine.checkpoint().map(|checkpoint| checkpoint.progress.counts.pages)
}

#[test]
fn checkpoint_waits_for_every_earlier_message() {
    let mut machine = machine();
    machine.step(CLOCK.now(), Input::Begin);
    let first = respond(&mut machine, 1, Some("b")).0[0];
    let second = respond(&mut machine, 2, Some("c")).0[0];
    assert_eq!(pages_of(&mut machine), None);
    machine.step(CLOCK.now(), Input::MessageAcked { emit_id: second });
    assert_eq!(pages_of(&mut machine), None);
    machine.step(CLOCK.now(), Input::MessageAcked { emit_id: first });
    assert_eq!(pages_of(&mut machine), Some(2));
    assert_eq!(pages_of(&mut machine), None, "handed out once");
}

#[test]
fn refused_message_fails_the_execution_at_the_page_before_it() {
    let mut machine = machine();
    machine.step(CLOCK.now(), Input::Begin);
    let first = respond(&mut machine, 1, Some("b")).0[0];
    let second = respond(&mut machine, 2, Some("c")).0[0];
    machine.step(CLOCK.now(), Input::MessageAcked { emit_id: first });
    let outputs = machine.step(CLOCK.now(), Input::MessageRefused { emit_id: second, size: 2_000_000 });
    let (messages, (emitted, finish)) = sorted(outputs);
    assert_eq!(messages[0].topic, Topic::Errors);
    let Some(ExecutionFinish::Ended(ending)) = finish else { panic!("the window moves on") };
    let error = ending.error.unwrap();
    assert_eq!((ending.status, error.code.as_str()), (EndStatus::Failed, "MESSAGE_TOO_LARGE"));
    assert_eq!(error.step_path, "orders#1");
    machine.step(CLOCK.now(), Input::MessageAcked { emit_id: emitted[0] });
    let state = machine.checkpoint().unwrap().resume_state;
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["at"]["step"]["loop"]["page"], 1);
}

#[test]
fn message_refused_after_the_end_turns_success_into_failure() {
    let mut machine = machine();
    machine.step(CLOCK.now(), Input::Begin);
    let (emitted, finish) = respond(&mut machine, 1, None);
    assert!(matches!(finish, Some(ExecutionFinish::Ended(ending)) if ending.status == EndStatus::Succeeded));
    let outputs = machine.step(CLOCK.now(), Input::MessageRefused { emit_id: emitted[0], size: 2_000_000 });
    let finish = sorted(outputs).1.1;
    assert!(matches!(finish, Some(ExecutionFinish::Ended(ending)) if ending.status == EndStatus::Failed));
    let again = machine.step(CLOCK.now(), Input::MessageRefused { emit_id: emitted[0], size: 2_000_000 });
    assert!(again.is_empty(), "it fails once");
}

#[test]
fn response_before_the_beginning_is_ignored() {
    let mut machine = machine();
    let (emitted, finish) = respond(&mut machine, 1, None);
    assert!(emitted.is_empty() && finish.is_none());
    assert!(machine.checkpoint().is_none());
}

#[test]
fn started_event_has_one_id_per_attempt() {
    let definition = json!({"step": {"url": "https://api.example.com/orders"}});
    let definition = orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap();
    let setup = TestSetup::new(definition);
    let event = |attempt| {
        let job = setup.job(attempt, EXECUTION, None);
        message::started(&job.identity, &job.trace, &Default::default(), CLOCK.now())
    };
    let header = |message: &Message, name: &str| {
        message.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone()
    };
    let (first, second) = (event(1), event(2));
    assert_eq!(first.topic, Topic::Events);
    assert_eq!(header(&first, "orchid-position"), header(&second, "orchid-position"));
    assert_ne!(header(&first, "orchid-message-id"), header(&second, "orchid-message-id"));
    let expected = concat!(
        r#"{"type":"execution.started","tenant_id":"01900000-0000-7000-8000-000000000001","integration":"shop","#,
        r#""plan_key":"orders","plan_revision":3,"config_id":"01900000-0000-7000-8000-000000000002","#,
        r#""config_key":"acme","execution_id":"01900000-0000-7000-8000-000000000003","attempt":1,"#,
        r#""status":"running","partial":false,"complete":false,"timestamp":"2026-01-15T10:30:00.000Z","#,
        r#""scheduled_at":"2026-01-15T10:30:00.000Z","counts":{"requests":0,"retries":0,"pages":0,"rows":0,"#,
        r#""messages":0,"bytes":0,"errors":0},"positions":{},"error":null}"#,
    );
    assert_eq!(first.payload, expected);
}

#[test]
fn message_headers_are_ordered_and_include_the_trace() {
    let definition = json!({"step": {"url": "https://api.example.com/orders"}});
    let definition = orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap();
    let mut job = TestSetup::new(definition).job(1, EXECUTION, None);
    job.trace.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    job.trace.tracestate = "vendor=a".to_owned();
    let event = message::started(&job.identity, &job.trace, &Default::default(), CLOCK.now());
    let (identity, trace) = (job.identity.clone(), job.trace.clone());
    let mut machine = Machine::new(job).unwrap();
    machine.step(CLOCK.now(), Input::Begin);
    let response = Response {
        status: 200,
        headers: Vec::new(),
        body: "{}".into(),
        url: "https://api.example.com/orders".to_owned(),
    };
    let input = Input::Response { try_id: TryId(1), result: Ok(response), duration: Duration::ZERO };
    let page = sorted(machine.step(CLOCK.now(), input)).0.remove(0);
    for (message, kind) in [(event, "execution.started"), (page, "api.response")] {
        let names: Vec<&str> = message.headers.iter().map(|(name, _)| *name).collect();
        let expected = [
            "tenant_id",
            "integration",
            "plan_key",
            "config_key",
            "execution_id",
            "type",
            "orchid-schema",
            "orchid-message-id",
            "orchid-position",
            "orchid-fence",
            "orchid-attempt",
            "traceparent",
            "tracestate",
            "content-type",
        ];
        assert_eq!(names, expected, "{kind}");
        let value = |name: &str| {
            message.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(value("type"), Some(kind));
        assert_eq!(value("orchid-schema"), Some("1"));
        assert_eq!(value("orchid-fence"), Some(identity.fence.to_string().as_str()));
        assert_eq!(value("traceparent"), Some(trace.traceparent.as_str()));
        assert_eq!(value("tracestate"), Some("vendor=a"));
        let expected = format!("{}:{}:{}", identity.tenant_id, identity.plan_key, identity.config_id);
        assert_eq!(message.key, expected);
    }
}
