//! What holds for every fan-out, in whatever order its answers come and wherever it is killed: each row is emitted, none is
//! held beyond the window, and a resumed run begins no row again that was settled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{
    Checkpoint, EmitId, EndStatus, FetchError, FetchErrorKind, Finish, Input, Machine, Message, Output,
    Request, Response, SavedCheckpoint, StopReason, Topic, TryId, WaitId,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Clock, EXECUTION, Setup, apply, saved, start};

/// Plans over the same upstream: `/list?at=n` has rows and a next page, `/row/id` its children, `/child/id` theirs.
fn plans() -> Vec<Value> {
    let list = |more: Value| {
        let mut step = json!({
            "id": "list", "url": "https://api.example.com/list", "iterate_over": "response.body.rows", "concurrency": 3,
            "paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"step": step})
    };
    let rows = |more: Value| {
        let mut step = json!({
            "id": "row", "url": "https://api.example.com/row/{{ item.id }}", "iterate_over": "response.body",
            "set_context": {"last": "item.id"}, "retry": {"max_retries": 3}
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let child = json!({
        "id": "child", "url": "https://api.example.com/child/{{ item }}", "params": {"of": "{{ items[0].id }}"},
        "emit": "page"
    });
    vec![
        list(json!({"sub_steps": [rows(json!({}))]})),
        list(json!({"emit": "record", "sub_steps": [rows(json!({}))]})),
        list(json!({"emit": "none", "sub_steps": [rows(json!({"emit": "record"}))]})),
        list(json!({"sub_steps": [rows(json!({"sub_steps": [child.clone()]}))]})),
        list(
            json!({"sub_steps": [rows(json!({})), {"id": "again", "url": "https://api.example.com/row/{{ item.id }}",
            "params": {"before": "{{ steps.row.body[0] }}", "context": "{{ context.last }}"}}]}),
        ),
        json!({"step": {"id": "list", "url": "https://api.example.com/list", "sub_steps": [
            {"id": "row", "url": "https://api.example.com/row/{{ parent.body.rows[0].id || 'none' }}", "emit": "page"}, child_of_parent()]}}),
    ]
}

fn child_of_parent() -> Value {
    json!({"id": "paged", "url": "https://api.example.com/list", "emit": "page", "iterate_over": "response.body.rows",
        "paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}})
}

fn setup(which: usize) -> Setup {
    let definition = orchid_plan::compile(&plans()[which], &orchid_plan::ServerLimits::default());
    let mut setup = Setup::new(definition.expect("the plan compiles"));
    setup.park_after = Duration::from_secs(30);
    setup
}

/// An upstream that answers the same whenever it is asked, but for the faults before.
struct Upstream {
    /// Rows of each page.
    pages: Vec<usize>,
    /// Statuses that come before the answer, by path; each once.
    faults: BTreeMap<String, Vec<u16>>,
    asked: BTreeMap<String, usize>,
}

impl Upstream {
    fn new(pages: &[usize], faults: &[(usize, u16)]) -> Upstream {
        let mut by_path: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for (row, status) in faults {
            by_path.entry(format!("/row/{row}")).or_default().push(*status);
        }
        by_path.values_mut().for_each(|statuses| statuses.truncate(2));
        Upstream { pages: pages.to_vec(), faults: by_path, asked: BTreeMap::new() }
    }

    fn reply(&mut self, request: &Request) -> Result<Response, FetchError> {
        let path = request.url.path().to_owned();
        let asked = self.asked.entry(path.clone()).or_default();
        *asked += 1;
        let fault = self.faults.get(&path).and_then(|faults| faults.get(*asked - 1));
        let respond = |status: u16, body: &Value| Response {
            status,
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("retry-after".to_owned(), if status == 429 { "90" } else { "1" }.to_owned()),
            ],
            body: body.to_string().into(),
            url: request.url.to_string(),
        };
        match fault {
            Some(0) => {
                return Err(FetchError {
                    kind: FetchErrorKind::Broken,
                    message: "broke".to_owned(),
                    status: None,
                });
            }
            Some(status) => return Ok(respond(*status, &json!({}))),
            None => {}
        }
        let at: usize = request
            .url
            .query_pairs()
            .find(|(name, _)| name == "at")
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or_default();
        Ok(respond(200, &self.body(&path, at)))
    }

    fn body(&self, path: &str, at: usize) -> Value {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        match (parts.next().unwrap(), parts.next()) {
            ("list", _) => {
                let first: usize = self.pages[..at.min(self.pages.len())].iter().sum();
                let count = self.pages.get(at).copied().unwrap_or_default();
                let rows: Vec<Value> = (first..first + count).map(|id| json!({"id": id})).collect();
                json!({"rows": rows, "next": (at + 1 < self.pages.len()).then_some(at + 1)})
            }
            ("row", Some(id)) => json!([format!("{id}a"), format!("{id}b")]),
            (_, id) => json!({"child": id}),
        }
    }
}

/// Every row that was emitted, by its place. Chunks may be cut anywhere.
fn rows(messages: &[Message]) -> BTreeSet<(String, String)> {
    let mut rows = BTreeSet::new();
    for message in messages.iter().filter(|message| message.topic == Topic::Responses) {
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        let path = payload["step_path"].as_str().unwrap().to_owned();
        for row in payload["response_body"].as_array().unwrap() {
            rows.insert((path.clone(), row.to_string()));
        }
    }
    rows
}

/// A run that takes its inputs in an order of `choices`, and dies after `steps` of them.
struct Ran {
    messages: Vec<Message>,
    newest: Option<SavedCheckpoint>,
    context: BTreeMap<String, Bytes>,
    end: Option<Finish>,
    /// Tries under way at once.
    most: usize,
}

fn run(
    setup: &Setup,
    upstream: &mut Upstream,
    resume: Option<SavedCheckpoint>,
    steps: usize,
    choices: &[usize],
    lag: usize,
) -> Ran {
    let mut ran =
        Ran { messages: Vec::new(), newest: resume, context: setup.context.clone(), end: None, most: 0 };
    let mut clock = Clock { elapsed: Duration::ZERO };
    let mut step = 0;
    for attempt in 1..60 {
        let mut setup = setup.clone();
        setup.context.clone_from(&ran.context);
        let mut machine = Machine::new(setup.job(attempt, EXECUTION, ran.newest.clone())).unwrap();
        let mut inputs = vec![Input::Begin];
        let mut sending: Vec<(usize, EmitId, Message)> = Vec::new();
        let mut over = false;
        while !inputs.is_empty() && step < steps {
            step += 1;
            clock.elapsed += Duration::from_millis(7);
            let input = inputs.remove(choices[step % choices.len()] % inputs.len());
            for output in machine.step(clock.now(), input) {
                match output {
                    Output::Fetch { try_id, request } => {
                        let result = upstream.reply(&request);
                        inputs.push(Input::Answer { try_id, result, duration: Duration::from_millis(5) });
                        let under_way = |input: &&Input| matches!(input, Input::Answer { .. });
                        ran.most = ran.most.max(inputs.iter().filter(under_way).count());
                    }
                    Output::Emit { emit_id, message } => sending.push((step + lag, emit_id, message)),
                    Output::Wait { wait_id: WaitId(1), .. } => {}
                    Output::Wait { wait_id, .. } => inputs.push(Input::Woke { wait_id }),
                    Output::Park { not_before, .. } => {
                        let wait = (not_before - start()).to_std().unwrap();
                        clock.elapsed = clock.elapsed.max(wait);
                        over = true;
                    }
                    Output::Finished(finish) => {
                        ran.end = Some(finish);
                        over = true;
                    }
                    Output::Read { .. } | Output::Discard { .. } => {}
                }
            }
            if over {
                inputs.clear();
            }
            acknowledge(&mut machine, &mut sending, if over { usize::MAX } else { step }, clock, &mut ran);
        }
        if step >= steps && ran.end.is_none() || ran.end.is_some() {
            break;
        }
    }
    ran
}

fn acknowledge(
    machine: &mut Machine,
    sending: &mut Vec<(usize, EmitId, Message)>,
    until: usize,
    clock: Clock,
    ran: &mut Ran,
) {
    // The newest first: acknowledgements come in any order.
    while let Some(index) = sending.iter().rposition(|(due, ..)| *due <= until) {
        let (_, emit_id, message) = sending.remove(index);
        ran.messages.push(message);
        machine.step(clock.now(), Input::Acked { emit_id });
    }
    if let Some(checkpoint) = machine.checkpoint() {
        keep(&checkpoint, ran);
    }
}

fn keep(checkpoint: &Checkpoint, ran: &mut Ran) {
    apply(&mut ran.context, checkpoint);
    ran.newest = Some(saved(checkpoint, ran.newest.as_ref()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_killed_fan_out_loses_no_row(
        pages in prop::collection::vec(0_usize..5, 1..4),
        faults in prop::collection::vec((0_usize..8, prop_oneof![Just(0_u16), Just(503), Just(429)]), 0..4),
        which in 0_usize..6, steps in 1_usize..40, lag in 0_usize..5,
        choices in prop::collection::vec(0_usize..20, 1..12),
    ) {
        let setup = setup(which);
        let full = run(&setup, &mut Upstream::new(&pages, &[]), None, usize::MAX, &[0], 0);
        prop_assert!(
            matches!(&full.end, Some(Finish::Ended(ending)) if ending.status == EndStatus::Succeeded), "{:?}", full.end
        );
        let mut upstream = Upstream::new(&pages, &faults);
        let killed = run(&setup, &mut upstream, None, steps, &choices, lag);
        prop_assert!(killed.most <= 3 + 3 * 50, "{} at once", killed.most);
        let mut resumed = setup.clone();
        resumed.context.clone_from(&killed.context);
        let rest = run(&resumed, &mut upstream, killed.newest, usize::MAX, &choices, lag);
        let mut messages = killed.messages;
        if killed.end.is_none() {
            messages.extend(rest.messages);
            prop_assert_eq!(&rest.context, &full.context, "the context is that of an undisturbed run");
        }
        prop_assert_eq!(rows(&messages), rows(&full.messages));
    }

    #[test]
    fn a_fan_out_in_any_order_gives_the_same_pages(
        pages in prop::collection::vec(0_usize..6, 1..4), which in 0_usize..6,
        choices in prop::collection::vec(0_usize..20, 1..12),
    ) {
        let setup = setup(which);
        let straight = run(&setup, &mut Upstream::new(&pages, &[]), None, usize::MAX, &[0], 0);
        let mixed = run(&setup, &mut Upstream::new(&pages, &[]), None, usize::MAX, &choices, 3);
        prop_assert_eq!(rows(&mixed.messages), rows(&straight.messages));
        prop_assert_eq!(mixed.context, straight.context);
    }
}

/// A hundred thousand rows, three at a time.
#[test]
fn a_large_fan_out_holds_only_its_window() {
    let setup = setup(1);
    let rows: Vec<Value> = (0..100_000).map(|id| json!({"id": id})).collect();
    let body = json!({"rows": rows, "next": null}).to_string();
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let now = Clock { elapsed: Duration::ZERO }.now();
    let respond = |try_id: TryId, body: &str| Input::Answer {
        try_id,
        result: Ok(Response {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
            url: "https://api.example.com/".to_owned(),
        }),
        duration: Duration::from_millis(1),
    };
    machine.step(now, Input::Begin);
    let mut open: Vec<TryId> = Vec::new();
    let emitted = std::cell::Cell::new(0);
    let take = |outputs: Vec<Output>, open: &mut Vec<TryId>, machine: &mut Machine| {
        for output in outputs {
            match output {
                Output::Fetch { try_id, .. } => open.push(try_id),
                Output::Emit { emit_id, .. } => {
                    emitted.set(emitted.get() + 1);
                    machine.step(now, Input::Acked { emit_id });
                }
                _ => {}
            }
        }
    };
    let outputs = machine.step(now, respond(TryId(1), &body));
    take(outputs, &mut open, &mut machine);
    // The first row never answers: the others go only so far ahead.
    let first = open.remove(0);
    let mut answered = 0;
    while let Some(try_id) = open.pop() {
        answered += 1;
        let outputs = machine.step(now, respond(try_id, "[1]"));
        take(outputs, &mut open, &mut machine);
    }
    assert!(answered < 4 * 3 && emitted.get() == answered, "{answered} rows ahead of the oldest");
    let outputs = machine.step(now, respond(first, "[1]"));
    take(outputs, &mut open, &mut machine);
    assert_eq!(open.len(), 3, "it goes on");
    let stopped = machine.step(now, Input::Stop(StopReason::Drain));
    assert!(matches!(stopped.last(), Some(Output::Finished(Finish::Released))));
}
