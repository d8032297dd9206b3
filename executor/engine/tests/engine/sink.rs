//! Reactions to the sink: acknowledgements in any order, and messages that the broker refuses.

use std::collections::BTreeSet;
use std::time::Duration;

use orchid_engine::{
    EmitId, EndStatus, ExecutionFinish, Input, Machine, Message, Output, Response, Topic, TryId, message,
};
use serde_json::json;

use crate::support::{EXECUTION, TestClock, TestSetup, saved};

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
        files: Vec::new(),
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
            | Output::SaveCheckpoint
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
fn refused_message_parks_the_execution_before_it() {
    let mut machine = machine();
    machine.step(CLOCK.now(), Input::Begin);
    let first = respond(&mut machine, 1, Some("b"));
    let second = respond(&mut machine, 2, Some("c"));
    machine.step(CLOCK.now(), Input::MessageAcked { emit_id: first.0[0] });
    let outputs = machine.step(CLOCK.now(), refused(&second, "[2]"));
    assert!(matches!(outputs[..], [Output::Park { not_before, .. }] if not_before == CLOCK.now().wall));
    let checkpoint = machine.checkpoint().unwrap();
    let state: serde_json::Value = serde_json::from_slice(&checkpoint.resume_state).unwrap();
    assert_eq!(state["at"]["step"]["loop"]["page"], 1);
    assert_eq!(checkpoint.progress.counts.pages, 1, "the second page is counted when it is read again");
    let codes: Vec<&str> = checkpoint.progress.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["BROKER_LIMIT"]);
}

#[test]
fn message_refused_after_the_end_parks_instead() {
    let mut machine = machine();
    machine.step(CLOCK.now(), Input::Begin);
    let page = respond(&mut machine, 1, None);
    assert!(matches!(&page.1, Some(ExecutionFinish::Ended(ending)) if ending.status == EndStatus::Succeeded));
    let outputs = machine.step(CLOCK.now(), refused(&page, "[1]"));
    assert!(matches!(outputs[..], [Output::Park { .. }]));
    let again = machine.step(CLOCK.now(), refused(&page, "[1]"));
    assert!(again.is_empty(), "it is known by now");
}

#[test]
fn refused_message_that_cannot_be_made_smaller_fails_the_execution() {
    let mut machine = machine();
    machine.step(CLOCK.now(), Input::Begin);
    let page = respond(&mut machine, 1, None);
    let (messages, (_, finish)) = sorted(machine.step(CLOCK.now(), refused(&page, "[]")));
    assert_eq!(messages[0].topic, Topic::Errors);
    let Some(ExecutionFinish::Ended(ending)) = finish else { panic!("the message is lost") };
    let error = ending.error.unwrap();
    assert_eq!((ending.status, error.code.as_str()), (EndStatus::Failed, "MESSAGE_TOO_LARGE"));
    assert_eq!(error.step_path, "orders#0");
}

/// Returns the refusal of a page's message, with this body.
fn refused(page: &(Vec<EmitId>, Option<ExecutionFinish>), body: &str) -> Input {
    let payload = format!("{{\"body_kind\":\"rows\",\"response_body\":{body}}}").into();
    let message = Message { topic: Topic::Responses, key: String::new(), headers: Vec::new(), payload };
    Input::MessageRefused { emit_id: page.0[0], message }
}

/// The accepted messages of an execution, and its end.
struct Delivered {
    messages: Vec<Message>,
    status: EndStatus,
    error: Option<String>,
    attempts: i32,
}

/// Runs a step on one response, with a broker that refuses messages over `limit`.
fn with_broker(step: serde_json::Value, body: &serde_json::Value, limit: usize) -> Delivered {
    let definition = json!({"step": step});
    let definition = orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap();
    let setup = TestSetup::new(definition);
    let (mut resume, mut messages, mut attempts) = (None, Vec::new(), 0);
    loop {
        attempts += 1;
        assert!(attempts < 40, "the broker refuses for ever");
        let mut machine = Machine::new(setup.job(attempts, EXECUTION, resume.clone())).unwrap();
        let mut inputs = vec![Input::Begin];
        let (mut parked, mut end) = (false, None);
        while let Some(input) = inputs.pop() {
            for output in machine.step(CLOCK.now(), input) {
                match output {
                    Output::Fetch { try_id, request } => {
                        let response = Response {
                            status: 200,
                            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                            body: body.to_string().into(),
                            url: request.url.to_string(),
                            files: Vec::new(),
                        };
                        let (result, duration) = (Ok(response), Duration::from_millis(1));
                        inputs.push(Input::Response { try_id, result, duration });
                    }
                    Output::Emit { emit_id, message } if message.size() > limit => {
                        inputs.push(Input::MessageRefused { emit_id, message });
                    }
                    Output::Emit { emit_id, message } => {
                        messages.push(message);
                        inputs.push(Input::MessageAcked { emit_id });
                    }
                    Output::Park { .. } => (parked, end) = (true, None),
                    Output::Finished(ExecutionFinish::Ended(ending)) => {
                        (parked, end) = (false, Some(ending));
                    }
                    Output::Finished(ExecutionFinish::Released)
                    | Output::ReadBody { .. }
                    | Output::Discard { .. }
                    | Output::SaveCheckpoint
                    | Output::StartTimer { .. } => {}
                }
            }
        }
        resume = machine.checkpoint().map(|checkpoint| saved(&checkpoint, resume.as_ref())).or(resume);
        match end {
            Some(end) if !parked => {
                let error = end.error.map(|error| error.code);
                return Delivered { messages, status: end.status, error, attempts };
            }
            _ => assert!(parked, "the attempt has no end"),
        }
    }
}

/// Returns the `id`s of the delivered rows, each once.
fn delivered_ids(delivered: &Delivered) -> BTreeSet<u64> {
    let rows = |message: &Message| {
        let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        payload["response_body"].as_array().unwrap().clone()
    };
    let responses = delivered.messages.iter().filter(|message| message.topic == Topic::Responses);
    responses.flat_map(rows).map(|row| row["id"].as_u64().unwrap()).collect()
}

#[test]
fn broker_limit_costs_only_the_element_that_is_too_large() {
    let row = |id: usize, bytes: usize| json!({"id": id, "text": "x".repeat(bytes)});
    // Row 30 is larger than the broker's limit, row 31 as large as it may just be.
    let rows: Vec<_> = (0..60)
        .map(|id| match id {
            30 => row(id, 20_000),
            31 => row(id, 14_000),
            _ => row(id, 400),
        })
        .collect();
    let body = json!({"items": rows});
    let url = "https://api.example.com/orders";
    let listed = |more: serde_json::Value| {
        let mut step = json!({"id": "orders", "url": url, "iterate_over": "response.body.items"});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let cases = [
        (listed(json!({})), &body),
        (listed(json!({"emit": "record"})), &body),
        (json!({"id": "orders", "url": url}), &body["items"]),
    ];
    let others: BTreeSet<u64> = (0..60).filter(|id| *id != 30).collect();
    for (step, body) in cases {
        let failed = with_broker(step.clone(), body, 16_000);
        assert_eq!(delivered_ids(&failed), others, "{step}");
        assert_eq!((failed.status, failed.error.as_deref()), (EndStatus::Failed, Some("MESSAGE_TOO_LARGE")));
        let mut ignoring = step;
        ignoring["ignore_on"] = json!(["MESSAGE_TOO_LARGE"]);
        let ignored = with_broker(ignoring.clone(), body, 16_000);
        assert_eq!(delivered_ids(&ignored), others, "{ignoring}");
        assert_eq!((ignored.status, &ignored.error), (EndStatus::Succeeded, &None));
        assert!(ignored.attempts <= 12, "{} attempts", ignored.attempts);
        let errors = ignored.messages.iter().filter(|message| message.topic == Topic::Errors);
        let paths: BTreeSet<String> = errors
            .map(|message| serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap())
            .map(|error| error["step_path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, BTreeSet::from(["orders#0[30]".to_owned()]));
    }
}

#[test]
fn text_that_the_broker_refuses_is_sent_in_smaller_parts() {
    let body = json!("x".repeat(60_000));
    let step =
        json!({"id": "orders", "url": "https://api.example.com/orders", "response": {"format": "text"}});
    let sent = with_broker(step, &body, 30_000);
    assert_eq!((sent.status, &sent.error), (EndStatus::Succeeded, &None));
    // The last attempt repeats the parts that an earlier one had sent.
    let attempt = sent.attempts.to_string();
    let text: String = sent
        .messages
        .iter()
        .filter(|message| message.headers.contains(&("orchid-attempt", attempt.clone())))
        .map(|message| serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap())
        .map(|payload| payload["response_body"][0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(text, body.to_string());
}

#[test]
fn object_that_the_broker_refuses_is_reported() {
    let body = json!({"id": 1, "text": "x".repeat(20_000)});
    let step = json!({"id": "orders", "url": "https://api.example.com/orders"});
    let failed = with_broker(step.clone(), &body, 16_000);
    assert_eq!((failed.status, failed.error.as_deref()), (EndStatus::Failed, Some("MESSAGE_TOO_LARGE")));
    let mut ignoring = step;
    ignoring["ignore_on"] = json!(["MESSAGE_TOO_LARGE"]);
    let ignored = with_broker(ignoring, &body, 16_000);
    assert_eq!((ignored.status, &ignored.error), (EndStatus::Succeeded, &None));
    assert!(delivered_ids(&ignored).is_empty());
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
        files: Vec::new(),
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
