//! Executors that die or freeze during an execution.

use std::collections::HashMap;

use orchid_kit::servers::ProcessSignal;
use orchid_tests::eventually::{eventually, reached};
use orchid_tests::{FakeUpstream, Message, StackOptions, Tenant, TestStack};

use crate::plans;

const PAGES: u64 = 12;

fn pages(messages: &[Message]) -> Vec<&Message> {
    messages.iter().filter(|message| message.kind() == "api.response").collect()
}

fn ends(messages: &[Message]) -> usize {
    messages.iter().filter(|message| message.kind() == "execution.completed").count()
}

/// Returns the number of pages that the last accepted checkpoint covers.
async fn saved_pages(tenant: &Tenant, id: &str) -> u64 {
    let counts = tenant.execution(id).await.counts.unwrap_or_default();
    u64::try_from(counts.pages).expect("a count")
}

async fn killed_in_the_middle(placement_groups: u32) {
    let upstream = FakeUpstream::orders(PAGES, 3, true).await;
    let options =
        StackOptions { executors: 2, placement_groups, lease_ttl_ms: 3000, ..StackOptions::default() };
    let mut stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    upstream.open(5);
    let execution = tenant.trigger("orders", "main").await;
    eventually("six pages are saved", async || reached(saved_pages(&tenant, &execution.id).await, 6)).await;
    // Three more pages are produced, and the executor dies before it checkpoints them.
    upstream.open(8);
    let mut reader = stack.reader();
    reader.until("nine pages are produced", |all| pages(all).len() >= 9).await;
    let attempts = tenant.attempts(&execution.id).await;
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    stack.kill_executor(&attempts[0].executor);
    let saved = saved_pages(&tenant, &execution.id).await;
    upstream.open(PAGES);

    let done = tenant.success_of(&execution.id).await;
    assert_eq!((done.attempt, done.complete), (2, true), "{done:#?}");
    let counts = done.counts.expect("counts");
    assert_eq!((counts.pages, counts.rows), (12, 36), "{counts:?}");
    let attempts = tenant.attempts(&execution.id).await;
    assert_eq!(attempts[0].end_reason, "lost_heartbeat");
    assert_ne!(attempts[0].executor, attempts[1].executor);
    assert!(attempts[0].fence < attempts[1].fence);

    let messages = reader.until("both ends are announced", |all| ends(all) >= 2).await;
    assert_eq!(ends(&messages), 2);
    let mut by_page: HashMap<u64, Vec<&Message>> = HashMap::new();
    for message in pages(&messages) {
        by_page.entry(message.json()["page"].as_u64().expect("a page")).or_default().push(message);
    }
    for page in 0..PAGES {
        let copies = by_page.get(&page).unwrap_or_else(|| panic!("page {page} is missing"));
        let most = if (saved..=8).contains(&page) { 2 } else { 1 };
        assert!(copies.len() <= most, "page {page} came {} times; {saved} pages were saved", copies.len());
        for copy in copies {
            assert_eq!(
                copy.header("orchid-message-id"),
                copies[0].header("orchid-message-id"),
                "page {page}"
            );
            assert_eq!(copy.header("orchid-position"), copies[0].header("orchid-position"), "page {page}");
        }
        if let [first, second] = copies.as_slice() {
            let fence = |message: &Message| message.header("orchid-fence").parse::<i64>().expect("a fence");
            assert!(fence(first) < fence(second), "page {page}");
        }
    }
    assert_eq!(by_page.len() as u64, PAGES);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_executor_execution_resumes_at_checkpoint() {
    killed_in_the_middle(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_executor_execution_resumes_with_eight_groups() {
    killed_in_the_middle(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_executor_is_fenced_when_it_wakes() {
    let upstream = FakeUpstream::orders(PAGES, 1, true).await;
    let mut stack =
        TestStack::start(StackOptions { executors: 2, lease_ttl_ms: 3000, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    upstream.open(2);
    let execution = tenant.trigger("orders", "main").await;
    eventually("three pages are saved", async || reached(saved_pages(&tenant, &execution.id).await, 3)).await;
    let frozen = tenant.attempts(&execution.id).await.remove(0).executor;
    stack.signal_executor(&frozen, ProcessSignal::Stop);
    eventually("another executor takes over", async || {
        reached(tenant.attempts(&execution.id).await.len(), 2)
    })
    .await;
    stack.signal_executor(&frozen, ProcessSignal::Cont);
    upstream.open(PAGES);
    let done = tenant.success_of(&execution.id).await;
    assert_eq!(done.attempt, 2, "{done:#?}");
    let mut reader = stack.reader();
    let messages = reader.until("both ends are announced", |all| ends(all) >= 2).await;
    assert_eq!(ends(&messages), 2, "only one attempt ends the run");
    // Pages that were not saved are produced again by the second attempt, with its fence.
    let second = tenant.attempts(&execution.id).await[1].fence.to_string();
    for page in 3..PAGES {
        let of_page = |message: &&&Message| message.json()["page"] == page;
        let found: Vec<&str> =
            pages(&messages).iter().filter(of_page).map(|copy| copy.header("orchid-fence")).collect();
        assert!(found.contains(&second.as_str()), "page {page}: {found:?}");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_that_loses_three_executors_is_dead_lettered() {
    let upstream = FakeUpstream::start(|_| orchid_tests::UpstreamReply::Hang).await;
    let mut stack =
        TestStack::start(StackOptions { executors: 3, lease_ttl_ms: 3000, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    let execution = tenant.trigger("orders", "main").await;
    for attempt in 1..=3 {
        eventually("the next attempt asks", async || reached(upstream.count(), attempt)).await;
        let executor = tenant.attempts(&execution.id).await.remove(attempt - 1).executor;
        stack.kill_executor(&executor);
    }
    let ended = tenant.end_of(&execution.id).await;
    assert_eq!(ended.state(), orchid_proto::v1::ExecutionState::DeadLettered, "{ended:#?}");
    assert_eq!(ended.attempt, 3);
}
