//! Properties of `for_each` with a loop per item: no row is lost, in whatever order responses
//! arrive and wherever the execution is stopped or killed.

use std::collections::BTreeMap;

use orchid_engine::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chaos::{ExecutionRecord, Interleaving, Reply, Upstream, rows, run, setup, succeeded};

const API: &str = "https://api.example.com";

/// Plans for one upstream: `/account/a?at=n` returns rows and a next page, `/leaf/id` a value.
fn plans(accounts: usize) -> Vec<Value> {
    let each = |more: Value| {
        let mut step = json!({
            "id": "account", "for_each": format!("range(`0`, `{accounts}`)"), "concurrency": 2, "url": format!("{API}/account/{{{{ item }}}}"),
            "params": {"last": "{{ context.last }}"}, "iterate_over": "response.body.rows", "set_context": {"last": "response.body.mark"},
            "paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let leaf = json!({"id": "leaf", "url": format!("{API}/leaf/{{{{ item }}}}"), "params": {"account": "{{ items[0] }}"}, "set_context": {"leaf": "item"}});
    let after = json!({"id": "after", "url": format!("{API}/after/{{{{ steps.account[-1].body.mark || 'none' }}}}/{{{{ context.last || 'none' }}}}")});
    let row = json!({"id": "list", "url": format!("{API}/account/0"), "iterate_over": "response.body.rows", "concurrency": 2, "sub_steps": [
        {"id": "part", "for_each": "[item, item]", "url": format!("{API}/leaf/{{{{ item }}}}-{{{{ item_index }}}}"), "set_context": {"leaf": "item"}}
    ]});
    vec![
        json!({"step": each(json!({}))}),
        json!({"step": each(json!({"sub_steps": [leaf]}))}),
        json!({"step": each(json!({"emit": "record", "sub_steps": [leaf]}))}),
        json!({"steps": [each(json!({})), after]}),
        json!({"step": row}),
        json!({"step": each(json!({"window": {"from": "'2026-01-01'", "to": "'2026-01-03'", "step": "1d", "format": "date", "from_param": "day"}}))}),
    ]
}

/// An upstream of accounts, each with pages of rows.
struct Accounts {
    pages: Vec<Vec<usize>>,
    faults: BTreeMap<String, Vec<u16>>,
    requests: BTreeMap<String, usize>,
}

impl Accounts {
    fn new(pages: &[Vec<usize>], faults: &[(usize, u16)]) -> Accounts {
        let mut by_path: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for (account, status) in faults {
            by_path.entry(format!("/account/{account}")).or_default().push(*status);
        }
        by_path.values_mut().for_each(|statuses| statuses.truncate(2));
        Accounts { pages: pages.to_vec(), faults: by_path, requests: BTreeMap::new() }
    }
}

impl Upstream for Accounts {
    fn reply(&mut self, request: &Request) -> Reply {
        let path = request.url.path().to_owned();
        let requests = self.requests.entry(path.clone()).or_default();
        *requests += 1;
        match self.faults.get(&path).and_then(|faults| faults.get(*requests - 1)) {
            Some(0) => return Reply::broken(),
            Some(status) => return Reply::json(request, *status, &json!({})),
            None => {}
        }
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let Some(account) = path.strip_prefix("/account/").and_then(|id| id.parse::<usize>().ok()) else {
            return Reply::json(request, 200, &json!({"path": path, "query": query}));
        };
        let pages = &self.pages[account % self.pages.len()];
        let at: usize = query.get("at").and_then(|at| at.parse().ok()).unwrap_or_default();
        let day = query.get("day").cloned().unwrap_or_default();
        let count = pages.get(at).copied().unwrap_or_default();
        let rows: Vec<Value> = (0..count).map(|row| json!(format!("{account}-{day}-{at}-{row}"))).collect();
        let next = (at + 1 < pages.len()).then_some(at + 1);
        Reply::json(request, 200, &json!({"rows": rows, "next": next, "mark": format!("{account}-{at}")}))
    }
}

fn pages() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0_usize..3, 1..4), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn killed_for_each_loses_no_row(
        pages in pages(), which in 0_usize..6, steps in 1_usize..50, interleaving in Interleaving::any(),
        faults in prop::collection::vec((0_usize..3, prop_oneof![Just(0_u16), Just(503), Just(429)]), 0..4),
    ) {
        let setup = setup(&plans(pages.len())[which]);
        let fresh = || ExecutionRecord::fresh(&setup);
        let full = run(&setup, &mut Accounts::new(&pages, &[]), fresh(), usize::MAX, &Interleaving::none());
        prop_assert!(succeeded(&full), "{:?}", full.end);
        let mut upstream = Accounts::new(&pages, &faults);
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
        prop_assert_eq!(&end.context, &full.context, "the context equals that of an undisturbed execution");
        prop_assert_eq!(rows(&messages), rows(&full.messages));
    }
}
