//! The fleet protocol with lost and repeated calls, driven by a scripted executor.

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::ExecutionState;
use orchid_tests::{StackOptions, Tenant, TestStack, eventually};
use tonic::Code;

use crate::plans;

async fn stack_without_executors(placement_groups: u32) -> (TestStack, Tenant) {
    let options =
        StackOptions { executors: 0, placement_groups, lease_ttl_ms: 30_000, ..StackOptions::default() };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    tenant.plan("single", &plans::single()).await;
    (stack, tenant)
}

fn finish(grant: &fleet::LeaseGrant, seq: i64) -> fleet::CompleteRequest {
    let checkpoint = fleet::CheckpointItem {
        lease_token: grant.lease_token.clone(),
        seq,
        resume_state: b"{}".to_vec().into(),
        progress: Some(fleet::ExecutionProgress::default()),
        ..fleet::CheckpointItem::default()
    };
    let item = fleet::CompleteItem {
        checkpoint: Some(checkpoint),
        outcome: fleet::ExecutionOutcome::Succeeded.into(),
        complete: true,
        ..fleet::CompleteItem::default()
    };
    fleet::CompleteRequest { items: vec![item], acquire: None }
}

async fn acquire_one(executor: &orchid_tests::ScriptedExecutor, seq: i64) -> fleet::LeaseGrant {
    let mut grants = eventually("a lease is granted", async || {
        let grants = executor.acquire(seq).await;
        if grants.is_empty() { Err(()) } else { Ok(grants) }
    })
    .await;
    assert_eq!(grants.len(), 1);
    grants.remove(0)
}

async fn lost_replies(placement_groups: u32) {
    let (stack, tenant) = stack_without_executors(placement_groups).await;
    let execution = tenant.trigger("single", "main").await;
    let mut executor = stack.scripted_executor().await;

    // The first response is lost; repeating the call returns the same lease.
    let lost = acquire_one(&executor, 1).await;
    let again = acquire_one(&executor, 1).await;
    assert_eq!(
        (again.lease_id.as_str(), again.attempt, again.fence),
        (lost.lease_id.as_str(), 1, lost.fence)
    );
    assert_eq!(tenant.execution(&execution.id).await.state(), ExecutionState::Running);

    // A heartbeat that confirms the acquire call without listing the lease returns it at no cost.
    executor.beat(1, &[]).await;
    let next = acquire_one(&executor, 2).await;
    assert_ne!(next.lease_id, again.lease_id);
    assert!(next.fence > again.fence);
    let now = tenant.execution(&execution.id).await;
    assert_eq!((now.state(), now.lost_attempts), (ExecutionState::Running, 0), "{now:#?}");
    assert_eq!(tenant.attempts(&execution.id).await[0].end_reason, "never_started");

    // The old lease is no longer valid.
    let refused =
        executor.client().complete(executor.request(finish(&again, 1))).await.expect("OK").into_inner();
    let verdict = refused.results[0].status();
    assert!(matches!(verdict, fleet::LeaseStatus::LeaseLost | fleet::LeaseStatus::Fenced), "{verdict:?}");

    // A Complete whose response was lost is repeated with the same result.
    executor.beat(2, &[&next]).await;
    for _ in 0..2 {
        let done =
            executor.client().complete(executor.request(finish(&next, 1))).await.expect("OK").into_inner();
        assert_eq!(done.results[0].status(), fleet::LeaseStatus::Ok, "{done:?}");
    }
    let done = tenant.success_of(&execution.id).await;
    assert_eq!(done.lost_attempts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_response_costs_no_attempt() {
    lost_replies(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_response_costs_no_attempt_with_eight_groups() {
    lost_replies(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_or_repeated_checkpoint_changes_nothing() {
    let (stack, tenant) = stack_without_executors(1).await;
    let execution = tenant.trigger("single", "main").await;
    let mut executor = stack.scripted_executor().await;
    let grant = acquire_one(&executor, 1).await;
    executor.beat(1, &[&grant]).await;
    let save = |seq: i64, place: &'static str| fleet::CheckpointRequest {
        items: vec![fleet::CheckpointItem {
            lease_token: grant.lease_token.clone(),
            seq,
            resume_state: place.as_bytes().to_vec().into(),
            progress: Some(fleet::ExecutionProgress { pages: seq, ..fleet::ExecutionProgress::default() }),
            ..fleet::CheckpointItem::default()
        }],
    };
    for (seq, place) in [(1, "one"), (3, "three"), (3, "three"), (2, "two")] {
        let saved =
            executor.client().checkpoint(executor.request(save(seq, place))).await.expect("OK").into_inner();
        assert_eq!(saved.results[0].status(), fleet::LeaseStatus::Ok, "{seq}");
    }
    assert_eq!(stack.database.execute("SELECT seq FROM checkpoints"), "3");
    assert_eq!(tenant.execution(&execution.id).await.counts.expect("counts").pages, 3);
    let released = fleet::ReleaseItem {
        checkpoint: Some(fleet::CheckpointItem {
            lease_token: grant.lease_token.clone(),
            ..fleet::CheckpointItem::default()
        }),
        reason: fleet::ReleaseReason::Drained.into(),
        error: None,
    };
    let request = executor.request(fleet::ReleaseRequest { items: vec![released] });
    executor.client().release(request).await.expect("OK");
    let saved = acquire_one(&executor, 2).await.checkpoint.expect("a checkpoint");
    assert_eq!((saved.seq, saved.resume_state.as_ref()), (3, b"three".as_slice()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_a_valid_token_are_refused() {
    let (stack, _) = stack_without_executors(1).await;
    let mut client = fleet::executor_service_client::ExecutorServiceClient::new(stack.channel(0));
    let join = fleet::RegisterRequest {
        name: "x".to_owned(),
        pool: "default".to_owned(),
        slots: 1,
        version: String::new(),
    };
    for token in ["", "Bearer wrong"] {
        let mut request = tonic::Request::new(join.clone());
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", token.parse().expect("metadata"));
        }
        let refused = client.register(request).await.expect_err("a stranger");
        assert!(matches!(refused.code(), Code::Unauthenticated | Code::PermissionDenied), "{refused:?}");
    }
    let refused = client.heartbeat(fleet::HeartbeatRequest::default()).await.expect_err("no session");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let executor = stack.scripted_executor().await;
    let forged = fleet::FetchContextRequest { lease_token: b"forged".to_vec().into() };
    let refused =
        executor.client().fetch_context(executor.request(forged)).await.expect_err("a forged token");
    assert!(!matches!(refused.code(), Code::Internal | Code::Unknown), "{refused:?}");
}
