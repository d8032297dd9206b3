//! Many executions on several replicas and executors.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use orchid_kit::servers::ProcessSignal;
use orchid_proto::v1::ExecutionState;
use orchid_tests::eventually::{eventually, reached};
use orchid_tests::{FakeUpstream, Message, StackOptions, Tenant, TestStack, UpstreamReply};
use serde_json::json;

use crate::plans;

const TENANTS: usize = 5;
const CONFIGS: usize = 10;
const TRIGGERS: usize = 10;

/// Drops repeated messages of a topic. Delivery is at least once: an end that a busy executor
/// confirms late is announced again, with the same id.
fn distinct(messages: &[Message]) -> Vec<&Message> {
    let mut seen = HashSet::new();
    messages
        .iter()
        .filter(|message| seen.insert((&message.topic, message.header("orchid-message-id"))))
        .collect()
}

async fn five_hundred(placement_groups: u32) {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    let options = StackOptions {
        control_planes: 2,
        executors: 3,
        placement_groups,
        // A starved executor must not lose a lease: the test counts attempts.
        lease_ttl_ms: 30_000,
        ..StackOptions::default()
    };
    let stack = TestStack::start(options).await;
    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        let tenant = stack.tenant().await.through(stack.channel(number % 2));
        tenant.shop(&upstream.url()).await;
        tenant.plan("single", &plans::single()).await;
        for config in 1..CONFIGS {
            tenant.config(&format!("c{config}"), &json!({"base_url": upstream.url()})).await;
        }
        tenants.push(tenant);
    }
    let trigger_all = async |tenant: &Tenant| {
        let mut ids = Vec::new();
        for _ in 0..TRIGGERS {
            for config in 0..CONFIGS {
                let key = if config == 0 { "main".to_owned() } else { format!("c{config}") };
                ids.push(tenant.trigger("single", &key).await.id);
            }
        }
        ids
    };
    let ids = join_all(tenants.iter().map(trigger_all)).await.concat();
    let total = i64::try_from(ids.len()).expect("a count");
    assert_eq!(total, 500);
    let mut reader = stack.reader();
    let messages =
        reader.until("a start, a page and two ends of each", |all| distinct(all).len() >= 2000).await;
    let mut found: HashMap<(&str, &str), usize> = HashMap::new();
    for message in distinct(&messages) {
        *found.entry((message.header("execution_id"), message.kind())).or_default() += 1;
    }
    for id in &ids {
        for (kind, expected) in [("execution.started", 1), ("api.response", 1), ("execution.completed", 2)] {
            assert_eq!(found.get(&(id.as_str(), kind)).copied(), Some(expected), "{kind} of {id}");
        }
    }
    assert_eq!(found.len(), 3 * 500, "nothing else was sent");
    assert_eq!(upstream.count(), 500, "each is fetched once");
    let once =
        "SELECT count(*) FROM plan_executions WHERE state = 'succeeded' AND attempt = 1 AND losses = 0";
    assert_eq!(stack.database.number(once), total);
    let attempts = "SELECT count(*) FROM execution_attempts WHERE verdict = 'completed'";
    assert_eq!(stack.database.number(attempts), total);
    assert_eq!(stack.database.number("SELECT count(*) FROM ready"), 0);
    let used = stack.database.number("SELECT count(DISTINCT executor) FROM execution_attempts");
    assert_eq!(used, 3, "all executors took part");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_executions_complete_once() {
    five_hundred(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_executions_complete_once_with_eight_groups() {
    five_hundred(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_of_one_plan_and_config_run_one_at_a_time() {
    let upstream = FakeUpstream::orders(2, 1, true).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    upstream.open(0);
    let first = tenant.trigger("orders", "main").await;
    let second = tenant.trigger("orders", "main").await;
    assert_eq!((first.state(), second.state()), (ExecutionState::Queued, ExecutionState::Pending));
    eventually("the first asks for its second page", async || reached(upstream.count(), 2)).await;
    assert_eq!(tenant.execution(&second.id).await.state(), ExecutionState::Pending);
    upstream.open(1);
    let first = tenant.success_of(&first.id).await;
    let second = tenant.success_of(&second.id).await;
    let (end, start) = (first.end_time.expect("an end"), second.start_time.expect("a start"));
    assert!((start.seconds, start.nanos) >= (end.seconds, end.nanos), "{start} before {end}");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_executor_releases_its_executions() {
    let upstream = FakeUpstream::orders(6, 1, true).await;
    let mut stack = TestStack::start(StackOptions {
        executors: 2,
        executor_settings: vec![("ORCHID_DRAIN_MS", "3000".to_owned())],
        ..StackOptions::default()
    })
    .await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    upstream.open(2);
    let execution = tenant.trigger("orders", "main").await;
    eventually("the fourth page is asked for", async || reached(upstream.count(), 4)).await;
    let executor = tenant.attempts(&execution.id).await.remove(0).executor;
    stack.signal_executor(&executor, ProcessSignal::Term);
    assert!(stack.executor_succeeded(&executor).await, "a drained executor ends with 0");
    upstream.open(5);
    let done = tenant.success_of(&execution.id).await;
    assert_eq!(done.lost_attempts, 0, "a drain loses nothing");
    let verdicts: Vec<String> =
        tenant.attempts(&execution.id).await.into_iter().map(|attempt| attempt.end_reason).collect();
    assert_eq!(verdicts, ["drained", "completed"]);
    let mut reader = stack.reader();
    let messages = reader
        .until("both ends are announced", |all| {
            all.iter().filter(|message| message.kind() == "execution.completed").count() == 2
        })
        .await;
    let pages: Vec<u64> = messages
        .iter()
        .filter(|message| message.kind() == "api.response")
        .map(|message| message.json()["page"].as_u64().expect("a page"))
        .collect();
    assert_eq!(pages, [0, 1, 2, 3, 4, 5], "nothing is missing, and nothing repeats");
    stack.end().await;
}
