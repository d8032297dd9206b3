//! Every statement of loops and lists has an index on generated volume: Postgres reports the plan
//! of each statement that the servers really run, and none of them reads a whole table that grows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use orchid_kit::clock;
use orchid_proto::v1::{self, ExecutionState};
use orchid_tests::eventually::{eventually, holds, log_length};
use orchid_tests::{Tenant, TestDatabase, TestStack, database};
use prost_types::Timestamp;

use crate::scripted_executor;

/// A part of each statement that the loops run at rest.
const LOOP_STATEMENTS: [&str; 14] = [
    "FROM loop_runs",
    "min(next_due_at)",
    "min(not_before)",
    "FROM ready",
    "FROM leases WHERE ends_at <",
    "cancel_requested_at <",
    "created_at < $1 AND id < uuid_floor",
    "JOIN leases l ON l.session_id >",
    "active_execution_id IS NOT NULL OR current_execution_id",
    "WHERE state = 'pending' AND (tenant_id, plan_id, config_id) >",
    "current_execution_id IS NULL AND NOT paused",
    "FROM request_log WHERE created_at <",
    "FROM announcements WHERE created_at <",
    "FROM checkpoints WHERE execution_id <",
];

/// Rows from which on a table must not be read as a whole.
const LARGE: u32 = 500;

/// A statement and the plan that Postgres chose for it.
struct ExplainedStatement {
    text: String,
    plan: String,
}

/// Reads the plans that `auto_explain` wrote to the server's log.
fn explained(log: &Path) -> Vec<ExplainedStatement> {
    let text = String::from_utf8_lossy(&fs::read(log).expect("the server's log")).into_owned();
    let entries = text.split("LOG:  duration: ").skip(1);
    let entries = entries.filter_map(|entry| entry.split_once("Query Text: "));
    entries
        .map(|(_, entry)| {
            // The entry ends where a line does not begin with a tab.
            let lines: Vec<&str> = entry
                .lines()
                .enumerate()
                .take_while(|(index, line)| *index == 0 || line.starts_with('\t'))
                .map(|(_, line)| line)
                .collect();
            let plan = lines.iter().position(|line| line.contains("(cost=")).unwrap_or(lines.len());
            ExplainedStatement { text: lines[..plan].join(" "), plan: lines[plan..].join("\n") }
        })
        .collect()
}

/// Returns the large tables that a plan reads from end to end.
fn scanned<'a>(plan: &'a str, large: &'a BTreeSet<String>) -> impl Iterator<Item = &'a str> {
    let scans = plan.lines().filter_map(|line| line.split_once("Seq Scan on "));
    let names = scans.map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    names.filter(|name| large.contains(*name))
}

/// Returns the tables and partitions that hold much.
fn large_tables(database: &TestDatabase) -> BTreeSet<String> {
    let names = database.execute(&format!(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND reltuples >= {LARGE}"
    ));
    names.lines().map(str::to_owned).collect()
}

/// Makes lists with every filter, as often as makes Postgres think about a generic plan.
async fn make_lists(tenant: &Tenant) {
    let at = |ago: TimeDelta| {
        let time = clock::utc_now() - ago;
        Some(Timestamp { seconds: time.timestamp(), nanos: 0 })
    };
    let all = v1::ListExecutionsRequest::default();
    let of_plan = v1::ListExecutionsRequest { plan: "plan-1003".to_owned(), ..all.clone() };
    let of_config = v1::ListExecutionsRequest { config: "config-3".to_owned(), ..of_plan.clone() };
    let failed = vec![ExecutionState::Failed.into(), ExecutionState::Cancelled.into()];
    let requests = [
        v1::ListExecutionsRequest { created_from: at(TimeDelta::hours(2)), ..all.clone() },
        v1::ListExecutionsRequest { created_before: at(TimeDelta::days(5)), ..all.clone() },
        v1::ListExecutionsRequest { states: failed.clone(), ..all.clone() },
        v1::ListExecutionsRequest { states: vec![ExecutionState::Running.into()], ..all.clone() },
        v1::ListExecutionsRequest { states: failed, ..of_plan.clone() },
        v1::ListExecutionsRequest { states: vec![ExecutionState::Succeeded.into()], ..of_config.clone() },
        v1::ListExecutionsRequest { created_from: at(TimeDelta::days(3)), ..of_config.clone() },
        all,
        of_plan,
        of_config,
    ];
    for _ in 0..8 {
        for request in &requests {
            let listed = tenant.executions().list_executions(tenant.request(request.clone())).await;
            let listed = listed.unwrap_or_else(|refused| panic!("{request:?}: {refused}")).into_inner();
            for execution in listed.executions.iter().take(1) {
                tenant.attempts(&execution.id).await;
            }
        }
        for plan in ["", "plan-1003"] {
            let list =
                v1::ListSchedulesRequest { plan: plan.to_owned(), ..v1::ListSchedulesRequest::default() };
            tenant.schedules().list_schedules(tenant.request(list)).await.expect("schedules");
        }
        for integration in ["", "shop"] {
            let integration = integration.to_owned();
            let list = v1::ListConfigsRequest {
                integration: integration.clone(),
                ..v1::ListConfigsRequest::default()
            };
            tenant.configs().list_configs(tenant.request(list)).await.expect("configs");
            let list = v1::ListPlansRequest { integration, ..v1::ListPlansRequest::default() };
            tenant.plans().list_plans(tenant.request(list)).await.expect("plans");
        }
        let list = v1::ListPlanRevisionsRequest {
            plan: "plan-1003".to_owned(),
            ..v1::ListPlanRevisionsRequest::default()
        };
        tenant.plans().list_plan_revisions(tenant.request(list)).await.expect("revisions");
        let list = v1::ListConfigSchemasRequest {
            integration: "shop".to_owned(),
            ..v1::ListConfigSchemasRequest::default()
        };
        tenant.integrations().list_config_schemas(tenant.request(list)).await.expect("schemas");
        let list = v1::ListIntegrationsRequest::default();
        tenant.integrations().list_integrations(tenant.request(list)).await.expect("integrations");
    }
}

/// Creates, triggers and deletes, so that the statements of changes are explained too.
async fn make_changes(tenant: &Tenant) {
    tenant.config("extra", &serde_json::json!({"base_url": "http://127.0.0.1:1"})).await;
    let config = v1::Config {
        integration: "shop".to_owned(),
        key: "extra".to_owned(),
        enabled: Some(false),
        ..v1::Config::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["enabled".to_owned()] });
    let update = v1::UpdateConfigRequest { config: Some(config), update_mask };
    tenant.configs().update_config(tenant.request(update)).await.expect("an update");
    let delete = v1::DeleteConfigRequest {
        integration: "shop".to_owned(),
        key: "extra".to_owned(),
        ..v1::DeleteConfigRequest::default()
    };
    tenant.configs().delete_config(tenant.request(delete)).await.expect("a deletion");
    tenant.trigger("single", "main").await;
}

/// Starts a stack with generated volume whose server explains every statement of this database.
async fn explaining_stack() -> (TestStack, Tenant) {
    let (mut stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let volume = include_str!("volume.sql").replace(":tenant", &tenant.id.to_string());
    stack.database.execute(&volume);
    let name = &stack.database.name;
    for (setting, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_nested_statements", "on"),
    ] {
        stack.database.execute(&format!("ALTER DATABASE {name} SET {setting} = '{value}'"));
    }
    // The settings hold for new connections.
    stack.kill_control_plane(0);
    stack.restart_control_plane(0).await;
    let tenant = tenant.through(stack.channel(0));
    (stack, tenant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_loops_and_lists_reads_a_whole_table() {
    let Some(log) = database::server_log().await else {
        eprintln!("skipped: the log of an external server cannot be read");
        return;
    };
    let (stack, tenant) = explaining_stack().await;
    let _executor = stack.scripted_executor().await;
    make_lists(&tenant).await;
    make_changes(&tenant).await;
    eventually("every loop has run", async || {
        let seen = explained(&log);
        let missing: Vec<&str> = LOOP_STATEMENTS
            .into_iter()
            .filter(|part| !seen.iter().any(|statement| statement.text.contains(part)))
            .collect();
        holds(missing.is_empty(), (missing, log_length(&log)))
    })
    .await;

    let large = large_tables(&stack.database);
    // All tables but those that the volume leaves empty on purpose.
    assert!(large.len() >= 18, "{large:?}");
    let mut faults: BTreeMap<String, String> = BTreeMap::new();
    for statement in explained(&log) {
        for table in scanned(&statement.plan, &large) {
            faults.insert(format!("{table}: {}", statement.text), statement.plan.clone());
        }
    }
    // The server's own commands in this test are not the product's.
    faults.retain(|statement, _| !statement.contains("pg_inherits"));
    let told: Vec<String> = faults.iter().map(|(statement, plan)| format!("{statement}\n{plan}")).collect();
    assert!(told.is_empty(), "{} statements read a whole table:\n{}", told.len(), told.join("\n\n"));
}
