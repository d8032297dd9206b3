//! Context, which outlives an execution, and parking.

use orchid_proto::v1::{self, ExecutionState};
use orchid_tests::{FakeUpstream, StackOptions, TestStack, UpstreamReply, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn context_persists_and_override_saves_nothing() {
    let upstream =
        FakeUpstream::start(|request| UpstreamReply::ok(json!({"last": request.number + 1}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let definition = json!({"step": {
        "id": "one",
        "url": "{{ config.base_url }}/since",
        "params": {"since": "{{ context.last }}"},
        "set_context": {"last": "response.body.last"},
    }});
    tenant.plan("since", &definition).await;
    for _ in 0..2 {
        let run = tenant.trigger("since", "main").await;
        tenant.success_of(&run.id).await;
    }
    let with_override = v1::TriggerPlanRequest {
        key: "since".to_owned(),
        config: "main".to_owned(),
        context_override_json: r#"{"last": 12345678901234567}"#.to_owned(),
        ..v1::TriggerPlanRequest::default()
    };
    let run = tenant.plans().trigger_plan(tenant.request(with_override)).await.expect("a run").into_inner();
    tenant.success_of(&run.id).await;
    let run = tenant.trigger("since", "main").await;
    tenant.success_of(&run.id).await;
    let asked: Vec<String> = upstream.requests().into_iter().map(|request| request.raw_query).collect();
    assert_eq!(asked, ["", "since=1", "since=12345678901234567", "since=2"]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn override_execution_saves_only_its_own_writes() {
    let upstream =
        FakeUpstream::start(|request| UpstreamReply::ok(json!({"last": request.number + 1}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let definition = json!({"step": {
        "id": "one",
        "url": "{{ config.base_url }}/since",
        "params": {"only": "{{ context.only }}", "since": "{{ context.last }}"},
        "set_context": {"last": "response.body.last"},
    }});
    tenant.plan("since", &definition).await;
    let run = tenant.trigger("since", "main").await;
    tenant.success_of(&run.id).await;
    for persist_context in [true, false] {
        let with_override = v1::TriggerPlanRequest {
            key: "since".to_owned(),
            config: "main".to_owned(),
            context_override_json: r#"{"last": 100, "only": "blue"}"#.to_owned(),
            persist_context,
            ..v1::TriggerPlanRequest::default()
        };
        let run = tenant.plans().trigger_plan(tenant.request(with_override)).await.expect("a run");
        tenant.success_of(&run.into_inner().id).await;
    }
    let run = tenant.trigger("since", "main").await;
    tenant.success_of(&run.id).await;
    let asked: Vec<String> = upstream.requests().into_iter().map(|request| request.raw_query).collect();
    assert_eq!(asked, ["", "only=blue&since=100", "only=blue&since=100", "since=2"]);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_wait_parks_the_execution() {
    let upstream = FakeUpstream::start(|request| match request.number {
        0 => UpstreamReply::ok(json!({"items": [1], "next": "1"})),
        1 => UpstreamReply::Raw(429, vec![("retry-after", "3".to_owned())], "{}".into()),
        _ => UpstreamReply::ok(json!({"items": [2], "next": null})),
    })
    .await;
    let options = StackOptions {
        control_plane_settings: vec![("ORCHID_RUNS_PARK_AFTER_SECONDS", "1".to_owned())],
        ..StackOptions::default()
    };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &crate::plans::orders()).await;
    let run = tenant.trigger("orders", "main").await;
    let parked = eventually("the execution parks", async || {
        let now = tenant.execution(&run.id).await;
        if now.state() == ExecutionState::Parked { Ok(now) } else { Err(now) }
    })
    .await;
    assert!(parked.not_before.is_some(), "{parked:#?}");
    assert_eq!(stack.database.number("SELECT count(*) FROM leases"), 0, "a parked run holds a lease");
    let done = tenant.success_of(&run.id).await;
    assert_eq!(done.lost_attempts, 0);
    let counts = done.counts.expect("counts");
    assert_eq!((counts.requests, counts.retries, counts.pages), (3, 1, 2), "{counts:?}");
    let cursors: Vec<String> = upstream.requests().into_iter().map(|request| request.raw_query).collect();
    assert_eq!(cursors, ["", "cursor=1", "cursor=1"], "it goes on where it stopped");
    let verdicts: Vec<String> =
        tenant.attempts(&run.id).await.into_iter().map(|one| one.end_reason).collect();
    assert_eq!(verdicts, ["parked", "completed"]);
    stack.end().await;
}
