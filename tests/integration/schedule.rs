//! Schedules: a plan runs again after its wait, once at a time, and only while it shall.

use std::{collections::HashSet, time::Duration};

use orchid_proto::v1;
use orchid_tests::{Reply, Stack, StackOptions, Upstream, client::structure, eventually};
use prost_types::Timestamp;
use serde_json::json;

use crate::plans;

const SOON: Duration = Duration::from_secs(30);

fn millis(time: Option<Timestamp>) -> i64 {
    let time = time.expect("a time");
    time.seconds * 1000 + i64::from(time.nanos) / 1_000_000
}

fn every_second(repeat_count: Option<i32>) -> v1::Plan {
    v1::Plan {
        key: "again".to_owned(),
        integration: "shop".to_owned(),
        enabled: Some(true),
        wait_seconds: Some(1),
        repeat_count,
        definition: Some(structure(&plans::single())),
        ..v1::Plan::default()
    }
}

async fn fires_again(placement_groups: u32) {
    let upstream = Upstream::start(|_| Reply::ok(json!({"ok": true}))).await;
    // Two replicas: none fires twice.
    let options = StackOptions { control_planes: 2, placement_groups, ..StackOptions::default() };
    let stack = Stack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.create_plan(every_second(None)).await.expect("a plan");
    eventually("it runs for the third time", SOON, async || {
        let executions = tenant.all_executions("again").await;
        (executions.iter().filter(|run| run.end_time.is_some()).count() >= 3).then_some(())
    })
    .await;
    let pause = v1::PauseScheduleRequest { plan: "again".to_owned(), config: "main".to_owned() };
    let paused = tenant.schedules().pause_schedule(tenant.request(pause)).await.expect("pause").into_inner();
    assert!(paused.paused && paused.next_due_time.is_none(), "{paused:?}");

    let executions = tenant.all_executions("again").await;
    let ids: HashSet<&str> = executions.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(ids.len(), executions.len());
    for run in &executions {
        assert_eq!(run.origin(), v1::ExecutionOrigin::Schedule);
        tenant.success_of(&run.id).await;
    }
    for pair in executions.windows(2) {
        let (end, due) = (millis(pair[0].end_time), millis(pair[1].schedule_time));
        assert!(due - end >= 999, "due {} ms after the end of the run before", due - end);
    }
    assert_eq!(upstream.count(), executions.len(), "each run asks once");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_runs_again_after_its_wait() {
    fires_again(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_runs_again_after_its_wait_with_eight_groups() {
    fires_again(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_ends_after_its_count_and_triggers_do_not_count() {
    let upstream = Upstream::start(|_| Reply::ok(json!({"ok": true}))).await;
    let stack = Stack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.create_plan(every_second(Some(2))).await.expect("a plan");
    let triggered = tenant.trigger("again", "main").await;
    tenant.success_of(&triggered.id).await;
    let get = v1::GetScheduleRequest { plan: "again".to_owned(), config: "main".to_owned() };
    let ended = eventually("the schedule ends", SOON, async || {
        let schedule = tenant
            .schedules()
            .get_schedule(tenant.request(get.clone()))
            .await
            .expect("a schedule")
            .into_inner();
        (schedule.run_count == 2 && schedule.current_execution_id.is_empty()).then_some(schedule)
    })
    .await;
    assert_eq!(ended.next_due_time, None, "{ended:?}");
    let scheduled = tenant
        .all_executions("again")
        .await
        .into_iter()
        .filter(|run| run.origin() == v1::ExecutionOrigin::Schedule)
        .count();
    assert_eq!(scheduled, 2);
    stack.end().await;
}
