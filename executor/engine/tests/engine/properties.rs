//! Properties of every execution: it ends within its limits, a replay produces the same bytes, and
//! resuming from any checkpoint loses nothing.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::{
    AttemptEnd, EXECUTION, Reply, TestClock, TestSetup, TraceEvent, apply, attempt, saved, start,
};
use bytes::Bytes;
use orchid_engine::{
    Checkpoint, EmitId, ExecutionFinish, FetchError, FetchErrorKind, Input, Machine, Message, Output,
    Request, Response, StopReason, TimerId, Topic, TryId,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Plans for one upstream whose list continues by cursor, URL, header, number or plain loop.
fn plans() -> Vec<Value> {
    let counted = json!({"count": "add(context.count || `0`, `1`)"});
    let with = |more: Value| {
        let mut step = json!({
            "id": "orders", "url": "https://api.example.com/orders", "iterate_over": "response.body.items",
            "set_context": counted, "extract": {"count": "context.count", "before": "prev.body.mark"},
            "retry": {"max_retries": 3}, "ignore_on": [404]
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let cursor = json!({"paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}});
    let loops = json!({
        "params": {"at": "{{ response.body.next || `0` }}"}, "while": "response.body.next",
        "break_when": "response.body.stop"
    });
    let second = json!({
        "id": "summary", "url": "https://api.example.com/orders", "params": {"at": "{{ steps.orders.body.mark }}"}
    });
    vec![
        json!({"step": with(cursor.clone())}),
        json!({"step": with(json!({"paginate": {"type": "next_url", "value": "response.body.url"}}))}),
        json!({"step": with(json!({"paginate": {"type": "link_header"}}))}),
        json!({"step": with(json!({"paginate": {"type": "offset", "param": "at", "size": 2}}))}),
        json!({"step": with(loops)}),
        json!({"steps": [with(cursor), second]}),
    ]
}

fn setup(plan: &Value, more: Value) -> TestSetup {
    let mut definition = plan.clone();
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let definition = orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default());
    TestSetup::new(definition.expect("the plan compiles"))
}

/// An upstream page: its rows, and the statuses returned before it; 0 is a connection failure.
#[derive(Debug, Clone)]
struct UpstreamPage {
    rows: usize,
    faults: Vec<u16>,
    gone: bool,
}

fn page() -> impl Strategy<Value = UpstreamPage> {
    let fault = prop_oneof![Just(500), Just(503), Just(429), Just(0)];
    (0_usize..4, prop::collection::vec(fault, 0..3), prop::bool::weighted(0.1))
        .prop_map(|(rows, faults, gone)| UpstreamPage { rows, faults, gone })
}

/// An upstream that returns the same page for every request, apart from injected faults.
struct Upstream {
    pages: Vec<UpstreamPage>,
    requests: Vec<Cell<usize>>,
}

impl Upstream {
    fn new(pages: &[UpstreamPage]) -> Upstream {
        Upstream { pages: pages.to_vec(), requests: pages.iter().map(|_| Cell::new(0)).collect() }
    }

    /// Creates an upstream with the same pages without faults: a page resumed in its middle may
    /// have too few retries left to see all of them again.
    fn calm(pages: &[UpstreamPage]) -> Upstream {
        let pages: Vec<UpstreamPage> =
            pages.iter().map(|page| UpstreamPage { faults: Vec::new(), ..page.clone() }).collect();
        Upstream::new(&pages)
    }

    fn reply(&self, request: &Request) -> Reply {
        let at =
            request.url.query_pairs().find(|(name, _)| name == "at").map(|(_, value)| value.into_owned());
        let number: usize = at.and_then(|at| at.parse().ok()).unwrap_or_default();
        let duration = Duration::from_millis(20);
        let Some(page) = self.pages.get(number) else {
            return Reply::Response {
                result: Ok(response(request, 200, &json!({"items": []}), None)),
                duration,
            };
        };
        let requests = self.requests[number].replace(self.requests[number].get() + 1);
        let result = match page.faults.get(requests) {
            Some(0) => Err(FetchError {
                kind: FetchErrorKind::Broken,
                message: "it broke".to_owned(),
                status: None,
                received: None,
            }),
            Some(status) => Ok(response(request, *status, &json!({"error": status}), None)),
            None if page.gone => Ok(response(request, 404, &json!({"mark": number}), None)),
            None => Ok(self.page(request, number, page)),
        };
        Reply::Response { result, duration }
    }

    fn page(&self, request: &Request, number: usize, page: &UpstreamPage) -> Response {
        let next = (number + 1 < self.pages.len()).then_some(number + 1);
        let items: Vec<Value> = (0..page.rows).map(|row| json!({"id": format!("{number}-{row}")})).collect();
        let url = next.map(|next| format!("?at={next}"));
        let body = json!({"items": items, "next": next, "url": url, "mark": number});
        response(request, 200, &body, url)
    }
}

fn response(request: &Request, status: u16, body: &Value, link: Option<String>) -> Response {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    if status == 429 {
        headers.push(("retry-after".to_owned(), "120".to_owned()));
    }
    if let Some(url) = link {
        headers.push(("link".to_owned(), format!("<{url}>; rel=next")));
    }
    Response {
        status,
        headers,
        body: body.to_string().into(),
        url: request.url.to_string(),
        files: Vec::new(),
    }
}

/// Position and message id of every response; other headers may differ between attempts.
type MessageNames = BTreeSet<(String, String)>;

fn message_names(messages: &[Message]) -> MessageNames {
    let header = |message: &Message, name: &str| {
        message.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap()
    };
    messages
        .iter()
        .filter(|message| message.topic == Topic::Responses)
        .map(|message| (header(message, "orchid-position"), header(message, "orchid-message-id")))
        .collect()
}

/// An execution run to its end across parks, with every checkpoint on the way.
struct FullExecution {
    messages: Vec<Message>,
    checkpoints: Vec<(Checkpoint, BTreeMap<String, Bytes>, usize)>,
    end: ExecutionFinish,
}

fn run_to_end(
    setup: &TestSetup,
    upstream: &Upstream,
    mut resume: Option<orchid_engine::SavedCheckpoint>,
) -> FullExecution {
    let mut context = setup.context.clone();
    let (mut messages, mut checkpoints) = (Vec::new(), Vec::new());
    let mut clock = TestClock { elapsed: Duration::ZERO };
    for number in 1..200 {
        let mut setup = setup.clone();
        setup.context.clone_from(&context);
        let mut machine = Machine::new(setup.job(number, EXECUTION, resume.clone())).unwrap();
        let mut events = Vec::new();
        let mut reply = |request: &Request| upstream.reply(request);
        let left = attempt(&mut machine, &mut clock, &mut reply, &mut events);
        messages.extend(events.into_iter().filter_map(|event| match event {
            TraceEvent::Message(message) => Some(message),
            TraceEvent::Fetch(_)
            | TraceEvent::Wait(_)
            | TraceEvent::Park { .. }
            | TraceEvent::Finished(_) => None,
        }));
        if let Some(checkpoint) = machine.checkpoint() {
            apply(&mut context, &checkpoint);
            resume = Some(saved(&checkpoint, resume.as_ref()));
            checkpoints.push((checkpoint, context.clone(), messages.len()));
        }
        match left {
            AttemptEnd::Finished(end @ ExecutionFinish::Ended(_)) => {
                return FullExecution { messages, checkpoints, end };
            }
            AttemptEnd::Finished(ExecutionFinish::Released) => {}
            AttemptEnd::Parked(not_before) => {
                clock.elapsed = (not_before - start()).to_std().unwrap().max(clock.elapsed);
            }
        }
    }
    panic!("the execution parks forever");
}

/// Runs until `steps` inputs were taken, then dies. Returns the acknowledged messages, which are
/// `lag` inputs behind, and the last saved checkpoint.
fn run_until_killed(
    setup: &TestSetup,
    upstream: &Upstream,
    steps: usize,
    lag: usize,
) -> (Vec<Message>, Option<Checkpoint>) {
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let mut clock = TestClock { elapsed: Duration::ZERO };
    let (mut messages, mut newest) = (Vec::new(), None::<Checkpoint>);
    let mut inputs = vec![Input::Begin];
    let mut sending: Vec<(usize, EmitId, Message)> = Vec::new();
    for step in 0..steps {
        let Some(input) = inputs.pop() else { break };
        for output in machine.step(clock.now(), input) {
            match output {
                Output::Fetch { try_id, request } => {
                    if let Reply::Response { result, duration } = upstream.reply(&request) {
                        inputs.push(Input::Response { try_id, result, duration });
                    }
                }
                Output::ReadBody { .. } | Output::Discard { .. } | Output::SaveCheckpoint => {}
                Output::Emit { emit_id, message } => sending.push((step + lag, emit_id, message)),
                Output::StartTimer { timer_id: TimerId(1), .. } => {}
                Output::StartTimer { timer_id, delay } => {
                    clock.elapsed += delay;
                    inputs.push(Input::TimerFired { timer_id });
                }
                Output::Park { .. } | Output::Finished(_) => inputs.clear(),
            }
        }
        // The newest first, since Kafka acknowledges in any order.
        while let Some(index) = sending.iter().rposition(|(due, ..)| *due <= step) {
            let (_, emit_id, message) = sending.remove(index);
            messages.push(message);
            machine.step(clock.now(), Input::MessageAcked { emit_id });
        }
        if let Some(checkpoint) = machine.checkpoint() {
            newest = Some(match newest.take() {
                Some(before) => merge_checkpoints(before, checkpoint),
                None => checkpoint,
            });
        }
    }
    (messages, newest)
}

/// Merges a later checkpoint into an earlier one, as the control plane does.
fn merge_checkpoints(before: Checkpoint, mut after: Checkpoint) -> Checkpoint {
    let mut changes = before.context_changes;
    changes.append(&mut after.context_changes);
    Checkpoint {
        context_changes: changes,
        finished_steps: after.finished_steps.or(before.finished_steps),
        ..after
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replay_produces_the_same_bytes(pages in prop::collection::vec(page(), 1..6), which in 0_usize..6) {
        let setup = setup(&plans()[which], json!({}));
        let (first, second) =
            (run_to_end(&setup, &Upstream::new(&pages), None), run_to_end(&setup, &Upstream::new(&pages), None));
        prop_assert_eq!(first.messages, second.messages);
        prop_assert_eq!(first.end, second.end);
        prop_assert_eq!(first.checkpoints, second.checkpoints);
    }

    #[test]
    fn killed_execution_resumes_without_a_gap(
        pages in prop::collection::vec(page(), 1..6), which in 0_usize..6, steps in 1_usize..20, lag in 0_usize..6,
    ) {
        let setup = setup(&plans()[which], json!({}));
        let full = run_to_end(&setup, &Upstream::new(&pages), None);
        let upstream = Upstream::new(&pages);
        let (mut messages, newest) = run_until_killed(&setup, &upstream, steps, lag);
        let mut resumed = setup.clone();
        if let Some(checkpoint) = &newest {
            apply(&mut resumed.context, checkpoint);
        }
        let rest = run_to_end(&resumed, &upstream, newest.as_ref().map(|checkpoint| saved(checkpoint, None)));
        messages.extend(rest.messages);
        prop_assert_eq!(message_names(&messages), message_names(&full.messages));
    }

    #[test]
    fn every_checkpoint_leads_to_the_same_messages(
        pages in prop::collection::vec(page(), 1..6), which in 0_usize..6,
    ) {
        let setup = setup(&plans()[which], json!({}));
        let full = run_to_end(&setup, &Upstream::new(&pages), None);
        let mut before = None;
        for (checkpoint, context, emitted) in &full.checkpoints {
            let mut resumed = setup.clone();
            resumed.context.clone_from(context);
            before = Some(saved(checkpoint, before.as_ref()));
            let rest = run_to_end(&resumed, &Upstream::calm(&pages), before.clone());
            let mut messages = full.messages[..*emitted].to_vec();
            messages.extend(rest.messages);
            prop_assert_eq!(message_names(&messages), message_names(&full.messages));
        }
    }

    #[test]
    fn execution_ends_within_its_limits(
        statuses in prop::collection::vec(prop_oneof![Just(200_u16), Just(503), Just(404), Just(429)], 1..8),
        nexts in prop::collection::vec(0_u64..4, 1..8), which in 0_usize..6, goes_on in any::<bool>(),
    ) {
        let on_limit = if goes_on { "continue" } else { "fail" };
        let setup = setup(&plans()[which], json!({"max_requests": 40, "max_loops": 10, "on_limit": on_limit}));
        let requests = Cell::new(0_usize);
        let mut reply = |request: &Request| {
            let count = requests.replace(requests.get() + 1);
            let next = nexts[count % nexts.len()];
            let body = json!({"items": [1], "next": next, "url": format!("?at={next}&n={count}"), "mark": 1});
            let link = Some(format!("?at={next}&n={count}"));
            let result = Ok(response(request, statuses[count % statuses.len()], &body, link));
            Reply::Response { result, duration: Duration::from_millis(1) }
        };
        let mut clock = TestClock { elapsed: Duration::ZERO };
        let mut resume = None;
        loop {
            let mut machine = Machine::new(setup.job(1, EXECUTION, resume.clone())).unwrap();
            match attempt(&mut machine, &mut clock, &mut reply, &mut Vec::new()) {
                AttemptEnd::Finished(_) => break,
                AttemptEnd::Parked(not_before) => clock.elapsed = (not_before - start()).to_std().unwrap(),
            }
            resume = machine.checkpoint().map(|checkpoint| saved(&checkpoint, None));
        }
        prop_assert!(requests.get() <= 40, "{} requests", requests.get());
    }

    #[test]
    fn no_order_of_inputs_panics(inputs in prop::collection::vec(any_input(), 0..40), which in 0_usize..6) {
        let setup = setup(&plans()[which], json!({}));
        let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
        let mut clock = TestClock { elapsed: Duration::ZERO };
        let mut over = false;
        for input in inputs {
            clock.elapsed += Duration::from_secs(1);
            let refused = matches!(input, Input::MessageRefused { .. });
            let outputs = machine.step(clock.now(), input);
            prop_assert!(!over || refused || outputs.is_empty(), "output after the end: {:?}", outputs);
            over |= outputs.iter().any(|output| matches!(output, Output::Park { .. } | Output::Finished(_)));
            machine.checkpoint();
        }
    }
}

fn refused_message() -> Message {
    let payload = Bytes::from_static(b"{\"response_body\":[1,2]}");
    Message { topic: Topic::Responses, key: String::new(), headers: Vec::new(), payload }
}

fn any_input() -> impl Strategy<Value = Input> {
    let body = prop_oneof![
        Just(r#"{"items":[{"id":1}],"next":1,"url":"?at=1"}"#),
        Just(r#"{"items":7,"next":{}}"#),
        Just("{"),
        Just(""),
        Just("[[[[null]]]]"),
    ];
    let response = (0_u64..4, 100_u16..600, body).prop_map(|(id, status, body)| Input::Response {
        try_id: TryId(id),
        result: Ok(Response {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::from_static(body.as_bytes()),
            url: "https://api.example.com/orders".to_owned(),
            files: Vec::new(),
        }),
        duration: Duration::from_millis(5),
    });
    let stop = prop_oneof![
        Just(StopReason::Cancel),
        Just(StopReason::Drain),
        Just(StopReason::SinkStalled),
        Just(StopReason::TimeLimit),
    ];
    prop_oneof![
        4 => Just(Input::Begin),
        8 => response,
        2 => (0_u64..4).prop_map(|id| Input::TimerFired { timer_id: TimerId(id) }),
        2 => (0_u64..4).prop_map(|id| Input::MessageAcked { emit_id: EmitId(id) }),
        1 => (0_u64..4).prop_map(|id| Input::MessageRefused { emit_id: EmitId(id), message: refused_message() }),
        1 => stop.prop_map(Input::Stop),
    ]
}
