//! Properties of fan-outs: every row is emitted, in whatever order responses arrive and wherever
//! the execution is killed, and no more rows are held than the window allows.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{ExecutionFinish, Input, Machine, Output, Request, Response, StopReason, TryId};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chaos::{ExecutionRecord, Interleaving, Reply, Upstream, rows, run, setup, succeeded};
use crate::support::{EXECUTION, TestClock};

/// Plans for one upstream: `/list?at=n` returns rows and a next page, `/row/id` the children of a
/// row, `/child/id` theirs.
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

/// An upstream that returns the same response for every request, apart from injected faults.
struct Lists {
    /// Number of rows of each page.
    pages: Vec<usize>,
    /// Statuses returned before the response, by path; each once, and 0 is a connection failure.
    faults: BTreeMap<String, Vec<u16>>,
    requests: BTreeMap<String, usize>,
}

impl Lists {
    fn new(pages: &[usize], faults: &[(usize, u16)]) -> Lists {
        let mut by_path: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for (row, status) in faults {
            by_path.entry(format!("/row/{row}")).or_default().push(*status);
        }
        by_path.values_mut().for_each(|statuses| statuses.truncate(2));
        Lists { pages: pages.to_vec(), faults: by_path, requests: BTreeMap::new() }
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

impl Upstream for Lists {
    fn reply(&mut self, request: &Request) -> Reply {
        let path = request.url.path().to_owned();
        let requests = self.requests.entry(path.clone()).or_default();
        *requests += 1;
        match self.faults.get(&path).and_then(|faults| faults.get(*requests - 1)) {
            Some(0) => return Reply::broken(),
            Some(status) => return Reply::json(request, *status, &json!({})),
            None => {}
        }
        let at = request
            .url
            .query_pairs()
            .find(|(name, _)| name == "at")
            .and_then(|(_, value)| value.parse().ok());
        Reply::json(request, 200, &self.body(&path, at.unwrap_or_default()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn killed_fan_out_loses_no_row(
        pages in prop::collection::vec(0_usize..5, 1..4),
        faults in prop::collection::vec((0_usize..8, prop_oneof![Just(0_u16), Just(503), Just(429)]), 0..4),
        which in 0_usize..6, steps in 1_usize..40, interleaving in Interleaving::any(),
    ) {
        let setup = setup(&plans()[which]);
        let fresh = || ExecutionRecord::fresh(&setup);
        let full = run(&setup, &mut Lists::new(&pages, &[]), fresh(), usize::MAX, &Interleaving::none());
        prop_assert!(succeeded(&full), "{:?}", full.end);
        let mut upstream = Lists::new(&pages, &faults);
        let killed = run(&setup, &mut upstream, fresh(), steps, &interleaving);
        prop_assert!(killed.most_in_flight <= 3 + 3 * 50, "{} at once", killed.most_in_flight);
        let mut messages = killed.messages.clone();
        if killed.end.is_none() {
            let rest = run(&setup, &mut upstream, killed.resumed(), usize::MAX, &interleaving);
            prop_assert!(succeeded(&rest), "{:?}", rest.end);
            prop_assert_eq!(&rest.context, &full.context, "the context equals that of an undisturbed execution");
            messages.extend(rest.messages);
        }
        prop_assert_eq!(rows(&messages), rows(&full.messages));
    }

    #[test]
    fn fan_out_emits_the_same_rows_in_any_order(
        pages in prop::collection::vec(0_usize..6, 1..4), which in 0_usize..6, interleaving in Interleaving::any(),
    ) {
        let setup = setup(&plans()[which]);
        let fresh = || ExecutionRecord::fresh(&setup);
        let straight = run(&setup, &mut Lists::new(&pages, &[]), fresh(), usize::MAX, &Interleaving::none());
        let mixed = run(&setup, &mut Lists::new(&pages, &[]), fresh(), usize::MAX, &interleaving);
        prop_assert_eq!(rows(&mixed.messages), rows(&straight.messages));
        prop_assert_eq!(mixed.context, straight.context);
    }
}

/// Runs a hundred thousand rows, three at a time.
#[test]
fn large_fan_out_holds_only_its_window() {
    let setup = setup(&plans()[1]);
    let rows: Vec<Value> = (0..100_000).map(|id| json!({"id": id})).collect();
    let body = json!({"rows": rows, "next": null}).to_string();
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let now = TestClock { elapsed: Duration::ZERO }.now();
    let respond = |try_id: TryId, body: &str| Input::Response {
        try_id,
        result: Ok(Response {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
            url: "https://api.example.com/".to_owned(),
            files: Vec::new(),
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
                    machine.step(now, Input::MessageAcked { emit_id });
                }
                _ => {}
            }
        }
    };
    let outputs = machine.step(now, respond(TryId(1), &body));
    take(outputs, &mut open, &mut machine);
    // The first row gets no response: the others may only advance by the window.
    let first = open.remove(0);
    let mut completed = 0;
    while let Some(try_id) = open.pop() {
        completed += 1;
        let outputs = machine.step(now, respond(try_id, "[1]"));
        take(outputs, &mut open, &mut machine);
    }
    assert!(completed < 4 * 3 && emitted.get() == completed, "{completed} rows completed ahead of the first");
    let outputs = machine.step(now, respond(first, "[1]"));
    take(outputs, &mut open, &mut machine);
    assert_eq!(open.len(), 3, "the window moves on");
    let stopped = machine.step(now, Input::Stop(StopReason::Drain));
    assert!(matches!(stopped.last(), Some(Output::Finished(ExecutionFinish::Released))));
}
