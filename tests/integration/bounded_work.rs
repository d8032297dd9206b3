//! Work that was once unbounded, stuck or lost: each case is small, and each had stalled something.

use std::time::{Duration, Instant};

use orchid_proto::admin::v1 as admin;
use orchid_proto::admin::v1::tenant_service_client::TenantServiceClient;
use orchid_proto::executor::v1 as fleet;
use orchid_tests::eventually::{eventually, holds, reached};
use orchid_tests::{ScriptedExecutor, StackOptions, TestStack};
use tonic::Code;
use uuid::Uuid;

use crate::scripted_executor::{self, acquire_one, checkpoint, save};

async fn beat(executor: &ScriptedExecutor, seq: i64, consume_loop_age_ms: i64) {
    let beat = fleet::HeartbeatRequest {
        heartbeat_seq: seq,
        free_slots: 8,
        consume_loop_age_ms,
        ..fleet::HeartbeatRequest::default()
    };
    executor.client().heartbeat(executor.request(beat)).await.expect("a response");
}

#[tokio::test]
async fn executor_with_a_stuck_loop_gets_no_work() {
    let (stack, _tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let takes_none = || stack.database.number("SELECT count(*) FROM executor_sessions WHERE draining");
    beat(&executor, 1, 120_000).await;
    assert_eq!(takes_none(), 1);
    beat(&executor, 2, 500).await;
    assert_eq!(takes_none(), 0);
}

#[tokio::test]
async fn ten_thousand_context_fields_are_saved_by_one_checkpoint() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    tenant.trigger("single", "main").await;
    let grant = acquire_one(&executor, 1).await;
    let field = |number: usize| fleet::ContextChange { name: format!("f{number}"), json: Some("1".into()) };
    let mut item = checkpoint(&grant, 1, b"{}");
    item.context_changes = (0..10_000).map(field).collect();
    let results = save(&executor, vec![item]).await;
    assert_eq!(results[0].status(), fleet::LeaseStatus::Ok, "{results:?}");
    assert_eq!(stack.database.number("SELECT count(*) FROM plan_contexts"), 10_000);
}

#[tokio::test]
async fn first_checkpoint_of_a_continuing_execution_keeps_finished_steps() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    tenant.trigger("single", "main").await;
    let first = acquire_one(&executor, 1).await;
    let mut last = checkpoint(&first, 1, b"{\"at\":1}");
    last.finished_steps = Some("{\"one\":1}".into());
    let item = fleet::CompleteItem {
        checkpoint: Some(last),
        outcome: fleet::ExecutionOutcome::Succeeded.into(),
        partial: true,
        at_limit: true,
        ..fleet::CompleteItem::default()
    };
    let request = executor.request(fleet::CompleteRequest { items: vec![item], acquire: None });
    let done = executor.client().complete(request).await.expect("a response").into_inner();
    assert_eq!(done.results[0].status(), fleet::LeaseStatus::Ok, "{done:?}");

    tenant.trigger("single", "main").await;
    let second = acquire_one(&executor, 2).await;
    let saved = second.checkpoint.clone().expect("the state that it continues");
    assert_eq!(saved.finished_steps, "{\"one\":1}");
    // The executor has the values, so it does not send them.
    let results = save(&executor, vec![checkpoint(&second, saved.seq + 1, b"{\"at\":2}")]).await;
    assert_eq!(results[0].status(), fleet::LeaseStatus::Ok, "{results:?}");
    let release = fleet::ReleaseItem {
        checkpoint: Some(checkpoint(&second, 0, b"")),
        reason: fleet::ReleaseReason::Drained.into(),
        error: None,
    };
    let request = executor.request(fleet::ReleaseRequest { items: vec![release] });
    executor.client().release(request).await.expect("a response");
    let again = acquire_one(&executor, 3).await;
    let saved = again.checkpoint.expect("its own checkpoint");
    assert_eq!((saved.resume_state, saved.finished_steps), ("{\"at\":2}".into(), "{\"one\":1}".into()));
}

#[tokio::test]
async fn thousands_of_leases_of_a_dead_executor_come_back_in_one_pass() {
    // Passes are far apart, so that a second one is told from the first.
    let settings = [("ORCHID_REAPER_INTERVAL_MS", "20000")];
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &settings).await;
    stack.database.execute(&format!(
        "INSERT INTO leases (tenant_id, execution_id, lease_id, session_id, attempt, fence, acquire_seq, granted_at)
         SELECT '{}', gen_random_uuid(), gen_random_uuid(), '{}', 1, 1, 1, now() FROM generate_series(1, 3000)",
        tenant.id,
        Uuid::from_u128(7),
    ));
    let left = || stack.database.number("SELECT count(*) FROM leases");
    let begun = eventually("a pass begins", async || {
        let left = left();
        if left < 3000 { Ok(Instant::now()) } else { Err(left) }
    });
    let begun = begun.await;
    eventually("no lease is left", async || reached(-left(), 0)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "a later pass took the rest: {:?}", begun.elapsed());
}

#[tokio::test]
async fn relay_marks_nothing_while_redis_is_down() {
    let settings = vec![("ORCHID_REDIS_URL", "redis://127.0.0.1:1".to_owned())];
    let options = StackOptions { executors: 0, control_plane_settings: settings, ..StackOptions::default() };
    let stack = TestStack::start(options).await;
    let _executor = stack.scripted_executor().await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    tenant.plan("single", &crate::plans::single()).await;
    tenant.trigger("single", "main").await;
    eventually("the relay fails", async || {
        let logs = stack.logs();
        holds(logs.contains("task=\"relay\"") || logs.contains("\"relay\""), logs.len())
    })
    .await;
    // A changed row moves to another place in the table.
    assert_eq!(stack.database.execute("SELECT ctid FROM ready"), "(0,1)");
}

#[tokio::test]
async fn place_in_the_queue_without_history_is_removed() {
    let (mut stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    stack.database.execute(&format!(
        "INSERT INTO ready (tenant_id, execution_id, pool, priority, seq)
         VALUES ('{}', '00000000-0001-7000-8000-000000000000', 'default', 5, 1)",
        tenant.id
    ));
    // Retention runs at the start.
    stack.stop_control_plane(0).await;
    stack.restart_control_plane(0).await;
    eventually("the place is gone", async || {
        reached(-stack.database.number("SELECT count(*) FROM ready"), 0)
    })
    .await;
}

#[tokio::test]
async fn repeated_creation_of_a_tenant_returns_the_first_one() {
    let (stack, _tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let create = async |name: &str, request_id: &str| {
        let request = admin::CreateTenantRequest {
            display_name: name.to_owned(),
            request_id: request_id.to_owned(),
            ..admin::CreateTenantRequest::default()
        };
        TenantServiceClient::new(stack.channel(0)).create_tenant(request).await
    };
    let id = Uuid::from_u128(5).to_string();
    let first = create("one", &id).await.expect("a tenant").into_inner();
    assert_eq!(create("one", &id).await.expect("the same tenant").into_inner(), first);
    assert_eq!(create("other", &id).await.unwrap_err().code(), Code::InvalidArgument);
    assert_ne!(create("one", "").await.expect("another tenant").into_inner().id, first.id);
}

#[tokio::test]
async fn unknown_tenants_share_the_allowance_of_their_address() {
    let settings = [("ORCHID_REQUESTS_PER_SECOND", "1"), ("ORCHID_REQUESTS_BURST", "60")];
    let (_stack, tenant) = scripted_executor::stack(1, 30_000, &settings).await;
    let get = |id: Uuid| {
        let mut request = tonic::Request::new(orchid_proto::v1::GetPlanRequest { key: "single".to_owned() });
        request.metadata_mut().insert("x-tenant-id", id.to_string().parse().unwrap());
        let mut client = tenant.plans();
        async move { client.get_plan(request).await.map(drop).map_err(|status| status.code()) }
    };
    let mut refused = 0;
    for number in 0..200 {
        match get(Uuid::from_u128(number)).await {
            Err(Code::ResourceExhausted) => refused += 1,
            other => assert_eq!(other, Err(Code::NotFound)),
        }
    }
    assert!(refused >= 100, "{refused} of 200 made-up tenants were limited");
    // A tenant that is known has an allowance of its own.
    assert_eq!(get(tenant.id).await, Ok(()));
}
