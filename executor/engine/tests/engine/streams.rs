//! Properties of streamed bodies: every row is emitted, wherever the body is cut or breaks off and
//! wherever the execution is stopped or killed, with or without sub-steps.

use orchid_engine::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chaos::{ExecutionRecord, Interleaving, Reply, Upstream, rows, run, setup, succeeded};

const API: &str = "https://api.example.com";

fn plans() -> Vec<Value> {
    let step = |more: Value| {
        let mut step = json!({
            "id": "list", "url": format!("{API}/lines"), "iterate_over": "response.body", "concurrency": 2, "retry": {"max_retries": 3}
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"step": step})
    };
    let leaf = json!({"id": "leaf", "url": format!("{API}/leaf/{{{{ item.id }}}}"), "set_context": {"last": "item.id"}});
    let array = json!({"url": format!("{API}/array"), "iterate_over": "response.body.data.rows", "response": {"stream": true}});
    let with = |mut base: Value, more: Value| {
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let below = json!({"step": {"id": "around", "url": format!("{API}/two"), "iterate_over": "response.body", "concurrency": 2, "sub_steps": [
        {"id": "list", "url": format!("{API}/lines"), "iterate_over": "response.body", "retry": {"max_retries": 5}}
    ]}});
    vec![
        step(json!({})),
        step(array.clone()),
        step(json!({"emit": "record"})),
        step(json!({"sub_steps": [leaf.clone()]})),
        step(with(array, json!({"sub_steps": [leaf], "emit": "record"}))),
        step(json!({"url": format!("{API}/csv")})),
        below,
    ]
}

/// An upstream with one list in each format.
struct Lists {
    rows: usize,
    /// Bytes after which the next bodies break off.
    breaks: Vec<usize>,
}

impl Lists {
    fn body(&self, path: &str) -> (&'static str, String) {
        let rows: Vec<String> =
            (0..self.rows).map(|id| format!("{{\"id\":\"{id}\",\"n\":{id}.50}}")).collect();
        match path {
            "/lines" => ("application/x-ndjson", rows.join("\n")),
            "/array" => (
                "application/json",
                format!(
                    "{{\"a\":[{{\"rows\":1}}],\"data\":{{\"x\":\"]\",\"rows\":[{}]}},\"z\":null}}",
                    rows.join(" , ")
                ),
            ),
            "/csv" => (
                "text/csv",
                format!("id,n\n{}", (0..self.rows).map(|id| format!("{id},\"{id}\"\n")).collect::<String>()),
            ),
            "/two" => ("application/json", "[{\"id\":\"x\"},{\"id\":\"y\"}]".to_owned()),
            _ => ("application/json", format!("{{\"path\":\"{path}\"}}")),
        }
    }
}

impl Upstream for Lists {
    fn reply(&mut self, request: &Request) -> Reply {
        let (kind, body) = self.body(request.url.path());
        let is_streamed = matches!(request.url.path(), "/lines" | "/array" | "/csv");
        let breaks = if is_streamed { self.breaks.pop().map(|after| after % (body.len() + 1)) } else { None };
        let response = Response {
            status: 200,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            body: body.into(),
            url: request.url.to_string(),
            files: Vec::new(),
        };
        Reply { result: Ok(response), break_after: breaks }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn interrupted_stream_loses_no_row(
        count in 0_usize..8, which in 0_usize..7, breaks in prop::collection::vec(0_usize..400, 0..3),
        steps in 1_usize..80, interleaving in Interleaving::any(),
    ) {
        let setup = setup(&plans()[which]);
        let fresh = || ExecutionRecord::fresh(&setup);
        let mut calm = Lists { rows: count, breaks: Vec::new() };
        let full = run(&setup, &mut calm, fresh(), usize::MAX, &Interleaving::none());
        prop_assert!(succeeded(&full), "{:?}", full.end);
        let mut upstream = Lists { rows: count, breaks };
        let killed = run(&setup, &mut upstream, fresh(), steps, &interleaving);
        let mut messages = killed.messages.clone();
        let mut end = &killed;
        let rest;
        if killed.end.is_none() {
            rest = run(&setup, &mut upstream, killed.resumed(), usize::MAX, &interleaving);
            messages.extend(rest.messages.clone());
            end = &rest;
        }
        prop_assert!(succeeded(end), "{:?}", end.end);
        prop_assert_eq!(&end.context, &full.context);
        prop_assert_eq!(rows(&messages), rows(&full.messages));
    }
}
