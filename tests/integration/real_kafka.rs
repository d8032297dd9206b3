//! The main message tests against a real Apache Kafka, and tests that only it supports: creating
//! topics, limiting their batches, and being killed with messages in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orchid_tests::eventually::{eventually, reached};
use orchid_tests::upstream::order_page;
use orchid_tests::{BrokerKind, FakeUpstream, Message, StackOptions, TestStack, UpstreamReply};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{kafka_away, messages, plans};

fn pages(messages: &[Message]) -> Vec<&Message> {
    messages.iter().filter(|message| message.kind() == "api.response").collect()
}

fn ends(messages: &[Message]) -> usize {
    messages.iter().filter(|message| message.kind() == "execution.completed").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trigger_produces_exactly_its_messages() {
    messages::trigger_ends_in_its_messages(BrokerKind::Apache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_bytes_pass_through_unchanged() {
    messages::bytes_pass_through(BrokerKind::Apache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flaky_upstream_is_retried_and_broken_one_reports_an_error() {
    messages::flaky_and_broken_upstreams(BrokerKind::Apache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_reads_the_same_messages() {
    messages::kcat_sees_the_same(BrokerKind::Apache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_parks_during_kafka_outage_and_succeeds() {
    kafka_away::parks_while_away(BrokerKind::Apache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executor_creates_missing_topics() {
    let upstream = FakeUpstream::orders(2, 2, false).await;
    let stack = TestStack::start(StackOptions {
        broker: BrokerKind::Apache,
        make_topics: false,
        executor_settings: vec![("ORCHID_KAFKA_CREATE_TOPICS", "true".to_owned())],
        ..StackOptions::default()
    })
    .await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    let execution = tenant.trigger("orders", "main").await;
    tenant.success_of(&execution.id).await;
    let all = stack.reader().until("both ends are announced", |all| ends(all) == 2).await;
    assert_eq!(pages(&all).len(), 2);
    // Set explicitly, whatever the broker's default: a compacted topic would keep only the last
    // page per key.
    let policies = stack.kafka().topic_setting(&stack.topics, "cleanup.policy").await;
    assert_eq!(policies, ["delete"; 3]);
    stack.end().await;
}

/// Returns 1,024 characters that do not compress: Kafka's limit applies after compression.
fn noise(seed: u64) -> String {
    (0..16).map(|part| hex::encode(Sha256::digest(format!("{seed}.{part}")))).collect()
}

/// Kafka limits batches, not messages: small messages must not be sent together as an oversized
/// batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_with_small_batch_limit_receives_everything() {
    const MAX_BYTES: usize = 64 * 1024;
    const ROWS: u64 = 600;
    let upstream = FakeUpstream::start(move |_| {
        let rows: Vec<_> = (0..ROWS).map(|id| json!({"id": id, "note": noise(id)})).collect();
        UpstreamReply::ok(json!({"items": rows}))
    })
    .await;
    let stack = TestStack::start(StackOptions {
        broker: BrokerKind::Apache,
        topic_max_bytes: Some(MAX_BYTES),
        executor_settings: vec![("ORCHID_KAFKA_MESSAGE_MAX_BYTES", MAX_BYTES.to_string())],
        ..StackOptions::default()
    })
    .await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let plan = |emit: &str| {
        let mut plan = plans::single();
        plan["step"]["iterate_over"] = json!("response.body.items");
        plan["step"]["emit"] = json!(emit);
        plan
    };
    tenant.plan("records", &plan("record")).await;
    tenant.plan("page", &plan("page")).await;
    for key in ["records", "page"] {
        let execution = tenant.trigger(key, "main").await;
        tenant.success_of(&execution.id).await;
    }
    let all = stack.reader().until("the ends of both executions are announced", |all| ends(all) == 4).await;
    assert!(all.iter().all(|message| message.kind() != "api.error"));
    for key in ["records", "page"] {
        let messages: Vec<_> =
            pages(&all).into_iter().filter(|message| message.header("plan_key") == key).collect();
        let ids: Vec<u64> = messages
            .iter()
            .flat_map(|message| message.json()["response_body"].as_array().expect("rows").clone())
            .map(|row| row["id"].as_u64().expect("an id"))
            .collect();
        assert_eq!(ids, (0..ROWS).collect::<Vec<_>>(), "{key}");
        assert!(messages.len() >= 10, "{key}: {} messages", messages.len());
        assert!(messages.iter().all(|message| message.payload.len() < MAX_BYTES), "{key}");
    }
    stack.end().await;
}

/// The executor's limit is four times that of the topic. Small rows are refused along with a large
/// one in their message, or along with another message in their batch, and arrive all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lower_limit_of_the_broker_costs_only_the_large_row() {
    const TOPIC_BYTES: usize = 64 * 1024;
    const ROWS: u64 = 200;
    const LARGE: u64 = 77;
    let upstream = FakeUpstream::start(move |_| {
        let note = |id: u64| match id {
            LARGE => (0..100).map(|part| noise(1_000 + part)).collect::<String>(),
            _ => noise(id),
        };
        let rows: Vec<_> = (0..ROWS).map(|id| json!({"id": id, "note": note(id)})).collect();
        UpstreamReply::ok(json!({"items": rows}))
    })
    .await;
    let stack = TestStack::start(StackOptions {
        broker: BrokerKind::Apache,
        topic_max_bytes: Some(TOPIC_BYTES),
        executor_settings: vec![("ORCHID_KAFKA_MESSAGE_MAX_BYTES", (4 * TOPIC_BYTES).to_string())],
        ..StackOptions::default()
    })
    .await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    for emit in ["page", "record"] {
        let mut plan = plans::single();
        plan["step"]["iterate_over"] = json!("response.body.items");
        plan["step"]["emit"] = json!(emit);
        plan["step"]["ignore_on"] = json!(["MESSAGE_TOO_LARGE"]);
        tenant.plan(emit, &plan).await;
        let execution = tenant.trigger(emit, "main").await;
        let done = tenant.success_of(&execution.id).await;
        assert!(done.partial && !done.complete, "{done:#?}");
        assert!(done.warnings.iter().any(|warning| warning.code == "BROKER_LIMIT"), "{done:#?}");
    }
    let all = stack.reader().until("the ends of both executions are announced", |all| ends(all) == 4).await;
    for emit in ["page", "record"] {
        let of_plan = |message: &&Message| message.header("plan_key") == emit;
        let ids: BTreeSet<u64> = pages(&all)
            .into_iter()
            .filter(of_plan)
            .flat_map(|message| message.json()["response_body"].as_array().expect("rows").clone())
            .map(|row| row["id"].as_u64().expect("an id"))
            .collect();
        assert_eq!(ids, (0..ROWS).filter(|id| *id != LARGE).collect(), "{emit}");
        let errors: BTreeSet<String> = all
            .iter()
            .filter(|message| message.kind() == "api.error")
            .filter(of_plan)
            .map(|message| message.json()["step_path"].as_str().expect("a path").to_owned())
            .collect();
        assert_eq!(errors, BTreeSet::from([format!("one#0[{LARGE}]")]), "{emit}");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_broker_loses_no_messages() {
    const PAGES: u64 = 400;
    let upstream = FakeUpstream::start(|request| {
        let page: u64 = request.query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a cursor"));
        UpstreamReply::After(
            Duration::from_millis(2),
            Box::new(UpstreamReply::ok(order_page(page, PAGES, 3))),
        )
    })
    .await;
    let stack = TestStack::start(StackOptions {
        broker: BrokerKind::Apache,
        own_kafka: true,
        ..StackOptions::default()
    })
    .await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    let execution = tenant.trigger("orders", "main").await;
    eventually("the execution is in flight", async || reached(upstream.count(), 100)).await;
    stack.kafka().down().await;
    let at_kill = upstream.count() as u64;
    assert!(at_kill < PAGES, "the run was over before the broker was killed");
    stack.kafka().up().await;
    let done = tenant.success_of(&execution.id).await;
    assert_eq!((done.lost_attempts, done.complete), (0, true), "{done:#?}");
    let counts = done.counts.expect("counts");
    assert_eq!((counts.pages, counts.messages), (400, 400), "{counts:?}");

    let all = stack.reader().until("both ends are announced", |all| ends(all) >= 2).await;
    let mut by_page: BTreeMap<u64, Vec<&Message>> = BTreeMap::new();
    for message in pages(&all) {
        by_page.entry(message.json()["page"].as_u64().expect("a page")).or_default().push(message);
    }
    assert!(by_page.keys().copied().eq(0..PAGES), "missing: {:?}", {
        (0..PAGES).filter(|page| !by_page.contains_key(page)).collect::<Vec<_>>()
    });
    for (page, copies) in by_page {
        let expected = order_page(page, PAGES, 3)["items"].clone();
        for copy in &copies {
            // A message that timed out may have arrived all the same; then both copies have the
            // same id.
            assert_eq!(
                copy.header("orchid-message-id"),
                copies[0].header("orchid-message-id"),
                "page {page}"
            );
            assert_eq!(copy.json()["response_body"], expected, "page {page}");
        }
    }
    stack.end().await;
}
