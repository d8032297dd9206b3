//! Shares of tenants when more work waits than executors have slots.

use std::collections::HashMap;

use orchid_proto::executor::v1 as fleet;
use orchid_tests::eventually::{eventually, holds};
use orchid_tests::seed::{copied_id, copy};
use orchid_tests::{ScriptedExecutor, StackOptions, TestStack};

use crate::plans;
use crate::scripted_executor::checkpoint;

/// Weights of the two classes of tenants.
const HEAVY: u32 = 300;
const LIGHT: u32 = 100;
/// Leases of a call for announced executions.
const SLOTS: i32 = 8;

/// Starts a stack whose queue holds `rows` executions of each of `tenants` tenants. Every other
/// tenant is heavy. The longest queue is the first tenant's and the oldest.
async fn saturated(
    placement_groups: u32,
    tenants: usize,
    rows: usize,
    settings: &[(&'static str, &str)],
) -> TestStack {
    let options = StackOptions {
        executors: 0,
        control_plane_settings: settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        placement_groups,
        lease_ttl_ms: 120_000,
        own_redis: true,
        ..StackOptions::default()
    };
    let stack = TestStack::start(options).await;
    let template = stack.tenant().await;
    template.shop("http://127.0.0.1:1").await;
    template.plan("single", &plans::single()).await;
    let trigger = orchid_proto::v1::TriggerPlanRequest {
        key: "single".to_owned(),
        config: "main".to_owned(),
        context_override_json: "{\"a\": 1}".to_owned(),
        ..orchid_proto::v1::TriggerPlanRequest::default()
    };
    template.plans().trigger_plan(template.request(trigger)).await.expect("an execution");
    // Copies the template tenant with everything that it owns. Only what cannot be equal differs.
    let id = template.id;
    let tenant = "('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))";
    let each = format!("generate_series(1, {tenants}) n");
    let owned = format!("{each} WHERE o.tenant_id = '{id}'");
    let mut sql = copy(
        "tenants",
        &format!("{each} WHERE o.id = '{id}'"),
        &format!(
            "jsonb_build_object('id', {tenant}, 'weight', CASE n % 2 WHEN 1 THEN {HEAVY} ELSE {LIGHT} END)"
        ),
    );
    for table in ["integrations", "configs", "plans", "plan_revisions"] {
        sql.push_str(&copy(table, &owned, &format!("jsonb_build_object('tenant_id', {tenant})")));
    }
    let many = format!("{each}, generate_series(1, {rows}) m WHERE o.tenant_id = '{id}'");
    sql.push_str(&copy(
        "plan_executions",
        &many,
        &format!(
            "jsonb_build_object('tenant_id', {tenant}, 'id', {}, 'state', 'queued')",
            copied_id("o.id", "m")
        ),
    ));
    sql.push_str(&copy(
        "ready",
        &many,
        &format!(
            "jsonb_build_object('tenant_id', {tenant}, 'execution_id', {}, 'seq', n * {rows} + m, 'rung_at', NULL, 'rings', 0)",
            copied_id("o.execution_id", "m")
        ),
    ));
    stack.database.execute(&format!("{sql} DELETE FROM ready WHERE tenant_id = '{id}'; ANALYZE ready;"));
    stack
}

async fn complete_all(executor: &ScriptedExecutor, grants: &[fleet::LeaseGrant]) {
    let items = grants.iter().map(|grant| fleet::CompleteItem {
        checkpoint: Some(checkpoint(grant, 1, b"{}")),
        outcome: fleet::ExecutionOutcome::Succeeded.into(),
        ..fleet::CompleteItem::default()
    });
    let request = executor.request(fleet::CompleteRequest { items: items.collect(), acquire: None });
    let completed = executor.client().complete(request).await.expect("a response").into_inner();
    for result in completed.results {
        assert_eq!(result.status(), fleet::LeaseStatus::Ok, "{result:?}");
    }
}

async fn acquire(
    executor: &ScriptedExecutor,
    seq: i64,
    max_leases: i32,
    executions: Vec<fleet::ExecutionRef>,
) -> Vec<fleet::LeaseGrant> {
    let request = fleet::AcquireLeasesRequest {
        acquire_seq: seq,
        max_leases,
        executions,
        wait_ms: 1000,
        ..fleet::AcquireLeasesRequest::default()
    };
    executor.client().acquire_leases(executor.request(request)).await.expect("a response").into_inner().grants
}

/// Checks the grants of both classes against their weights, and those of each tenant if there are
/// enough.
fn check_shares(granted: &HashMap<String, usize>, tenants: usize, grants: usize) {
    let share = |weight: u32, of: usize| {
        let weights = tenants / 2 * usize::try_from(HEAVY + LIGHT).expect("a sum");
        grants * usize::try_from(weight).expect("a weight") * of / weights
    };
    let is_heavy = |tenant: &str| u64::from_str_radix(&tenant[24..], 16).expect("a number") % 2 == 1;
    for (weight, heavy) in [(HEAVY, true), (LIGHT, false)] {
        let class = granted.iter().filter(|(tenant, _)| is_heavy(tenant) == heavy);
        let found: usize = class.map(|(_, count)| count).sum();
        let wanted = share(weight, tenants / 2);
        let within = (wanted * 95 / 100)..=(wanted * 105 / 100);
        assert!(within.contains(&found), "weight {weight}: {found} of {grants} grants, wanted {wanted}");
    }
    if tenants <= 50 {
        for (tenant, found) in granted {
            let wanted = share(if is_heavy(tenant) { HEAVY } else { LIGHT }, 1);
            let off = (wanted / 20).max(1);
            assert!(found.abs_diff(wanted) <= off, "tenant {tenant}: {found}, wanted {wanted}");
        }
        assert_eq!(granted.len(), tenants, "every tenant was granted something");
    }
}

/// Grants 1,000 executions to an executor that asks for any, with this many free slots, and checks
/// the shares.
async fn shares_of_any(placement_groups: u32, tenants: usize, max_leases: i32) {
    let grants = 1000;
    // No executor listens to the doorbell here, and a tenant that it rang for counts as served.
    // Without Redis nothing is rung.
    let quiet = [("ORCHID_REDIS_URL", "redis://127.0.0.1:1")];
    let stack = saturated(placement_groups, tenants, (4 * grants / tenants).max(2), &quiet).await;
    let mut executor = stack.scripted_executor().await;
    let mut granted: HashMap<String, usize> = HashMap::new();
    let (mut count, mut seq) = (0, 0);
    while count < grants {
        seq += 1;
        let leases = acquire(&executor, seq, max_leases, Vec::new()).await;
        assert!(!leases.is_empty(), "nothing was granted in call {seq}");
        for lease in &leases {
            *granted.entry(lease.tenant_id.clone()).or_default() += 1;
        }
        count += leases.len();
        complete_all(&executor, &leases).await;
        if seq % 100 == 0 {
            executor.beat(seq, &[]).await;
        }
    }
    check_shares(&granted, tenants, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_saturated_tenants_share_by_weight() {
    shares_of_any(1, 2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_saturated_tenants_share_by_weight() {
    shares_of_any(8, 50, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_saturated_tenants_share_by_weight() {
    shares_of_any(1, 5000, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doorbell_rings_for_saturated_tenants_by_weight() {
    let (tenants, grants) = (50, 1000);
    let stack = saturated(1, tenants, 80, &[]).await;
    let executor = stack.scripted_executor().await;
    let stream = executor.registered.doorbell_streams[0].clone();
    let mut granted: HashMap<String, usize> = HashMap::new();
    let (mut count, mut seq) = (0, 0);
    while count < grants {
        let rung = eventually("the doorbell rings", async || {
            let rung = stack.take_rung(&stream).await;
            if rung.is_empty() { Err(count) } else { Ok(rung) }
        })
        .await;
        seq += 1;
        let leases = acquire(&executor, seq, SLOTS, rung).await;
        for lease in &leases {
            *granted.entry(lease.tenant_id.clone()).or_default() += 1;
        }
        count += leases.len();
        complete_all(&executor, &leases).await;
    }
    check_shares(&granted, tenants, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_rows_join_the_queue_when_their_time_comes() {
    let stack = saturated(8, 2, 3, &[]).await;
    stack
        .database
        .execute("UPDATE ready SET not_before = now() + interval '1 hour', rung_at = NULL, rings = 0");
    let executor = stack.scripted_executor().await;
    assert!(acquire(&executor, 1, SLOTS, Vec::new()).await.is_empty(), "their time has not come");
    stack.database.execute("UPDATE ready SET not_before = now()");
    eventually("all have joined", async || {
        let parked = stack.database.number("SELECT count(*) FROM ready WHERE not_before IS NOT NULL");
        holds(parked == 0, parked)
    })
    .await;
    assert_eq!(acquire(&executor, 2, SLOTS, Vec::new()).await.len(), 6);
}
