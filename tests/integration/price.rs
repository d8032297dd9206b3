//! The price of an execution: transactions, statements and planning of Postgres.

use std::time::Duration;

use futures_util::future::join_all;
use orchid_tests::eventually::{eventually, reached};
use orchid_tests::{FakeUpstream, StackOptions, Tenant, TestDatabase, TestStack, UpstreamReply, seed};
use serde_json::json;

use crate::plans;

const CONFIGS: usize = 100;
const EXECUTIONS: usize = 1000;
/// Callers that trigger at once.
const CALLERS: usize = 50;

/// Prepares the counters of a database. Returns false on a server that does not count statements.
fn count_statements(database: &TestDatabase) -> bool {
    let preloaded =
        database.execute("SELECT current_setting('shared_preload_libraries') ~ 'pg_stat_statements'");
    if preloaded == "t" {
        database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
    }
    preloaded == "t"
}

fn reset(database: &TestDatabase) {
    database.execute("SELECT pg_stat_statements_reset(0, oid, 0), pg_stat_reset() FROM pg_database WHERE datname = current_database()");
}

/// The statements of Orchid's roles since the last reset, without those of the test.
const OURS: &str = "FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid \
                    WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND r.rolname IN ('orchid_app', 'orchid_fleet')";

async fn stack_with_configs() -> (TestStack, Tenant) {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"ok": true}))).await;
    let stack = TestStack::start(StackOptions { lease_ttl_ms: 60_000, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("single", &plans::single()).await;
    seed::add_configs(&stack.database, &tenant, CONFIGS);
    // The upstream serves until the process ends.
    std::mem::forget(upstream);
    (stack, tenant)
}

async fn trigger(tenant: &Tenant, from: usize, count: usize) {
    for number in from..from + count {
        tenant.trigger("single", &format!("c{}", number % CONFIGS + 1)).await;
    }
}

/// Triggers executions from many callers at once, and waits until they have succeeded, after
/// `before` others.
async fn run(database: &TestDatabase, tenant: &Tenant, before: usize, count: usize) {
    let each = count / CALLERS;
    join_all((0..CALLERS).map(|caller| trigger(tenant, caller * each, each))).await;
    all_succeeded(database, i64::try_from(before + count).expect("a count")).await;
}

async fn all_succeeded(database: &TestDatabase, count: i64) {
    eventually("all executions succeed", async || {
        reached(database.number("SELECT count(*) FROM plan_executions WHERE state = 'succeeded'"), count)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saturated_execution_costs_three_transactions_and_ten_statements() {
    let (stack, tenant) = stack_with_configs().await;
    if !count_statements(&stack.database) {
        return;
    }
    // Connections prepare their statements once, which is not the price of an execution. Postgres
    // gathers statistics by itself about a minute after a table was filled, and plans anew then.
    run(&stack.database, &tenant, 0, CALLERS).await;
    stack.database.execute("ANALYZE");
    run(&stack.database, &tenant, CALLERS, 6 * CALLERS).await;
    reset(&stack.database);
    run(&stack.database, &tenant, 7 * CALLERS, EXECUTIONS).await;
    let count = i64::try_from(EXECUTIONS).expect("a count");
    // Backends report their transactions once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let statements = stack.database.number(&format!("SELECT sum(calls)::bigint {OURS}"));
    let commits =
        stack.database.number("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()");
    // Inserts of different numbers of rows are one line.
    let top = stack.database.execute(&format!(
        "SELECT sum(calls), round((sum(total_plan_time) / sum(calls))::numeric, 3), round((sum(total_exec_time) / sum(calls))::numeric, 3), \
           left(query, 90) {OURS} GROUP BY left(query, 90) ORDER BY 1 DESC"
    ));
    println!("{statements} statements, {commits} commits for {EXECUTIONS} executions:\n{top}");
    assert!(statements <= 10 * count, "{statements} statements for {EXECUTIONS} executions:\n{top}");
    assert!(commits <= 3 * count, "{commits} transactions for {EXECUTIONS} executions:\n{top}");
    // Planned once for each connection, the cost of a plan does not matter.
    let planned = stack.database.execute(&format!(
        "SELECT round(mean_plan_time::numeric, 3), plans, calls, left(query, 200) {OURS} \
         AND calls >= 20 AND plans > calls / 2 AND mean_plan_time > 0.3"
    ));
    assert_eq!(planned, "", "statements that are planned anew for each call, for longer than 0.3 ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trigger_is_one_statement_in_its_transaction() {
    let (stack, tenant) = stack_with_configs().await;
    if !count_statements(&stack.database) {
        return;
    }
    trigger(&tenant, 0, 20).await;
    all_succeeded(&stack.database, 20).await;
    reset(&stack.database);
    trigger(&tenant, 0, 20).await;
    let app = stack.database.execute(&format!(
        "SELECT calls, left(query, 60) {OURS} AND r.rolname = 'orchid_app' ORDER BY query"
    ));
    let calls: Vec<&str> =
        app.lines().filter_map(|line| line.split_once('|')).map(|(calls, _)| calls).collect();
    assert_eq!(calls, ["20"; 4], "BEGIN, COMMIT, the tenant, and the trigger:\n{app}");
    all_succeeded(&stack.database, 40).await;
}
