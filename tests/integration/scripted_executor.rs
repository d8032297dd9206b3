//! A stack without executors, and the calls of tests that play one.

use orchid_proto::executor::v1 as fleet;
use orchid_tests::{ScriptedExecutor, StackOptions, Tenant, TestStack, eventually};

use crate::plans;

/// Starts a stack and creates a tenant with the plan `single`.
pub(crate) async fn stack(
    placement_groups: u32,
    lease_ttl_ms: u32,
    settings: &[(&'static str, &str)],
) -> (TestStack, Tenant) {
    let control_plane_settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let options = StackOptions {
        executors: 0,
        placement_groups,
        lease_ttl_ms,
        control_plane_settings,
        ..StackOptions::default()
    };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    tenant.plan("single", &plans::single()).await;
    (stack, tenant)
}

/// Waits until one lease is granted, and returns it.
pub(crate) async fn acquire_one(executor: &ScriptedExecutor, seq: i64) -> fleet::LeaseGrant {
    let mut grants = eventually("a lease is granted", async || {
        let grants = executor.acquire(seq).await;
        if grants.is_empty() { Err(()) } else { Ok(grants) }
    })
    .await;
    assert_eq!(grants.len(), 1, "{grants:?}");
    grants.remove(0)
}

/// Returns a checkpoint after 70 ms of work.
pub(crate) fn checkpoint(grant: &fleet::LeaseGrant, seq: i64, place: &'static [u8]) -> fleet::CheckpointItem {
    fleet::CheckpointItem {
        lease_token: grant.lease_token.clone(),
        seq,
        resume_state: place.into(),
        progress: Some(fleet::ExecutionProgress { pages: seq, ..fleet::ExecutionProgress::default() }),
        attempt_ms: 70,
        ..fleet::CheckpointItem::default()
    }
}

/// Saves checkpoints and returns the result of each.
pub(crate) async fn save(
    executor: &ScriptedExecutor,
    items: Vec<fleet::CheckpointItem>,
) -> Vec<fleet::ItemResult> {
    let request = executor.request(fleet::CheckpointRequest { items });
    executor.client().checkpoint(request).await.expect("a response").into_inner().results
}

/// Completes an execution with a last checkpoint.
pub(crate) async fn end(
    executor: &ScriptedExecutor,
    last: fleet::CheckpointItem,
    outcome: fleet::ExecutionOutcome,
) -> fleet::CompleteResponse {
    let item = fleet::CompleteItem {
        checkpoint: Some(last),
        outcome: outcome.into(),
        ..fleet::CompleteItem::default()
    };
    let request = executor.request(fleet::CompleteRequest { items: vec![item], acquire: None });
    executor.client().complete(request).await.expect("a response").into_inner()
}

/// Completes an execution at checkpoint 9.
pub(crate) async fn complete(
    executor: &ScriptedExecutor,
    grant: &fleet::LeaseGrant,
    outcome: fleet::ExecutionOutcome,
) -> fleet::CompleteResponse {
    end(executor, checkpoint(grant, 9, b"{}"), outcome).await
}
