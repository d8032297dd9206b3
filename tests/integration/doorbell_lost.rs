//! Redis loses all data while executions are in flight.

use std::time::Duration;

use orchid_tests::eventually::{eventually, holds};
use orchid_tests::{FakeUpstream, StackOptions, TestStack, UpstreamReply};
use serde_json::json;

use crate::plans;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_redis_loses_no_execution() {
    let upstream = FakeUpstream::start(|_| {
        UpstreamReply::After(Duration::from_millis(20), Box::new(UpstreamReply::ok(json!({"ok": true}))))
    })
    .await;
    let stack = TestStack::start(StackOptions {
        executors: 2,
        own_redis: true,
        executor_settings: vec![("ORCHID_SLOTS", "2".to_owned())],
        ..StackOptions::default()
    })
    .await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("single", &plans::single()).await;
    for config in 0..60 {
        tenant.config(&format!("c{config}"), &json!({"base_url": upstream.url()})).await;
    }
    let mut ids = Vec::new();
    for config in 0..60 {
        ids.push(tenant.trigger("single", &format!("c{config}")).await.id);
        if config % 20 == 10 {
            stack.flush_redis().await;
        }
    }
    stack.flush_redis().await;
    for id in &ids {
        let done = tenant.success_of(id).await;
        assert_eq!((done.attempt, done.lost_attempts), (1, 0), "{done:#?}");
    }
    assert_eq!(upstream.count(), 60, "each is fetched once");
    // The doorbell works again afterwards.
    stack.flush_redis().await;
    let after = tenant.trigger("single", "c0").await;
    tenant.success_of(&after.id).await;
    eventually("no execution is ready", async || {
        let ready = stack.database.number("SELECT count(*) FROM ready");
        holds(ready == 0, ready)
    })
    .await;
    stack.end().await;
}
