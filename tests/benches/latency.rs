//! Latency of a start: from the trigger to the grant, on an idle fleet and on one at 80 % of its
//! saturation, beside the sum of the parts that no implementation avoids.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orchid_tests::{FakeUpstream, ScriptedExecutor, StackOptions, Tenant, TestStack, UpstreamReply, seed};
use serde_json::json;
use tokio::time::sleep_until;

use crate::report::{ReportSection, median};
use crate::size::{BenchSize, SHARE};

const CONFIGS: usize = 200;
/// Callers that trigger at once, to find the saturation.
const CALLERS: usize = 32;
/// Commits on the path: the trigger, the ring and the grant.
const COMMITS: f64 = 3.0;
/// gRPC calls on the path: the trigger and the acquire call.
const CALLS: f64 = 2.0;
const PROBES: usize = 200;

async fn start() -> (TestStack, Tenant, FakeUpstream) {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    let quiet = || vec![("ORCHID_LOG_FILTER", "warn".to_owned())];
    let options = StackOptions {
        own_redis: true,
        lease_ttl_ms: 60_000,
        control_plane_settings: quiet(),
        executor_settings: quiet(),
        ..StackOptions::default()
    };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("bench", &json!({"step": {"url": "{{ config.base_url }}/"}})).await;
    seed::add_configs(&stack.database, &tenant, CONFIGS);
    (stack, tenant, upstream)
}

async fn trigger(tenant: &Tenant, number: usize) {
    tenant.trigger("bench", &format!("c{}", number % CONFIGS + 1)).await;
}

async fn all_ended(stack: &TestStack) {
    loop {
        let open = "SELECT count(*) FROM plan_executions WHERE ended_at IS NULL";
        if stack.database.number(open) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Returns the percentile of the time from trigger to grant of the last `count` executions, in ms.
fn percentile(stack: &TestStack, count: usize, fraction: f64) -> f64 {
    let query = format!(
        "SELECT percentile_cont({fraction}) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - scheduled_at) * 1000) \
         FROM (SELECT * FROM plan_executions ORDER BY id DESC LIMIT {count}) e"
    );
    stack.database.execute(&query).parse().expect("a time")
}

/// Times a call, and returns the median in ms.
async fn timed(mut call: impl AsyncFnMut()) -> f64 {
    let mut times = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let started = Instant::now();
        call().await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    median(&times)
}

/// Returns the sum of what every start needs, each timed alone: commits of one row, one hop through
/// a Redis stream, and gRPC calls.
async fn floor(stack: &TestStack, executor: &ScriptedExecutor) -> f64 {
    let script = "INSERT INTO loop_runs (name, ran_at) VALUES ('bench', now()) ON CONFLICT (name) DO UPDATE SET ran_at = now();";
    let file = orchid_tests::environment::run_folder().join("commit.pgbench");
    std::fs::write(&file, format!("BEGIN;\n{script}\nCOMMIT;\n")).expect("a script");
    let output = std::process::Command::new("pgbench")
        .args(["--no-vacuum", "--protocol", "prepared", "--transactions", &PROBES.to_string(), "--file"])
        .arg(&file)
        .arg(stack.database.url("orchid_fleet"))
        .output()
        .expect("pgbench runs: install postgresql-contrib");
    let said = String::from_utf8_lossy(&output.stdout);
    let average = said.lines().find_map(|line| line.strip_prefix("latency average = "));
    let commit: f64 =
        average.and_then(|text| text.strip_suffix(" ms")).expect("a latency").parse().expect("ms");
    let mut redis = stack.redis().await;
    let hop = timed(async || {
        redis::cmd("XADD")
            .arg(&["bench", "*", "a", "b"])
            .query_async::<String>(&mut redis)
            .await
            .expect("an entry");
        redis::cmd("XREAD")
            .arg(&["COUNT", "1", "STREAMS", "bench", "0"])
            .query_async::<redis::Value>(&mut redis)
            .await
            .expect("an entry");
    })
    .await;
    // Without a session, the call ends before it reaches the database.
    let call = timed(async || {
        let request = orchid_proto::executor::v1::AcquireLeasesRequest::default();
        let refused = executor.client().acquire_leases(request).await;
        assert!(refused.is_err(), "a call without a session");
    })
    .await;
    COMMITS * commit + hop + CALLS * call
}

/// Triggers at a steady rate, whatever the answers take.
async fn trigger_steadily(tenant: &Tenant, count: usize, per_second: f64) {
    let started = tokio::time::Instant::now();
    let calls = (0..count).map(|number| async move {
        #[expect(clippy::cast_precision_loss, reason = "a count of triggers")]
        sleep_until(started + Duration::from_secs_f64(number as f64 / per_second)).await;
        trigger(tenant, number).await;
    });
    join_all(calls).await;
}

pub(crate) async fn measure(size: BenchSize) -> ReportSection {
    let share = usize::try_from(SHARE).expect("a share");
    let idle = (size.of(200, 1000) / share).max(10);
    let busy = (size.of(2000, 10_000) / share).max(100);
    let (stack, tenant, _upstream) = start().await;
    // Connections prepare their statements, and tables get statistics.
    join_all((0..CALLERS).map(|caller| trigger(&tenant, caller))).await;
    all_ended(&stack).await;
    stack.database.execute("ANALYZE");
    for number in 0..idle {
        trigger(&tenant, number).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    all_ended(&stack).await;
    let (idle_p50, idle_p99) = (percentile(&stack, idle, 0.5), percentile(&stack, idle, 0.99));

    let started = Instant::now();
    let each = busy / CALLERS;
    let caller = async |caller: usize| {
        for number in 0..each {
            trigger(&tenant, caller * each + number).await;
        }
    };
    join_all((0..CALLERS).map(caller)).await;
    all_ended(&stack).await;
    #[expect(clippy::cast_precision_loss, reason = "a count of executions")]
    let saturation = (each * CALLERS) as f64 / started.elapsed().as_secs_f64();
    trigger_steadily(&tenant, busy, 0.8 * saturation).await;
    all_ended(&stack).await;
    let (busy_p50, busy_p99) = (percentile(&stack, busy, 0.5), percentile(&stack, busy, 0.99));

    // At the end: the relay would ring for a slot that takes nothing.
    let scripted = stack.scripted_executor_with(1).await;
    let floor = floor(&stack, &scripted).await;
    let mut section = ReportSection::new(
        "Latency of a start",
        format!(
            "From the trigger to the grant, as Postgres has both times: {idle} triggers 50 ms apart on an idle fleet, and {busy} at 80 % of \
             the saturation, which was {saturation:.0} executions/s from trigger to end with {CALLERS} callers. One control plane, one \
             executor, Postgres without fsync, Redis and the callers share the machine. The floor is the sum of {COMMITS} commits of one \
             row, one hop through a Redis stream and {CALLS} gRPC calls, each timed alone in the same run. Goals: idle at most 2 × the \
             floor at p50 and 4 × at p99; at 80 % at most 5 × the idle p99."
        ),
        &["fleet", "p50, ms", "p99, ms", "beside"],
    );
    section.row(["floor".to_owned(), format!("{floor:.2}"), String::new(), String::new()]);
    section.row([
        "idle".to_owned(),
        format!("{idle_p50:.2}"),
        format!("{idle_p99:.2}"),
        format!("**{:.1}** and **{:.1}** × the floor", idle_p50 / floor, idle_p99 / floor),
    ]);
    section.row([
        "at 80 % of saturation".to_owned(),
        format!("{busy_p50:.2}"),
        format!("{busy_p99:.2}"),
        format!("**{:.1}** × the idle p99", busy_p99 / idle_p99),
    ]);
    section
}
