//! Executions that end at a limit of their plan (`on_limit: continue`), and those that continue
//! them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::eventually::{eventually, reached};
use orchid_tests::upstream::order_page;
use orchid_tests::{FakeUpstream, Message, StackOptions, Tenant, TestStack, UpstreamReply};
use serde_json::{Value, json};

use crate::plans;

const PAGES: u64 = 10;
const ROWS: u64 = 3;

/// Returns a plan that reads at most four of the ten pages in one execution.
fn limited() -> Value {
    let mut plan = plans::orders();
    plan["max_loops"] = json!(4);
    plan["on_limit"] = json!("continue");
    plan
}

/// Returns the pages that were requested, in order.
fn asked(upstream: &FakeUpstream) -> Vec<u64> {
    let page = |cursor: Option<&String>| cursor.map_or(0, |cursor| cursor.parse().expect("a cursor"));
    upstream.requests().iter().map(|request| page(request.query.get("cursor"))).collect()
}

/// Returns how often each row was delivered, with repeated messages dropped by their ids.
fn delivered(messages: &[Message]) -> BTreeMap<u64, usize> {
    let pages: BTreeMap<&str, &Message> = messages
        .iter()
        .filter(|message| message.kind() == "api.response")
        .map(|message| (message.header("orchid-message-id"), message))
        .collect();
    let mut rows = BTreeMap::new();
    for message in pages.values() {
        for row in message.json()["response_body"].as_array().expect("rows") {
            *rows.entry(row["id"].as_u64().expect("an id")).or_default() += 1;
        }
    }
    rows
}

fn each_row_once() -> BTreeMap<u64, usize> {
    (0..PAGES * ROWS).map(|id| (id, 1)).collect()
}

fn codes(execution: &v1::Execution) -> Vec<&str> {
    execution.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

async fn trigger_with(tenant: &Tenant, context_override: &str) -> v1::Execution {
    let trigger = v1::TriggerPlanRequest {
        key: "orders".to_owned(),
        config: "main".to_owned(),
        context_override_json: context_override.to_owned(),
        ..v1::TriggerPlanRequest::default()
    };
    tenant.plans().trigger_plan(tenant.request(trigger)).await.expect("an execution").into_inner()
}

async fn drained_by_triggers(placement_groups: u32) {
    let upstream = FakeUpstream::orders(PAGES, ROWS, true).await;
    let options =
        StackOptions { executors: 2, placement_groups, lease_ttl_ms: 3000, ..StackOptions::default() };
    let mut stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &limited()).await;
    let mut executions = Vec::new();
    for _ in 0..3 {
        // The second and the third wait behind the first, which has not reached its limit yet.
        executions.push(tenant.trigger("orders", "main").await);
    }
    upstream.open(5);
    eventually("the second execution has read two pages", async || reached(upstream.count(), 7)).await;
    let attempts = tenant.attempts(&executions[1].id).await;
    stack.kill_executor(&attempts[0].executor);
    upstream.open(PAGES);

    let mut ended = Vec::new();
    for execution in &executions {
        ended.push(tenant.success_of(&execution.id).await);
    }
    let pages: Vec<i64> = ended.iter().map(|run| run.counts.expect("counts").pages).collect();
    assert_eq!(pages, [4, 4, 2]);
    assert!(ended.iter().all(|run| !run.complete), "{ended:#?}");
    let continued: Vec<&str> = ended.iter().map(|run| run.continues_execution_id.as_str()).collect();
    assert_eq!(continued, ["", &ended[0].id, &ended[1].id]);
    assert_eq!(ended.iter().map(|run| run.partial).collect::<Vec<_>>(), [true, true, false]);
    assert!(ended[1].attempt >= 2, "its executor was killed: {:#?}", ended[1]);
    let messages = stack
        .reader()
        .until("all rows are delivered", |all| delivered(all).len() as u64 == PAGES * ROWS)
        .await;
    assert_eq!(delivered(&messages), each_row_once());
    let explain = v1::ExplainExecutionRequest { id: ended[1].id.clone() };
    let explained = tenant.executions().explain_execution(tenant.request(explain)).await;
    let summary = explained.expect("an explanation").into_inner().summary;
    assert!(summary.contains(&format!("It continues execution {}", ended[0].id)), "{summary}");

    // The loop has ended, so the next execution starts from the beginning.
    let fresh = tenant.trigger("orders", "main").await;
    let fresh = tenant.success_of(&fresh.id).await;
    assert_eq!(fresh.continues_execution_id, "");
    assert_eq!(asked(&upstream).into_iter().rev().take(4).collect::<Vec<_>>(), [3, 2, 1, 0]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggered_executions_drain_a_loop_over_a_killed_executor() {
    drained_by_triggers(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggered_executions_drain_a_loop_with_eight_groups() {
    drained_by_triggers(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_executions_drain_a_loop() {
    let upstream = FakeUpstream::orders(PAGES, ROWS, false).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let plan = v1::Plan {
        key: "orders".to_owned(),
        integration: "shop".to_owned(),
        enabled: Some(true),
        wait_seconds: Some(1),
        repeat_count: Some(4),
        definition: Some(structure(&limited())),
        ..v1::Plan::default()
    };
    tenant.create_plan(plan).await.expect("a plan");
    eventually("four executions have ended", async || {
        let executions = tenant.all_executions("orders").await;
        reached(executions.iter().filter(|run| run.end_time.is_some()).count(), 4)
    })
    .await;
    let runs = tenant.all_executions("orders").await;
    let continued: Vec<&str> = runs.iter().map(|run| run.continues_execution_id.as_str()).collect();
    assert_eq!(continued, ["", &runs[0].id, &runs[1].id, ""]);
    let pages: Vec<u64> = (0..PAGES).chain(0..4).collect();
    assert_eq!(asked(&upstream), pages, "the loop is read once, then from the beginning");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_plan_starts_from_the_beginning_with_a_warning() {
    let upstream = FakeUpstream::orders(PAGES, ROWS, false).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &limited()).await;
    let first = tenant.trigger("orders", "main").await;
    let first = tenant.success_of(&first.id).await;
    let mut changed = limited();
    changed["max_loops"] = json!(5);
    let update = v1::UpdatePlanRequest {
        plan: Some(v1::Plan {
            key: "orders".to_owned(),
            definition: Some(structure(&changed)),
            ..v1::Plan::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["definition".to_owned()] }),
    };
    tenant.plans().update_plan(tenant.request(update)).await.expect("a revision");
    let second = tenant.trigger("orders", "main").await;
    let second = tenant.success_of(&second.id).await;
    assert_eq!(second.continues_execution_id, "");
    let dropped = second.warnings.iter().find(|warning| warning.code == "CONTINUATION_DROPPED");
    assert!(dropped.is_some_and(|warning| warning.message.contains(&first.id)), "{second:#?}");
    assert_eq!(asked(&upstream)[4..], [0, 1, 2, 3, 4]);
    let third = tenant.trigger("orders", "main").await;
    let third = tenant.success_of(&third.id).await;
    assert_eq!((third.continues_execution_id.as_str(), third.complete), (second.id.as_str(), false));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_with_an_override_is_no_part_of_the_chain() {
    let upstream = FakeUpstream::orders(PAGES, ROWS, false).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &limited()).await;
    let first = trigger_with(&tenant, "").await;
    let first = tenant.success_of(&first.id).await;
    let aside = trigger_with(&tenant, r#"{"a": 1}"#).await;
    let aside = tenant.success_of(&aside.id).await;
    let next = trigger_with(&tenant, "").await;
    let next = tenant.success_of(&next.id).await;
    assert_eq!(aside.continues_execution_id, "");
    assert!(!codes(&aside).contains(&"CONTINUATION_DROPPED"), "{aside:#?}");
    assert_eq!(next.continues_execution_id, first.id);
    assert_eq!(asked(&upstream), [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_continuation_ends_the_chain() {
    let failed = AtomicBool::new(false);
    let upstream = FakeUpstream::start(move |request| {
        let page: u64 = request.query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a cursor"));
        if page == 6 && !failed.swap(true, Ordering::SeqCst) {
            return UpstreamReply::Json(400, json!({"error": "the page token has expired"}));
        }
        UpstreamReply::ok(order_page(page, PAGES, ROWS))
    })
    .await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &limited()).await;
    let first = tenant.trigger("orders", "main").await;
    tenant.success_of(&first.id).await;
    let second = tenant.trigger("orders", "main").await;
    let second = tenant.end_of(&second.id).await;
    assert_eq!(second.state(), v1::ExecutionState::Failed, "{second:#?}");
    assert_eq!(second.continues_execution_id, first.id);
    let third = tenant.trigger("orders", "main").await;
    let third = tenant.success_of(&third.id).await;
    assert_eq!(third.continues_execution_id, "");
    assert_eq!(asked(&upstream), [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]);
    stack.end().await;
}
