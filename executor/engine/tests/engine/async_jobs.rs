//! Properties of async jobs: a job that a checkpoint records as submitted is never submitted again,
//! and an execution stopped or killed anywhere still downloads everything.

use std::collections::BTreeMap;

use orchid_engine::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chaos::{ExecutionRecord, Interleaving, Reply, Upstream, rows, run, setup, succeeded};

const API: &str = "https://api.example.com";

fn job(more: Value) -> Value {
    let mut job = json!({
        "submit": {"url": format!("{API}/submit/{{{{ item || 'one' }}}}"), "method": "POST", "set_context": {"submitted": "response.body.id"}},
        "poll": {"url": format!("{API}/poll/{{{{ steps.submit.body.id }}}}/{{{{ page.number }}}}"), "params": {"seen": "{{ response.body.polls }}"}},
        "done_when": "response.body.done",
        "download": [
            {"id": "link", "url": format!("{API}/link/{{{{ steps.submit.body.id }}}}")},
            {"id": "file", "url": "{{ steps.link.body.url }}", "iterate_over": "response.body.rows",
             "paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}}
        ],
        "poll_wait": "10s", "max_wait": "7d"
    });
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    job
}

/// Plans with a job at the root, in a `for_each`, below rows, and once per page.
fn plans() -> Vec<Value> {
    let one = |text: Value| {
        serde_json::from_str::<Value>(&text.to_string().replace("{{ item || 'one' }}", "one")).unwrap()
    };
    let silent = json!({"download": [{"id": "file", "url": format!("{API}/file/{{{{ steps.submit.body.id }}}}"), "iterate_over": "response.body.rows",
        "paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}, "emit": "none"}]});
    vec![
        one(
            json!({"steps": [{"id": "job", "async_job": job(json!({}))}, {"id": "after", "url": format!("{API}/after/{{{{ context.submitted }}}}")}]}),
        ),
        json!({"step": {"id": "job", "for_each": "['a', 'b', 'c']", "concurrency": 2, "async_job": job(json!({}))}}),
        json!({"step": {"id": "list", "url": format!("{API}/list"), "iterate_over": "response.body", "concurrency": 2, "sub_steps": [
            {"id": "job", "async_job": job(silent)}, {"id": "after", "url": format!("{API}/after/{{{{ item }}}}")}]}}),
        one(
            json!({"step": {"id": "around", "url": format!("{API}/around"), "sub_steps": [{"id": "job", "async_job": job(json!({}))}]}}),
        ),
    ]
}

/// An upstream whose jobs are done after `polls` polls.
struct Jobs {
    polls: usize,
    pages: usize,
    faults: Vec<bool>,
    /// Failures so far by path; at most two, so that retries always suffice.
    failed: BTreeMap<String, usize>,
}

impl Jobs {
    fn new(polls: usize, pages: usize, faults: Vec<bool>) -> Jobs {
        Jobs { polls, pages, faults, failed: BTreeMap::new() }
    }
}

impl Upstream for Jobs {
    fn reply(&mut self, request: &Request) -> Reply {
        let failed = self.failed.entry(request.url.path().to_owned()).or_default();
        if self.faults.pop() == Some(true) && *failed < 2 {
            *failed += 1;
            return Reply::json(request, 503, &json!({}));
        }
        let path = request.url.path().trim_start_matches('/');
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let parts: Vec<&str> = path.split('/').collect();
        let body = match parts.as_slice() {
            ["submit", name] => json!({"id": format!("job-{name}")}),
            ["poll", _, number] => {
                let number: usize = number.parse().unwrap();
                // Each poll sees the response of the previous one, across parks and restarts.
                let seen = query.get("seen").map_or(0, |seen| seen.parse::<usize>().unwrap() + 1);
                assert_eq!(seen, number, "poll {number} saw {query:?}");
                json!({"done": number >= self.polls, "polls": number})
            }
            ["link", id] => json!({"url": format!("{API}/file/{id}")}),
            ["file", id] => {
                let at: usize = query.get("at").and_then(|at| at.parse().ok()).unwrap_or_default();
                json!({"rows": [format!("{id}-{at}")], "next": (at + 1 < self.pages).then_some(at + 1)})
            }
            ["list"] => json!(["a", "b", "c"]),
            _ => json!({"path": path}),
        };
        Reply::json(request, 200, &body)
    }
}

fn submits(record: &ExecutionRecord) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in record.requests.iter().filter(|request| request.starts_with("POST ")) {
        *counts.entry(request.trim_start_matches("POST /submit/").to_owned()).or_default() += 1;
    }
    counts
}

/// Returns the names of the jobs that the newest checkpoint records as submitted.
fn known(record: &ExecutionRecord) -> Vec<String> {
    let state =
        record.checkpoint.as_ref().map(|saved| String::from_utf8_lossy(&saved.resume_state).into_owned());
    let state = state.unwrap_or_default();
    let names = ["one", "a", "b", "c"];
    names
        .into_iter()
        .filter(|name| state.contains(&format!("\"id\":\"job-{name}\"")))
        .map(str::to_owned)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn checkpointed_job_is_never_submitted_again(
        polls in 0_usize..4, pages in 1_usize..3, which in 0_usize..4, steps in 1_usize..60, interleaving in Interleaving::any(),
        faults in prop::collection::vec(prop::bool::weighted(0.1), 0..20),
    ) {
        let setup = setup(&plans()[which]);
        let fresh = || ExecutionRecord::fresh(&setup);
        let calm = || Jobs::new(polls, pages, Vec::new());
        let full = run(&setup, &mut calm(), fresh(), usize::MAX, &Interleaving::none());
        prop_assert!(succeeded(&full), "{:?}", full.end);
        prop_assert!(submits(&full).values().all(|count| *count == 1), "{:?}", full.requests);

        let killed = run(&setup, &mut Jobs::new(polls, pages, faults), fresh(), steps, &interleaving);
        let known = known(&killed);
        let mut messages = killed.messages.clone();
        let mut end = &killed;
        let rest;
        if killed.end.is_none() {
            rest = run(&setup, &mut calm(), killed.resumed(), usize::MAX, &interleaving);
            let again = submits(&rest);
            prop_assert!(known.iter().all(|name| !again.contains_key(name)), "{:?} of {:?}", again, known);
            messages.extend(rest.messages.clone());
            end = &rest;
        }
        prop_assert!(succeeded(end), "{:?}", end.end);
        prop_assert_eq!(&end.context, &full.context);
        prop_assert_eq!(rows(&messages), rows(&full.messages));
    }
}
