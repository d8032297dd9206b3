//! Properties of windows and cursors: a saved cursor never skips a row that is not in Kafka, and it
//! never moves backwards, wherever an execution is stopped or killed.

use std::collections::{BTreeMap, BTreeSet};

use orchid_engine::{CursorKey, Message, Request, Topic};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chaos::{ExecutionRecord, Interleaving, Reply, Upstream, run, setup, succeeded};

const API: &str = "https://api.example.com";

/// Plans for one upstream: `/rows` returns the rows at `since` or later, or between `from` and
/// `to`, in pages.
fn plans() -> Vec<Value> {
    let step = |more: Value| {
        let mut step = json!({
            "id": "rows", "url": format!("{API}/rows"), "iterate_over": "response.body.rows",
            "cursor": {"value": "max_of(response.body.rows[*].at)", "type": "number", "start": 0, "param": "since"},
            "paginate": {"type": "cursor", "value": "response.body.next", "param": "page"}
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let ordered = json!({"value": "max_of(response.body.rows[*].at)", "type": "number", "start": 0, "param": "since", "ordered": true});
    let leaf = json!({"id": "leaf", "url": format!("{API}/leaf/{{{{ item.id }}}}")});
    let window = json!({"step": "10s", "to": "'1970-01-01T00:01:00Z'", "format": "epoch_s", "from_param": "from", "to_param": "to"});
    let by_window = json!({"value": "window.to", "type": "epoch_s", "start": 0, "ordered": true});
    let per_item = json!({"value": "max_of(response.body.rows[*].at)", "type": "number", "start": 0, "param": "since", "per_item": "item.id"});
    let channels = |more: Value| {
        let mut channels = json!({
            "id": "channels", "url": format!("{API}/channels"), "iterate_over": "response.body", "concurrency": 2,
            "sub_steps": [step(json!({"url": format!("{API}/rows/{{{{ item.id }}}}"), "cursor": per_item}))]
        });
        channels.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        channels
    };
    let each = step(json!({
        "for_each": "`[{\"id\": 0}, {\"id\": 1}]`", "url": format!("{API}/rows/{{{{ item.id }}}}"), "cursor": {
            "value": "max_of(response.body.rows[*].at)", "type": "number", "start": 0, "param": "since", "per_item": "item.id", "ordered": true}
    }));
    vec![
        json!({"step": step(json!({}))}),
        json!({"step": step(json!({"cursor": ordered.clone()}))}),
        json!({"step": step(json!({"cursor": ordered, "sub_steps": [leaf.clone()], "concurrency": 2}))}),
        json!({"step": step(json!({"sub_steps": [leaf], "concurrency": 2, "emit": "record"}))}),
        json!({"step": step(json!({"window": window, "cursor": by_window}))}),
        json!({"step": channels(json!({}))}),
        json!({"step": channels(json!({"emit": "none", "sub_steps": [step(json!({"url": format!("{API}/rows/{{{{ item.id }}}}"), "cursor": per_item, "emit": "page"}))]}))}),
        json!({"step": each}),
    ]
}

/// Indexes of the plans that declare rows to be ordered, oldest first.
const ORDERED: [usize; 4] = [1, 2, 4, 7];

/// An upstream log of rows, each at a time; some tries fail.
struct Log {
    /// Times of the rows, in response order.
    rows: Vec<u64>,
    size: usize,
    faults: Vec<bool>,
    /// Failures so far by path; at most two, so that retries always suffice.
    failed: BTreeMap<String, usize>,
}

impl Log {
    fn new(rows: &[u64], size: usize, faults: Vec<bool>) -> Log {
        Log { rows: rows.to_vec(), size, faults, failed: BTreeMap::new() }
    }

    fn rows(&self, request: &Request) -> Vec<Value> {
        let query: BTreeMap<String, u64> = request
            .url
            .query_pairs()
            .filter_map(|(name, value)| Some((name.into_owned(), value.parse().ok()?)))
            .collect();
        let least = query.get("since").or_else(|| query.get("from")).copied().unwrap_or_default();
        let end = query.get("to").copied().unwrap_or(u64::MAX);
        let channel = request.url.path().trim_start_matches("/rows").to_owned();
        let rows = self.rows.iter().enumerate().filter(|(_, at)| (least..end).contains(*at));
        rows.map(|(number, at)| json!({"id": format!("{channel}{number}"), "at": at})).collect()
    }
}

impl Upstream for Log {
    fn reply(&mut self, request: &Request) -> Reply {
        let failed = self.failed.entry(request.url.path().to_owned()).or_default();
        if self.faults.pop() == Some(true) && *failed < 2 {
            *failed += 1;
            return Reply::json(request, 503, &json!({}));
        }
        match request.url.path() {
            "/channels" => Reply::json(request, 200, &json!([{"id": 0}, {"id": 1}])),
            path if path.starts_with("/rows") => {
                let page = request.url.query_pairs().find(|(name, _)| name == "page");
                let page: usize = page.and_then(|(_, page)| page.parse().ok()).unwrap_or_default();
                let rows = self.rows(request);
                let next = (rows.len() > (page + 1) * self.size).then_some(page + 1);
                let rows: Vec<Value> = rows.into_iter().skip(page * self.size).take(self.size).collect();
                Reply::json(request, 200, &json!({"rows": rows, "next": next}))
            }
            path => Reply::json(request, 200, &json!({"path": path})),
        }
    }
}

/// Returns the ids of all rows in the messages, at any depth.
fn ids(messages: &[Message]) -> BTreeSet<String> {
    fn visit(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let (Some(Value::String(id)), true) = (members.get("id"), members.contains_key("at")) {
                    found.insert(id.clone());
                }
                members.values().for_each(|member| visit(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| visit(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    for message in messages.iter().filter(|message| message.topic == Topic::Responses) {
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        visit(&payload["response_body"], &mut found);
    }
    found
}

fn number(json: &[u8]) -> u64 {
    let text = String::from_utf8(json.to_vec()).unwrap();
    text.trim_matches('"').parse().unwrap()
}

fn never_backwards(values: &[(CursorKey, bytes::Bytes)]) -> bool {
    let mut newest: BTreeMap<&CursorKey, u64> = BTreeMap::new();
    values.iter().all(|(key, json)| {
        let value = number(json);
        newest.insert(key, value).is_none_or(|before| before < value)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cursor_of_a_killed_execution_skips_no_row(
        mut log in prop::collection::vec(0_u64..60, 0..12), size in 1_usize..4, which in 0_usize..8,
        faults in prop::collection::vec(prop::bool::weighted(0.15), 0..20),
        steps in 1_usize..60, resumed in any::<bool>(), interleaving in Interleaving::any(),
    ) {
        if ORDERED.contains(&which) {
            log.sort_unstable();
        }
        let setup = setup(&plans()[which]);
        let calm = || Log::new(&log, size, Vec::new());
        let all = run(&setup, &mut calm(), ExecutionRecord::fresh(&setup), usize::MAX, &Interleaving::none());
        prop_assert!(succeeded(&all), "{:?}", all.end);

        let mut upstream = Log::new(&log, size, faults);
        let killed = run(&setup, &mut upstream, ExecutionRecord::fresh(&setup), steps, &interleaving);
        let (mut messages, mut values) = (killed.messages.clone(), killed.cursor_values.clone());
        let mut last = killed;
        if resumed && last.end.is_none() {
            last = run(&setup, &mut calm(), last.resumed(), usize::MAX, &interleaving);
            messages.extend(last.messages.clone());
            values.extend(last.cursor_values.clone());
        }
        // The execution is abandoned where it is; the next one gets only its cursors.
        let next = run(&setup, &mut calm(), last.next_execution(), usize::MAX, &Interleaving::none());
        prop_assert!(succeeded(&next), "{:?}", next.end);
        messages.extend(next.messages.clone());
        values.extend(next.cursor_values.clone());
        prop_assert_eq!(ids(&messages), ids(&all.messages));
        prop_assert!(never_backwards(&values), "{:?}", values);
        prop_assert_eq!(next.cursors, all.cursors, "the final cursors equal those of an undisturbed execution");
    }
}
