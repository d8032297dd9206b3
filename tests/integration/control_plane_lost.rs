//! Control planes that die during an execution.

use orchid_tests::eventually::{eventually, reached};
use orchid_tests::{FakeUpstream, StackOptions, TestStack};

use crate::plans;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_survives_a_killed_control_plane() {
    let upstream = FakeUpstream::orders(8, 1, true).await;
    let mut stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    upstream.open(1);
    let execution = tenant.trigger("orders", "main").await;
    eventually("the third page is asked for", async || reached(upstream.count(), 3)).await;
    stack.kill_control_plane(0);
    // The execution continues without a control plane.
    upstream.open(4);
    eventually("the sixth page is asked for", async || reached(upstream.count(), 6)).await;
    stack.restart_control_plane(0).await;
    upstream.open(7);
    let done = tenant.success_of(&execution.id).await;
    assert_eq!((done.attempt, done.lost_attempts), (1, 0), "{done:#?}");
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
    assert_eq!(pages, [0, 1, 2, 3, 4, 5, 6, 7]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_continues_with_one_of_two_control_planes() {
    let upstream = FakeUpstream::orders(3, 1, false).await;
    let options = StackOptions { control_planes: 2, executors: 2, ..StackOptions::default() };
    let mut stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    stack.kill_control_plane(0);
    let tenant = tenant.through(stack.channel(1));
    for _ in 0..5 {
        let execution = tenant.trigger("orders", "main").await;
        tenant.success_of(&execution.id).await;
    }
    stack.end().await;
}
