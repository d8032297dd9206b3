//! Cron schedules: occurrences follow the clock of the plan's zone; missed ones are dropped or
//! caught up.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Timelike as _, Utc};
use orchid_kit::clock::utc_now;
use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::eventually::{eventually, holds, reached};
use orchid_tests::{FakeUpstream, StackOptions, Tenant, TestStack, UpstreamReply};
use prost_types::{FieldMask, Timestamp};
use serde_json::json;
use tonic::Code;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, complete};

fn utc(time: Option<Timestamp>) -> DateTime<Utc> {
    let time = time.expect("a time");
    DateTime::from_timestamp(time.seconds, time.nanos.try_into().expect("nanos")).expect("a time")
}

fn by_cron(key: &str, cron: &str) -> v1::Plan {
    v1::Plan {
        key: key.to_owned(),
        integration: "shop".to_owned(),
        enabled: Some(true),
        cron: cron.to_owned(),
        definition: Some(structure(&plans::single())),
        ..v1::Plan::default()
    }
}

async fn schedule(tenant: &Tenant, plan: &str, config: &str) -> v1::Schedule {
    let get = v1::GetScheduleRequest { plan: plan.to_owned(), config: config.to_owned() };
    tenant.schedules().get_schedule(tenant.request(get)).await.expect("a schedule").into_inner()
}

async fn next_runs(tenant: &Tenant, plan: &str, config: &str, count: i32) -> Vec<DateTime<Utc>> {
    let next = v1::ListNextRunsRequest { plan: plan.to_owned(), config: config.to_owned(), count };
    let times =
        tenant.schedules().list_next_runs(tenant.request(next)).await.expect("times").into_inner().times;
    times.into_iter().map(|time| utc(Some(time))).collect()
}

async fn update(tenant: &Tenant, plan: v1::Plan, paths: &[&str]) -> Result<v1::Plan, tonic::Status> {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
    let request = v1::UpdatePlanRequest { plan: Some(plan), update_mask };
    tenant.plans().update_plan(tenant.request(request)).await.map(tonic::Response::into_inner)
}

async fn fires(placement_groups: u32) {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    // Two replicas must not run an occurrence twice.
    let options = StackOptions { control_planes: 2, placement_groups, ..StackOptions::default() };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let plan = tenant.create_plan(by_cron("ticks", "* * * * * *")).await.expect("a plan");
    eventually("four executions have ended", async || {
        let executions = tenant.all_executions("ticks").await;
        reached(executions.iter().filter(|run| run.end_time.is_some()).count(), 4)
    })
    .await;
    let pause = v1::PauseScheduleRequest { plan: "ticks".to_owned(), config: "main".to_owned() };
    tenant.schedules().pause_schedule(tenant.request(pause)).await.expect("pause");
    let executions = tenant.all_executions("ticks").await;
    let mut last = utc(plan.create_time);
    for run in &executions {
        let due = utc(run.schedule_time);
        assert!(due > last, "{due} after {last}: the first at its time, and each once");
        assert_eq!(due, due.trunc_subsecs(0), "at full seconds");
        assert_eq!(run.origin(), v1::ExecutionOrigin::Schedule);
        last = due;
        tenant.success_of(&run.id).await;
    }
    assert_eq!(upstream.count(), executions.len(), "each run asks once");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cron_plan_runs_at_its_times() {
    fires(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cron_plan_runs_at_its_times_with_eight_groups() {
    fires(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cron_times_use_the_zone_and_a_stable_config_offset() {
    let (_stack, tenant) = scripted_executor::stack(8, 30_000, &[]).await;
    tenant.config("other", &json!({"base_url": "http://127.0.0.1:1"})).await;
    // Nepal's clock is 5:45 ahead of UTC all year.
    let nightly = v1::Plan { timezone: "Asia/Kathmandu".to_owned(), ..by_cron("nightly", "0 5 * * *") };
    let created = tenant.create_plan(nightly.clone()).await.expect("a plan");
    assert_eq!((created.cron.as_str(), created.wait_seconds), ("0 5 * * *", None));
    assert_eq!((created.timezone.as_str(), created.catch_up()), ("Asia/Kathmandu", v1::CatchUp::RunOnce));
    let times = next_runs(&tenant, "nightly", "main", 3).await;
    for time in &times {
        assert_eq!((time.hour(), time.minute(), time.second()), (23, 15, 0), "{times:?}");
    }
    assert_eq!(times[2] - times[0], TimeDelta::days(2));
    assert_eq!(utc(schedule(&tenant, "nightly", "main").await.next_due_time), times[0]);

    let spread = v1::Plan { spread_seconds: Some(7200), ..nightly.clone() };
    update(&tenant, spread, &["spread_seconds"]).await.expect("spread");
    let offset = async |config: &str| {
        let due = utc(schedule(&tenant, "nightly", config).await.next_due_time);
        (i64::from(due.num_seconds_from_midnight()) - (23 * 60 + 15) * 60).rem_euclid(86_400)
    };
    let offsets = (offset("main").await, offset("other").await);
    assert!(offsets.0 < 7200 && offsets.1 < 7200, "{offsets:?}");
    // Offsets are hashes of ids, so the two are rarely equal.
    let renamed = v1::Plan { name: "another name".to_owned(), ..nightly };
    update(&tenant, renamed, &["name"]).await.expect("a name");
    assert_eq!((offset("main").await, offset("other").await), offsets, "always the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setting_cron_or_wait_replaces_the_other() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let waits = v1::Plan { cron: String::new(), wait_seconds: Some(86_400), ..by_cron("p", "") };
    let refused = tenant.create_plan(v1::Plan { cron: "61 * * * *".to_owned(), ..waits.clone() }).await;
    assert_eq!(refused.expect_err("both, and a wrong one").code(), Code::InvalidArgument);
    tenant.create_plan(waits.clone()).await.expect("a plan");
    // Its first execution is created at once and stays active, since no executor takes it.
    eventually("an execution is active", async || {
        let schedule = schedule(&tenant, "p", "main").await;
        holds(!schedule.current_execution_id.is_empty(), schedule)
    })
    .await;
    let executor = stack.scripted_executor().await;
    let run = acquire_one(&executor, 1).await;

    let monthly = v1::Plan { timezone: "Europe/Berlin".to_owned(), ..by_cron("p", "0 5 1 * *") };
    let changed = update(&tenant, monthly, &["cron", "timezone"]).await.expect("by cron");
    assert_eq!((changed.cron.as_str(), changed.wait_seconds), ("0 5 1 * *", None));
    assert_eq!(schedule(&tenant, "p", "main").await.next_due_time, None, "its run is going");
    let times = next_runs(&tenant, "p", "main", 2).await;
    complete(&executor, &run, fleet::ExecutionOutcome::Succeeded).await;
    assert_eq!(utc(schedule(&tenant, "p", "main").await.next_due_time), times[0], "not a day after its end");

    let changed = update(&tenant, waits, &["wait_seconds"]).await.expect("a wait");
    assert_eq!((changed.cron.as_str(), changed.timezone.as_str()), ("", ""));
    assert_eq!(changed.wait_seconds, Some(86_400));
    let due = utc(schedule(&tenant, "p", "main").await.next_due_time);
    assert!(due <= utc_now() + TimeDelta::days(1), "{due}");
    let refused = update(&tenant, by_cron("p", "* * * *"), &["cron"]).await.expect_err("four fields");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("cron"), "{refused:?}");
}

async fn behind_a_long_run(overlap: v1::Overlap) -> (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>) {
    let (stack, tenant) = scripted_executor::stack(8, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let ticks = v1::Plan { overlap: overlap.into(), ..by_cron("ticks", "* * * * * *") };
    tenant.create_plan(ticks).await.expect("a plan");
    let first = acquire_one(&executor, 1).await;
    let began = utc(first.schedule_time);
    let ended = eventually("more than three occurrences have passed", async || {
        let now = utc_now();
        if now - began > TimeDelta::milliseconds(3200) { Ok(now) } else { Err(now) }
    })
    .await;
    assert_eq!(schedule(&tenant, "ticks", "main").await.execution_count, 1, "never two at a time");
    complete(&executor, &first, fleet::ExecutionOutcome::Succeeded).await;
    let second = acquire_one(&executor, 2).await;
    (began, ended, utc(second.schedule_time))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn occurrence_during_execution_is_dropped_with_overlap_skip() {
    let (_, ended, next) = behind_a_long_run(v1::Overlap::Skip).await;
    assert!(next > ended, "{next} after {ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn occurrence_during_execution_follows_with_overlap_queue() {
    let (began, _, next) = behind_a_long_run(v1::Overlap::Queue).await;
    assert_eq!(next - began, TimeDelta::seconds(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_occurrences_are_caught_up_by_policy() {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let now = utc_now();
    // The cron time is half an hour away in both directions, so it does not pass during the test.
    let hourly = format!("{} * * * *", (now.minute() + 30) % 60);
    let all = [v1::CatchUp::RunOnce, v1::CatchUp::Skip, v1::CatchUp::RunEach];
    let key = |catch_up: v1::CatchUp| catch_up.as_str_name().to_lowercase();
    for catch_up in all {
        let plan = v1::Plan { catch_up: catch_up.into(), ..by_cron(&key(catch_up), &hourly) };
        tenant.create_plan(plan).await.expect("a plan");
    }
    let regular = utc(schedule(&tenant, &key(all[0]), "main").await.next_due_time);
    let missed = [3, 2, 1].map(|hours| regular - TimeDelta::hours(hours));
    // Simulates three hours in which every server was down.
    let (decided, due) = (regular - TimeDelta::minutes(220), regular - TimeDelta::minutes(180));
    stack
        .database
        .execute(&format!("UPDATE schedules SET decided_until = '{decided}', next_due_at = '{due}'"));
    for catch_up in all {
        eventually("it is due at its regular time again", async || {
            let due = schedule(&tenant, &key(catch_up), "main").await.next_due_time;
            holds(due.is_some_and(|due| utc(Some(due)) == regular), due)
        })
        .await;
    }
    let ran = async |catch_up| {
        let runs = tenant.all_executions(&key(catch_up)).await;
        runs.iter().map(|run| utc(run.schedule_time)).collect::<Vec<_>>()
    };
    assert_eq!(ran(v1::CatchUp::RunOnce).await, missed[2..]);
    assert!(ran(v1::CatchUp::Skip).await.is_empty());
    assert_eq!(ran(v1::CatchUp::RunEach).await, missed);

    // Occurrences missed by a pause are caught up like those of an outage.
    let plan = by_cron("paused", &hourly);
    tenant.create_plan(plan).await.expect("a plan");
    let (plan, config) = ("paused".to_owned(), "main".to_owned());
    let pause = v1::PauseScheduleRequest { plan: plan.clone(), config: config.clone() };
    let paused = tenant.schedules().pause_schedule(tenant.request(pause)).await.expect("pause").into_inner();
    assert_eq!(paused.next_due_time, None);
    assert!(next_runs(&tenant, &plan, &config, 3).await.is_empty());
    // Citus refuses a time minus an interval in an UPDATE.
    let decided =
        stack.database.execute("SELECT decided_until - interval '2 hours' FROM schedules WHERE paused");
    stack.database.execute(&format!("UPDATE schedules SET decided_until = '{decided}' WHERE paused"));
    let resume = v1::ResumeScheduleRequest { plan: plan.clone(), config: config.clone() };
    tenant.schedules().resume_schedule(tenant.request(resume)).await.expect("resume");
    let run =
        eventually("it has caught up", async || tenant.all_executions(&plan).await.pop().ok_or(())).await;
    assert_eq!(utc(run.schedule_time), missed[2]);
    tenant.success_of(&run.id).await;
    assert_eq!(utc(schedule(&tenant, &plan, &config).await.next_due_time), regular);
    stack.end().await;
}
