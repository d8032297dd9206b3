//! Replicas of two releases, and of two master keys, serve side by side while one replaces the
//! other.

use orchid_proto::executor::v1 as fleet;
use orchid_proto::executor::v1::executor_service_client::ExecutorServiceClient;
use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::eventually::{eventually, holds};
use orchid_tests::{ScriptedExecutor, StackOptions, Tenant, TestStack};
use serde_json::json;

use crate::scripted_executor;

#[tokio::test]
async fn replica_serves_on_a_newer_schema_until_a_step_breaks_it() {
    let (mut stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    stack.database.execute("INSERT INTO seaql_migrations (version, applied_at) VALUES ('9999_later', 0)");
    stack.stop_control_plane(0).await;
    stack.restart_control_plane(0).await;
    let get = tenant.request(v1::GetPlanRequest { key: "single".to_owned() });
    tenant.plans().get_plan(get).await.expect("a plan");
    stack.database.execute("UPDATE schema_compatibility SET oldest_step = '9999_later'");
    eventually("the replica is not ready", async || {
        let logs = stack.logs();
        holds(logs.contains("does not serve this build"), logs.len())
    })
    .await;
}

/// Beats once at a replica that did not register the executor.
async fn beat(stack: &TestStack, replica: usize, executor: &ScriptedExecutor, seq: i64) {
    let beat =
        fleet::HeartbeatRequest { heartbeat_seq: seq, free_slots: 8, ..fleet::HeartbeatRequest::default() };
    let answer = ExecutorServiceClient::new(stack.channel(replica)).heartbeat(executor.request(beat)).await;
    answer.expect("the session is known to every replica");
}

async fn save_config(tenant: &Tenant, values: &serde_json::Value) {
    let config = v1::Config {
        integration: "shop".to_owned(),
        key: "main".to_owned(),
        values: Some(structure(values)),
        ..v1::Config::default()
    };
    let update = v1::UpdateConfigRequest { config: Some(config), update_mask: None };
    tenant.configs().update_config(tenant.request(update)).await.expect("a config");
}

#[tokio::test]
async fn master_key_is_replaced_replica_by_replica() {
    let options = StackOptions { control_planes: 2, executors: 0, ..StackOptions::default() };
    let mut stack = TestStack::start(options).await;
    let secret = json!({"properties": {"token": {"writeOnly": true}}});
    let create = async |tenant: &Tenant| {
        tenant.shop("http://127.0.0.1:1").await;
        let schema = v1::CreateConfigSchemaRequest {
            integration: "shop".to_owned(),
            schema: Some(structure(&secret)),
            request_id: String::new(),
        };
        tenant.integrations().create_config_schema(tenant.request(schema)).await.expect("a schema");
        save_config(tenant, &json!({"token": "hush"})).await;
    };
    let older = stack.tenant().await;
    create(&older).await;

    // One replica has the new key, and the other one does not know it.
    stack.stop_control_plane(1).await;
    stack.rotate_master_key(1);
    stack.restart_control_plane(1).await;
    let executor =
        ScriptedExecutor::register(stack.channel(1), "default", orchid_tests::environment::POOL_TOKEN).await;
    beat(&stack, 0, &executor, 1).await;
    let newer = Tenant::create(stack.channel(1), "default").await;
    create(&newer.through(stack.channel(0))).await;

    // Both have the new key: it wraps the data keys.
    stack.stop_control_plane(0).await;
    stack.rotate_master_key(0);
    stack.restart_control_plane(0).await;
    beat(&stack, 0, &executor, 2).await;
    beat(&stack, 1, &executor, 3).await;
    eventually("every data key is wrapped again", async || {
        let left = stack.database.number("SELECT count(*) FROM tenants WHERE data_key_id <> 'tests-next'");
        holds(left == 0, left)
    })
    .await;

    // Without the old key, everything opens.
    stack.stop_control_plane(0).await;
    stack.set_control_plane(0, "ORCHID_KEYS_PREVIOUS", "dW51c2VkLXVudXNlZC11bnVzZWQtdW51c2VkLXVudXM=");
    stack.set_control_plane(0, "ORCHID_KEYS_PREVIOUS_ID", "unused");
    stack.restart_control_plane(0).await;
    for tenant in [&older, &newer] {
        save_config(&tenant.through(stack.channel(0)), &json!({"token": "[SECRET]"})).await;
    }
    stack.end().await;
}

#[tokio::test]
async fn execution_that_an_executor_cannot_run_waits_for_another_one() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let id = tenant.trigger("single", "main").await.id;
    let grant = scripted_executor::acquire_one(&executor, 1).await;
    let error = fleet::ExecutionError {
        class: "system".to_owned(),
        code: "PLAN_UNREADABLE".to_owned(),
        message: "unknown field later".to_owned(),
        ..fleet::ExecutionError::default()
    };
    let release = async |grant: &fleet::LeaseGrant| {
        let item = fleet::ReleaseItem {
            checkpoint: Some(scripted_executor::checkpoint(grant, 0, b"")),
            reason: fleet::ReleaseReason::Unsupported.into(),
            error: Some(error.clone()),
        };
        let request = executor.request(fleet::ReleaseRequest { items: vec![item] });
        let released = executor.client().release(request).await.expect("a response").into_inner();
        assert_eq!(released.results[0].status(), fleet::LeaseStatus::Ok, "{released:?}");
    };
    release(&grant).await;
    let waiting = tenant.execution(&id).await;
    assert_eq!(waiting.state(), v1::ExecutionState::Parked);
    assert!(waiting.waiting_for.contains("unknown field later"), "{}", waiting.waiting_for);
    assert!(waiting.not_before.is_some() && waiting.error.is_none());
    assert_eq!(waiting.lost_attempts, 0);

    // After 10 minutes of such attempts, it fails with the executor's error.
    stack.database.execute(
        "INSERT INTO execution_history (tenant_id, execution_id, id, at, state, attempt, cause, detail)
         SELECT h.tenant_id, h.execution_id, overlay(h.id::text PLACING lpad(n::text, 4, '0') FROM 33)::uuid, h.at, h.state,
                h.attempt, h.cause, ''
         FROM execution_history h, generate_series(1, 18) n WHERE h.cause = 'unsupported'",
    );
    stack.database.execute("UPDATE ready SET not_before = NULL");
    let grant = scripted_executor::acquire_one(&executor, 2).await;
    release(&grant).await;
    let failed = tenant.execution(&id).await;
    assert_eq!(failed.state(), v1::ExecutionState::Failed);
    assert_eq!(failed.error.expect("an error").code, "PLAN_UNREADABLE");
}
