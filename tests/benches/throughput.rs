//! Throughput of the control plane: executions acquired and completed in batches, beside `pgbench`
//! that writes the same rows to the same tables in the same batches.

use std::fs;
use std::process::Command;
use std::time::Instant;

use orchid_proto::executor::v1 as wire;
use orchid_tests::seed::{copied_id, copy};
use orchid_tests::{ScriptedExecutor, StackOptions, Tenant, TestStack, environment, seed};
use serde_json::json;

use crate::report::{ReportSection, median, spread};
use crate::size::{BenchSize, SHARE};

/// Executions of one acquire call and of one Complete call.
const BATCH: usize = 64;
/// Executors that work at once, and clients of `pgbench`.
const CLIENTS: usize = 2;
const ROUNDS: usize = 5;

/// The schema and the rows of one measurement.
struct QueuedStack {
    stack: TestStack,
    tenant: Tenant,
    executions: usize,
}

impl QueuedStack {
    /// Starts a control plane with this many queued executions, each of its own config.
    async fn start(executions: usize) -> QueuedStack {
        let options = StackOptions {
            executors: 0,
            lease_ttl_ms: 600_000,
            // The executors ask for any work: rings would only disturb.
            control_plane_settings: vec![
                ("ORCHID_RELAY_INTERVAL_MS", "3600000".to_owned()),
                ("ORCHID_LOG_FILTER", "warn".to_owned()),
            ],
            ..StackOptions::default()
        };
        let stack = TestStack::start(options).await;
        let tenant = stack.tenant().await;
        tenant.shop("http://127.0.0.1:1").await;
        tenant.plan("bench", &json!({"step": {"url": "{{ config.base_url }}/"}})).await;
        seed::add_configs(&stack.database, &tenant, executions);
        tenant.trigger("bench", "main").await;
        let id = tenant.id;
        let from = format!("generate_series(1, {executions}) n WHERE o.tenant_id = '{id}'");
        let plan_executions = copy(
            "plan_executions",
            &from,
            &format!(
                "jsonb_build_object('id', {}, 'config_id', {}, 'config_key', 'c' || n)",
                copied_id("o.id", "n"),
                copied_id("o.config_id", "n")
            ),
        );
        let ready = copy(
            "ready",
            &from,
            &format!(
                "jsonb_build_object('execution_id', {}, 'seq', n, 'rung_at', NULL, 'rings', 0)",
                copied_id("o.execution_id", "n")
            ),
        );
        let schedules = format!(
            "UPDATE schedules s SET active_execution_id = e.id FROM plan_executions e \
             WHERE e.tenant_id = s.tenant_id AND e.plan_id = s.plan_id AND e.config_id = s.config_id AND s.tenant_id = '{id}';"
        );
        let first = format!("DELETE FROM ready WHERE tenant_id = '{id}' AND seq > {executions};");
        stack.database.execute(&format!("{plan_executions} {ready} {schedules} {first}"));
        stack.database.execute("VACUUM ANALYZE");
        QueuedStack { stack, tenant, executions }
    }

    /// Returns the executions per second that the control plane grants and completes.
    async fn measure(&self) -> f64 {
        let mut executors = Vec::new();
        for _ in 0..CLIENTS {
            executors.push(self.stack.scripted_executor_with(i32::try_from(BATCH).expect("slots")).await);
        }
        let started = Instant::now();
        let ended = futures_util::future::join_all(executors.iter().map(drain)).await;
        let took = started.elapsed();
        assert_eq!(ended.iter().sum::<usize>(), self.executions, "each execution ends once");
        rate(self.executions, took)
    }

    /// Returns the executions per second for which `pgbench` writes the same rows.
    fn pgbench(&self) -> f64 {
        let batches = self.executions / BATCH / CLIENTS;
        let script = environment::run_folder().join("throughput.pgbench");
        fs::write(&script, self.script()).expect("a script");
        let started = Instant::now();
        let output = Command::new("pgbench")
            .args(["--no-vacuum", "--protocol", "prepared", "--client", &CLIENTS.to_string()])
            .args(["--jobs", &CLIENTS.to_string(), "--transactions", &batches.to_string()])
            .args(["--define", "n=0", "--define", &format!("batches={batches}"), "--file"])
            .arg(&script)
            .arg(self.stack.database.url("orchid_fleet"))
            .output()
            .expect("pgbench runs: install postgresql-contrib");
        let took = started.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let succeeded = "SELECT count(*) FROM plan_executions WHERE state = 'succeeded'";
        let ended = usize::try_from(self.stack.database.number(succeeded)).expect("a count");
        assert_eq!(ended, batches * BATCH * CLIENTS, "pgbench has ended each execution");
        rate(ended, took)
    }

    /// Returns a script that grants and completes one batch, in two transactions.
    fn script(&self) -> String {
        let tenant = format!("'{}'::uuid", self.tenant.id);
        let row = self.stack.database.execute(&format!(
            "SELECT left(e.id::text, 24) || '|' || left(e.config_id::text, 24) || '|' || e.plan_id FROM plan_executions e \
             WHERE e.tenant_id = {tenant} AND e.config_key = 'c1'"
        ));
        let parts: Vec<&str> = row.split('|').collect();
        let [execution, config, plan] = parts[..] else { panic!("an execution: {row}") };
        let id_of = |prefix: &str| format!("('{prefix}' || lpad(to_hex(n), 12, '0'))::uuid");
        let (execution, config) = (id_of(execution), id_of(config));
        let numbers = "generate_series(:first::integer, :last::integer) n";
        let mine =
            |table: &str, key: &str| format!("{table}.tenant_id = {tenant} AND {table}.{key} = {execution}");
        let history = |state: &str, cause: &str| {
            format!(
                "INSERT INTO execution_history (tenant_id, execution_id, id, at, state, attempt, cause, detail) \
                 SELECT {tenant}, {execution}, gen_random_uuid(), now(), '{state}', 1, '{cause}', 'by-hand' FROM {numbers};"
            )
        };
        [
            "\\set n :n + 1".to_owned(),
            format!("\\set first ((:client_id * :batches + :n - 1) * {BATCH} + 1)"),
            format!("\\set last (:first + {BATCH} - 1)"),
            "BEGIN;".to_owned(),
            format!("DELETE FROM ready USING {numbers} WHERE {};", mine("ready", "execution_id")),
            format!(
                "UPDATE plan_executions SET state = 'running', attempt = 1, fence = 1, lease_id = {execution}, started_at = now(), \
                 version = version + 1, updated_at = now() FROM {numbers} WHERE {};",
                mine("plan_executions", "id")
            ),
            format!(
                "INSERT INTO leases (tenant_id, execution_id, lease_id, session_id, attempt, fence, acquire_seq, granted_at) \
                 SELECT {tenant}, {execution}, {execution}, {tenant}, 1, 1, 1, now() FROM {numbers};"
            ),
            format!(
                "INSERT INTO execution_attempts (tenant_id, execution_id, attempt, fence, lease_id, session_id, executor, granted_at) \
                 SELECT {tenant}, {execution}, 1, 1, {execution}, {tenant}, 'by-hand', now() FROM {numbers};"
            ),
            history("running", "granted"),
            "COMMIT;".to_owned(),
            "BEGIN;".to_owned(),
            format!(
                "UPDATE plan_executions SET state = 'succeeded', lease_id = NULL, complete = true, ended_at = now(), ran_ms = 1, \
                 checkpoint_seq = 1, progress = '\\x00', version = version + 1, updated_at = now() FROM {numbers} WHERE {};",
                mine("plan_executions", "id")
            ),
            format!(
                "UPDATE execution_attempts SET ended_at = now(), verdict = 'completed', final_seq = 1 FROM {numbers} WHERE {} AND attempt = 1;",
                mine("execution_attempts", "execution_id")
            ),
            format!("DELETE FROM leases USING {numbers} WHERE {};", mine("leases", "execution_id")),
            history("succeeded", "completed"),
            format!(
                "INSERT INTO announcements (tenant_id, id, execution_id, pool, message_key, headers, payload, created_at, handed_at) \
                 SELECT {tenant}, gen_random_uuid(), {execution}, 'default', repeat('k', 80), to_jsonb(repeat('h', 700)), \
                 repeat('p', 600)::bytea, now(), now() FROM {numbers};"
            ),
            format!(
                "UPDATE schedules SET active_execution_id = NULL, updated_at = now() FROM {numbers} \
                 WHERE schedules.tenant_id = {tenant} AND schedules.plan_id = '{plan}' AND schedules.config_id = {config};"
            ),
            "COMMIT;".to_owned(),
        ]
        .join("\n")
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown without fractions")]
fn rate(executions: usize, took: std::time::Duration) -> f64 {
    executions as f64 / took.as_secs_f64()
}

/// Acquires and completes batches until no work is left, and returns the number of executions.
async fn drain(executor: &ScriptedExecutor) -> usize {
    let mut ended = 0;
    for seq in 1.. {
        let acquire = wire::AcquireLeasesRequest {
            acquire_seq: seq,
            max_leases: i32::try_from(BATCH).expect("a count"),
            known_definitions: Vec::new(),
            ..wire::AcquireLeasesRequest::default()
        };
        let acquired = executor.client().acquire_leases(executor.request(acquire)).await;
        let grants = acquired.expect("leases").into_inner().grants;
        if grants.is_empty() {
            break;
        }
        let items = grants.iter().map(|grant| wire::CompleteItem {
            checkpoint: Some(wire::CheckpointItem {
                lease_token: grant.lease_token.clone(),
                seq: 1,
                resume_state: b"{}".as_slice().into(),
                attempt_ms: 1,
                ..wire::CheckpointItem::default()
            }),
            outcome: wire::ExecutionOutcome::Succeeded.into(),
            complete: true,
            ..wire::CompleteItem::default()
        });
        let complete = wire::CompleteRequest { items: items.collect(), acquire: None };
        let completed =
            executor.client().complete(executor.request(complete)).await.expect("ends").into_inner();
        ended += completed.results.iter().filter(|result| result.status() == wire::LeaseStatus::Ok).count();
    }
    ended
}

pub(crate) async fn measure(size: BenchSize) -> ReportSection {
    let share = usize::try_from(SHARE).expect("a share");
    let executions = (size.of(4096, 16384) / share / BATCH / CLIENTS).max(1) * BATCH * CLIENTS;
    let mut section = ReportSection::new(
        "Throughput of the control plane",
        format!(
            "{executions} queued executions, each of its own config, are acquired and completed by {CLIENTS} executors in batches of \
             {BATCH}; `pgbench` writes the same rows to the same tables in the same batches, with {CLIENTS} clients. All processes share \
             the machine; Postgres runs without fsync in both cases. {ROUNDS} rounds of each in turn, each in a new database; medians \
             (minimum – maximum). Goal: at least 0.5."
        ),
        &["control plane, executions/s", "pgbench, executions/s", "ratio"],
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(QueuedStack::start(executions).await.measure().await);
        theirs.push(QueuedStack::start(executions).await.pgbench());
    }
    section.row([
        spread(&ours, 0),
        spread(&theirs, 0),
        format!("**{:.2}**", median(&ours) / median(&theirs)),
    ]);
    section
}
