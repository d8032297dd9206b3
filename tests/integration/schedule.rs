//! Schedules by wait: a plan runs again after its wait, one execution at a time, while it is
//! enabled.

use std::collections::HashSet;
use std::time::Duration;

use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::eventually::{eventually, reached};
use orchid_tests::{FakeUpstream, StackOptions, Tenant, TestStack, UpstreamReply};
use prost_types::{FieldMask, Timestamp};
use serde_json::json;

use crate::{plans, scripted_executor};

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
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    // Two replicas must not schedule the same execution twice.
    let options = StackOptions { control_planes: 2, placement_groups, ..StackOptions::default() };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.create_plan(every_second(None)).await.expect("a plan");
    eventually("three executions have ended", async || {
        let executions = tenant.all_executions("again").await;
        reached(executions.iter().filter(|run| run.end_time.is_some()).count(), 3)
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
async fn plan_runs_again_after_its_wait() {
    fires_again(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_runs_again_after_its_wait_with_eight_groups() {
    fires_again(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedule_ends_after_its_count_without_counting_triggers() {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.create_plan(every_second(Some(2))).await.expect("a plan");
    let triggered = tenant.trigger("again", "main").await;
    tenant.success_of(&triggered.id).await;
    let get = v1::GetScheduleRequest { plan: "again".to_owned(), config: "main".to_owned() };
    let ended = eventually("the schedule ends", async || {
        let schedule = tenant
            .schedules()
            .get_schedule(tenant.request(get.clone()))
            .await
            .expect("a schedule")
            .into_inner();
        let ended = schedule.execution_count == 2 && schedule.current_execution_id.is_empty();
        if ended { Ok(schedule) } else { Err(schedule) }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_schedule_is_not_due_and_resumes_its_wait() {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    let daily = v1::Plan { wait_seconds: Some(86_400), enabled: Some(false), ..every_second(None) };
    tenant.create_plan(daily).await.expect("a plan");
    let (plan, config) = ("again".to_owned(), "main".to_owned());
    let pause = v1::PauseScheduleRequest { plan: plan.clone(), config: config.clone() };
    let resume = v1::ResumeScheduleRequest { plan: plan.clone(), config: config.clone() };
    let next = v1::ListNextRunsRequest { plan: plan.clone(), config: config.clone(), count: 2 };
    let mut schedules = tenant.schedules();

    for _ in 0..2 {
        let paused =
            schedules.pause_schedule(tenant.request(pause.clone())).await.expect("pause").into_inner();
        assert!(paused.paused, "{paused:?}");
    }
    let enable = v1::UpdatePlanRequest {
        plan: Some(v1::Plan { key: plan, enabled: Some(true), ..v1::Plan::default() }),
        ..v1::UpdatePlanRequest::default()
    };
    tenant.plans().update_plan(tenant.request(enable)).await.expect("an enabled plan");
    let times =
        schedules.list_next_runs(tenant.request(next.clone())).await.expect("times").into_inner().times;
    assert_eq!(times, [], "a paused schedule has no next run");

    // It never ran, so an execution is overdue.
    schedules.resume_schedule(tenant.request(resume.clone())).await.expect("resume");
    let get = v1::GetScheduleRequest { plan: "again".to_owned(), config };
    let running = eventually("an execution is active", async || {
        let schedule = tenant.schedules().get_schedule(tenant.request(get.clone())).await;
        let schedule = schedule.expect("a schedule").into_inner();
        if schedule.current_execution_id.is_empty() { Err(schedule) } else { Ok(schedule) }
    })
    .await;
    assert_eq!((running.execution_count, running.next_due_time), (1, None), "{running:?}");

    // It ends while the schedule is paused: nothing is due until the resume, then a day after the
    // end.
    schedules.pause_schedule(tenant.request(pause)).await.expect("pause");
    let cancel = v1::CancelExecutionRequest { id: running.current_execution_id, reason: String::new() };
    let ended =
        tenant.executions().cancel_execution(tenant.request(cancel)).await.expect("a cancel").into_inner();
    let rested = schedules.get_schedule(tenant.request(get)).await.expect("a schedule").into_inner();
    assert_eq!((rested.next_due_time, rested.last_execution_id.as_str()), (None, ended.id.as_str()));
    let resumed = schedules.resume_schedule(tenant.request(resume)).await.expect("resume").into_inner();
    let day = 86_400_000;
    assert_eq!(millis(resumed.next_due_time), millis(ended.end_time) + day);
    let times = schedules.list_next_runs(tenant.request(next)).await.expect("times").into_inner().times;
    let times: Vec<i64> = times.into_iter().map(|time| millis(Some(time))).collect();
    assert_eq!(times, [millis(resumed.next_due_time), millis(resumed.next_due_time) + day]);
}

async fn schedule_of(tenant: &Tenant, config: &str) -> v1::Schedule {
    let get = v1::GetScheduleRequest { plan: "again".to_owned(), config: config.to_owned() };
    tenant.schedules().get_schedule(tenant.request(get)).await.expect("a schedule").into_inner()
}

async fn set_paused(tenant: &Tenant, paused: bool) {
    let (plan, config) = ("again".to_owned(), "main".to_owned());
    let mut schedules = tenant.schedules();
    let done = match paused {
        true => schedules.pause_schedule(tenant.request(v1::PauseScheduleRequest { plan, config })).await,
        false => schedules.resume_schedule(tenant.request(v1::ResumeScheduleRequest { plan, config })).await,
    };
    done.expect("a schedule");
}

async fn disable_plan(tenant: &Tenant) {
    let plan = v1::Plan { key: "again".to_owned(), enabled: Some(false), ..v1::Plan::default() };
    let update = v1::UpdatePlanRequest { plan: Some(plan), ..v1::UpdatePlanRequest::default() };
    tenant.plans().update_plan(tenant.request(update)).await.expect("a plan");
}

async fn enable_config(tenant: &Tenant, key: &str, enabled: bool) {
    let config = v1::Config {
        integration: "shop".to_owned(),
        key: key.to_owned(),
        enabled: Some(enabled),
        ..v1::Config::default()
    };
    let update = v1::UpdateConfigRequest { config: Some(config), ..v1::UpdateConfigRequest::default() };
    tenant.configs().update_config(tenant.request(update)).await.expect("a config");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trigger_ignores_and_keeps_the_schedule() {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let daily = v1::Plan { wait_seconds: Some(86_400), ..every_second(Some(2)) };
    tenant.create_plan(daily).await.expect("a plan");
    let due = eventually("the first execution has ended", async || {
        let schedule = schedule_of(&tenant, "main").await;
        let ended = schedule.execution_count == 1 && schedule.next_due_time.is_some();
        if ended { Ok(schedule) } else { Err(schedule) }
    })
    .await;
    let triggers = async |what: &str| {
        let before = schedule_of(&tenant, "main").await;
        let run = tenant.trigger("again", "main").await;
        tenant.success_of(&run.id).await;
        assert_eq!(schedule_of(&tenant, "main").await, before, "{what}");
        (before.paused, before.next_due_time.is_some())
    };
    assert_eq!(triggers("active").await, (false, true));
    set_paused(&tenant, true).await;
    assert_eq!(triggers("paused").await, (true, false));
    set_paused(&tenant, false).await;
    assert_eq!(schedule_of(&tenant, "main").await, due, "a day after the end of its own run");
    disable_plan(&tenant).await;
    assert_eq!(triggers("disabled").await, (false, false));
    assert_eq!(upstream.count(), 1 + 3);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabled_config_is_not_scheduled() {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.config("second", &json!({"base_url": upstream.url()})).await;
    enable_config(&tenant, "second", false).await;
    tenant.create_plan(every_second(None)).await.expect("a plan");
    let runs_again = async |config: &str| {
        let from = schedule_of(&tenant, config).await.execution_count;
        eventually("two more executions", async || {
            reached(schedule_of(&tenant, config).await.execution_count, from + 2)
        })
        .await;
    };
    runs_again("main").await;
    let off = schedule_of(&tenant, "second").await;
    assert_eq!((off.execution_count, off.next_due_time), (0, None), "{off:?}");

    enable_config(&tenant, "second", true).await;
    runs_again("second").await;
    enable_config(&tenant, "second", false).await;
    let off = schedule_of(&tenant, "second").await;
    runs_again("main").await;
    let later = schedule_of(&tenant, "second").await;
    assert_eq!((later.execution_count, later.next_due_time), (off.execution_count, None), "{later:?}");
    let all = tenant.all_executions("again").await;
    assert_eq!(all.iter().filter(|run| run.config == "second").count(), off.execution_count as usize);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_change_waits_for_no_schedule_of_another_config() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let values = serde_json::json!({"base_url": "http://127.0.0.1:1"});
    tenant.config("other", &values).await;
    let held = stack.database.hold_open("SELECT id FROM schedules FOR UPDATE").await;
    // Both would wait for the lock until their time is up.
    let created = tenant.config("third", &values);
    tokio::time::timeout(Duration::from_secs(20), created).await.expect("creating a config waits");
    let renamed = v1::Config {
        integration: "shop".to_owned(),
        key: "main".to_owned(),
        display_name: "renamed".to_owned(),
        ..v1::Config::default()
    };
    let update_mask = Some(FieldMask { paths: vec!["display_name".to_owned()] });
    let update = v1::UpdateConfigRequest { config: Some(renamed), update_mask };
    let mut configs = tenant.configs();
    let updated = configs.update_config(tenant.request(update));
    tokio::time::timeout(Duration::from_secs(20), updated)
        .await
        .expect("renaming a config waits")
        .expect("an update");
    drop(held);
    let schedules = "SELECT count(*) FROM schedules";
    assert_eq!(stack.database.number(schedules), 3, "one per config");
}
