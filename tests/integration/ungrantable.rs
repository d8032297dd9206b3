//! Executions that cannot be granted because of what is stored for them: each ends by itself, and
//! others are granted as if it were not there.

use std::time::{Duration, Instant};

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::{Config, CreateConfigRequest, ExecutionState, Transport};
use orchid_tests::client::structure;
use orchid_tests::{FakeUpstream, ScriptedExecutor, StackOptions, Tenant, TestStack, UpstreamReply};
use serde_json::json;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, checkpoint, save};

async fn error_of(tenant: &Tenant, id: &str) -> (String, String, String) {
    let execution = tenant.end_of(id).await;
    assert_eq!(execution.state(), ExecutionState::Failed, "{execution:#?}");
    let error = execution.error.expect("an error");
    (error.class, error.code, error.message)
}

/// Creates a config with a secret in its transport.
async fn secret_config(tenant: &Tenant, key: &str) {
    let transport = Transport { proxy: "http://u:hush@127.0.0.1:1".to_owned(), ..Transport::default() };
    let config = Config {
        integration: "shop".to_owned(),
        key: key.to_owned(),
        values: Some(structure(&json!({"base_url": "http://127.0.0.1:1"}))),
        transport: Some(transport),
        ..Config::default()
    };
    let create = CreateConfigRequest { config: Some(config), request_id: String::new() };
    tenant.configs().create_config(tenant.request(create)).await.expect("a config");
}

/// Hands back an execution whose checkpoint is then altered in the database. Returns its id.
async fn altered_checkpoint(stack: &TestStack, executor: &ScriptedExecutor, tenant: &Tenant) -> String {
    let stale = tenant.trigger("single", "stale").await.id;
    let grant = acquire_one(executor, 1).await;
    save(executor, vec![checkpoint(&grant, 1, b"{\"page\":1}")]).await;
    let release = fleet::ReleaseItem {
        checkpoint: Some(fleet::CheckpointItem {
            lease_token: grant.lease_token.clone(),
            ..fleet::CheckpointItem::default()
        }),
        reason: fleet::ReleaseReason::Drained.into(),
        error: None,
    };
    executor
        .client()
        .release(executor.request(fleet::ReleaseRequest { items: vec![release] }))
        .await
        .expect("a response");
    let altered = "UPDATE checkpoints SET resume_state = set_byte(resume_state, length(resume_state) - 1, \
                   get_byte(resume_state, length(resume_state) - 1) # 1)";
    stack.database.execute(altered);
    stale
}

async fn ends_alone(placement_groups: u32) {
    let (stack, broken) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    let other = stack.tenant().await;
    other.shop("http://127.0.0.1:1").await;
    other.plan("single", &plans::single()).await;
    for key in ["sealed", "wrapped", "parsed"] {
        secret_config(&broken, key).await;
    }
    for key in ["stale", "missing"] {
        broken.config(key, &json!({"base_url": "http://127.0.0.1:1"})).await;
    }
    let executor = stack.scripted_executor().await;

    let stale = altered_checkpoint(&stack, &executor, &broken).await;
    let sealed = broken.trigger("single", "sealed").await.id;
    let parsed = broken.trigger("single", "parsed").await.id;
    let missing = broken.trigger("single", "missing").await.id;
    stack.database.execute(
        "UPDATE configs SET transport_secrets = set_byte(transport_secrets, length(transport_secrets) - 1, \
         get_byte(transport_secrets, length(transport_secrets) - 1) # 1) WHERE key = 'sealed'",
    );
    stack.database.execute(r#"UPDATE configs SET transport = '{"allowed_hosts": 7}' WHERE key = 'parsed'"#);
    let gone = "UPDATE plan_executions SET plan_revision = 77 WHERE config_key = 'missing'";
    stack.database.execute(gone);
    let healthy = broken.trigger("single", "main").await.id;
    let others = other.trigger("single", "main").await.id;

    let mut granted: Vec<String> =
        executor.acquire(2).await.into_iter().map(|grant| grant.execution_id).collect();
    granted.extend(executor.acquire(3).await.into_iter().map(|grant| grant.execution_id));
    granted.sort();
    let mut expected = vec![healthy, others];
    expected.sort();
    assert_eq!(granted, expected, "every other execution is granted");
    for (id, expected) in [
        (&stale, "SECRETS_UNREADABLE"),
        (&sealed, "SECRETS_UNREADABLE"),
        (&parsed, "STORED_STATE_UNREADABLE"),
        (&missing, "DEFINITION_GONE"),
    ] {
        let (class, code, message) = error_of(&broken, id).await;
        assert_eq!((class.as_str(), code.as_str()), ("system", expected), "{message}");
    }
    assert_eq!(stack.database.number("SELECT count(*) FROM ready"), 0);

    // A data key whose master key this control plane does not have.
    let wrapped = broken.trigger("single", "wrapped").await.id;
    let behind = broken.trigger("single", "wrapped").await;
    assert_eq!(behind.state(), ExecutionState::Pending);
    stack.database.execute(&format!("UPDATE tenants SET data_key_id = 'k0' WHERE id = '{}'", broken.id));
    assert!(executor.acquire(4).await.is_empty());
    for id in [&wrapped, &behind.id] {
        let (_, code, message) = error_of(&broken, id).await;
        assert_eq!(code, "SECRETS_UNREADABLE");
        assert!(message.contains("\"k0\"") && message.contains("keys.others"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_that_cannot_be_granted_ends_alone() {
    ends_alone(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_that_cannot_be_granted_ends_alone_with_eight_groups() {
    ends_alone(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grant_that_fails_for_an_unknown_reason_is_deferred_alone() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    tenant.config("bad", &json!({"base_url": "http://127.0.0.1:1"})).await;
    let bad = tenant.trigger("single", "bad").await.id;
    let good = tenant.trigger("single", "main").await.id;
    let refuse = format!("ALTER TABLE leases ADD CONSTRAINT refuse CHECK (execution_id <> '{bad}')");
    stack.database.execute(&refuse);
    let executor = stack.scripted_executor().await;
    assert_eq!(acquire_one(&executor, 1).await.execution_id, good);
    assert_eq!(tenant.execution(&bad).await.state(), ExecutionState::Queued);
    let deferred = "SELECT count(*) FROM ready WHERE not_before > now() + interval '30 seconds'";
    assert_eq!(stack.database.number(deferred), 1);
}

/// Measures how long a tenant waits for its runs while another tenant's runs cannot be granted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_that_fail_do_not_delay_another_tenant() {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let (broken, other) = (stack.tenant().await, stack.tenant().await);
    for tenant in [&broken, &other] {
        tenant.shop(&upstream.url()).await;
        tenant.plan("single", &plans::single()).await;
    }
    let latency = async || {
        let started = Instant::now();
        other.success_of(&other.trigger("single", "main").await.id).await;
        started.elapsed()
    };
    latency().await;
    let before = latency().await;
    for number in 0..20 {
        secret_config(&broken, &format!("c{number}")).await;
    }
    stack.database.execute(&format!("UPDATE tenants SET data_key_id = 'k0' WHERE id = '{}'", broken.id));
    let mut failing = Vec::new();
    for number in 0..20 {
        failing.push(broken.trigger("single", &format!("c{number}")).await.id);
    }
    let mut during = Duration::ZERO;
    for _ in 0..3 {
        during = during.max(latency().await);
    }
    eprintln!("latency of the other tenant: {before:?} alone, {during:?} beside failing grants");
    for id in failing {
        let (class, code, message) = error_of(&broken, &id).await;
        assert_eq!((class.as_str(), code.as_str()), ("system", "SECRETS_UNREADABLE"), "{message}");
    }
    assert!(during < Duration::from_secs(5), "{during:?}, {before:?} before");
    stack.end().await;
}
