//! Transitions of executions, driven by a scripted executor: parks, cancels, losses and promotions.

use std::time::{Duration, Instant, SystemTime};

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::{CancelExecutionRequest, ExecutionState, ExplainExecutionRequest};
use orchid_tests::eventually::{eventually, holds};
use orchid_tests::{ScriptedExecutor, Tenant, TestStack};
use serde_json::{Value, json};
use tonic::Code;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, checkpoint, complete};

async fn cancel(tenant: &Tenant, id: &str) -> ExecutionState {
    let request = CancelExecutionRequest { id: id.to_owned(), reason: "enough".to_owned() };
    let answer = tenant.executions().cancel_execution(tenant.request(request)).await;
    answer.expect("a response").into_inner().state()
}

fn ended_of(beat: &fleet::HeartbeatResponse) -> Vec<&str> {
    beat.announcements.iter().map(|announcement| announcement.headers["execution_id"].as_str()).collect()
}

/// Sends heartbeats until they have delivered `count` announcements.
async fn announced(
    executor: &mut ScriptedExecutor,
    answered_acquire_seq: i64,
    count: usize,
) -> Vec<(String, Value)> {
    let mut ends = Vec::new();
    for _ in 0..20 {
        let beat = executor.beat(answered_acquire_seq, &[]).await;
        for announcement in beat.announcements {
            let payload: Value = serde_json::from_slice(&announcement.payload).expect("JSON");
            assert_eq!(announcement.headers["type"], "execution.completed");
            ends.push((payload["execution_id"].as_str().expect("an id").to_owned(), payload));
        }
        if ends.len() >= count {
            break;
        }
    }
    ends
}

async fn parks(placement_groups: u32) {
    let (stack, tenant) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    let execution = tenant.trigger("single", "main").await;
    let mut executor = stack.scripted_executor().await;
    let first = acquire_one(&executor, 1).await;
    let park = fleet::ParkItem {
        checkpoint: Some(checkpoint(&first, 3, b"{\"page\":3}")),
        not_before: Some((SystemTime::from(orchid_kit::clock::utc_now()) + Duration::from_secs(3)).into()),
        reason: "Retry-After".to_owned(),
    };
    for _ in 0..2 {
        let request = executor.request(fleet::ParkRequest { items: vec![park.clone()] });
        let parked = executor.client().park(request).await.expect("a response").into_inner();
        assert_eq!(parked.results[0].status(), fleet::LeaseStatus::Ok, "{parked:?}");
    }
    let parked = tenant.execution(&execution.id).await;
    assert_eq!((parked.state(), parked.waiting_for.as_str()), (ExecutionState::Parked, "Retry-After"));
    assert!(executor.acquire(2).await.is_empty(), "its time has not come");

    let second = acquire_one(&executor, 3).await;
    assert_eq!((second.attempt, second.earlier_attempts_ms), (2, 70));
    assert!(second.fence > first.fence);
    let saved = second.checkpoint.clone().expect("a checkpoint");
    assert_eq!((saved.seq, saved.resume_state.as_ref()), (3, b"{\"page\":3}".as_slice()));
    assert_eq!(saved.progress.expect("progress").pages, 3);
    let late = complete(&executor, &first, fleet::ExecutionOutcome::Succeeded).await;
    assert_eq!(late.results[0].status(), fleet::LeaseStatus::Fenced, "the first attempt is over");

    executor.beat(3, &[&second]).await;
    let done = complete(&executor, &second, fleet::ExecutionOutcome::Succeeded).await;
    assert_eq!(done.announcements.len(), 1);
    let verdicts: Vec<String> =
        tenant.attempts(&execution.id).await.into_iter().map(|attempt| attempt.end_reason).collect();
    assert_eq!(verdicts, ["parked", "completed"]);
    assert_eq!(tenant.success_of(&execution.id).await.lost_attempts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_execution_resumes_at_its_checkpoint_when_due() {
    parks(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_execution_resumes_with_eight_groups() {
    parks(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_ends_unleased_executions_and_informs_executors() {
    let (stack, tenant) = scripted_executor::stack(8, 30_000, &[]).await;
    let mut executor = stack.scripted_executor().await;
    let going = tenant.trigger("single", "main").await;
    let behind = tenant.trigger("single", "main").await;
    assert_eq!(cancel(&tenant, &behind.id).await, ExecutionState::Cancelled, "pending");
    let grant = acquire_one(&executor, 1).await;
    assert_eq!(grant.execution_id, going.id);
    assert_eq!(cancel(&tenant, &going.id).await, ExecutionState::Running, "its executor is told first");
    let beat = executor.beat(1, &[&grant]).await;
    assert_eq!(beat.instructions[0].command(), fleet::LeaseCommand::Cancel);
    let next = tenant.trigger("single", "main").await;
    assert_eq!(next.state(), ExecutionState::Pending, "the run is still going");
    let done = complete(&executor, &grant, fleet::ExecutionOutcome::Cancelled).await;
    assert_eq!(done.results[0].status(), fleet::LeaseStatus::Ok);
    assert_eq!(tenant.end_of(&going.id).await.state(), ExecutionState::Cancelled);
    assert_eq!(cancel(&tenant, &going.id).await, ExecutionState::Cancelled, "again changes nothing");
    assert_eq!(cancel(&tenant, &next.id).await, ExecutionState::Cancelled, "queued");
    assert_eq!(ended_of(&beat), [behind.id.as_str()], "what ended without an executor is handed to one");
    let ends = announced(&mut executor, 1, 1).await;
    let ids: Vec<&str> = ends.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, [next.id.as_str()], "each once");
    assert!(ends.iter().all(|(_, payload)| payload["status"] == "cancelled"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_cancel_is_enforced_by_the_server() {
    let (stack, tenant) =
        scripted_executor::stack(1, 30_000, &[("ORCHID_RUNS_CANCEL_AFTER_MS", "300")]).await;
    let mut executor = stack.scripted_executor().await;
    let execution = tenant.trigger("single", "main").await;
    let grant = acquire_one(&executor, 1).await;
    cancel(&tenant, &execution.id).await;
    assert_eq!(tenant.end_of(&execution.id).await.state(), ExecutionState::Cancelled);
    let beat = executor.beat(1, &[&grant]).await;
    assert_eq!(beat.instructions[0].command(), fleet::LeaseCommand::Lost);
    let late = complete(&executor, &grant, fleet::ExecutionOutcome::Succeeded).await;
    assert_eq!(late.results[0].status(), fleet::LeaseStatus::ExecutionTerminal, "the first end is kept");
}

/// Returns a checkpoint at which the upstream works for the execution.
fn submitted(grant: &fleet::LeaseGrant, seq: i64) -> fleet::CheckpointItem {
    fleet::CheckpointItem { needs_upstream_cancel: Some(true), ..checkpoint(grant, seq, b"{\"job\":7}") }
}

/// Parks an execution for an hour while its upstream works for it.
async fn park_for_a_job(executor: &ScriptedExecutor, grant: &fleet::LeaseGrant, seq: i64) {
    let an_hour = Duration::from_secs(3600);
    let park = fleet::ParkItem {
        checkpoint: Some(submitted(grant, seq)),
        not_before: Some((SystemTime::from(orchid_kit::clock::utc_now()) + an_hour).into()),
        reason: "its job".to_owned(),
    };
    let request = executor.request(fleet::ParkRequest { items: vec![park] });
    let parked = executor.client().park(request).await.expect("a response").into_inner();
    assert_eq!(parked.results[0].status(), fleet::LeaseStatus::Ok, "{parked:?}");
}

async fn explained(tenant: &Tenant, id: &str) -> String {
    let request = ExplainExecutionRequest { id: id.to_owned() };
    tenant.executions().explain_execution(tenant.request(request)).await.expect("words").into_inner().summary
}

async fn tells_its_upstream(placement_groups: u32) {
    let (stack, tenant) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    let mut executor = stack.scripted_executor().await;
    let execution = tenant.trigger("single", "main").await;
    let first = acquire_one(&executor, 1).await;
    assert!(!first.cancel_requested);
    park_for_a_job(&executor, &first, 3).await;
    let behind = tenant.trigger("single", "main").await;

    for _ in 0..2 {
        assert_eq!(cancel(&tenant, &execution.id).await, ExecutionState::Queued, "not for an hour: now");
    }
    let words = explained(&tenant, &execution.id).await;
    assert!(words.contains("It waits for an executor that cancels the job"), "{words}");

    // A grant that never arrived does not change what the upstream owes.
    acquire_one(&executor, 2).await;
    executor.beat(2, &[]).await;
    let grant = acquire_one(&executor, 3).await;
    assert_eq!((grant.execution_id.as_str(), grant.cancel_requested), (execution.id.as_str(), true));
    assert_eq!(
        grant.checkpoint.as_ref().map(|saved| saved.resume_state.as_ref()),
        Some(b"{\"job\":7}".as_slice())
    );
    assert_eq!(cancel(&tenant, &execution.id).await, ExecutionState::Running, "again changes nothing");
    let beat = executor.beat(3, &[&grant]).await;
    assert_eq!(beat.instructions[0].command(), fleet::LeaseCommand::Cancel);
    let words = explained(&tenant, &execution.id).await;
    assert!(words.contains("the executor is cancelling the upstream job"), "{words}");

    let done = complete(&executor, &grant, fleet::ExecutionOutcome::Cancelled).await;
    assert_eq!(done.results[0].status(), fleet::LeaseStatus::Ok);
    assert_eq!(tenant.execution(&execution.id).await.state(), ExecutionState::Cancelled);
    assert_eq!(acquire_one(&executor, 4).await.execution_id, behind.id, "the next has its turn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_with_upstream_work_is_granted_to_an_executor() {
    tells_its_upstream(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_with_upstream_work_with_eight_groups() {
    tells_its_upstream(8).await;
}

async fn drain(executor: &ScriptedExecutor, checkpoint: fleet::CheckpointItem) {
    let item = fleet::ReleaseItem {
        checkpoint: Some(checkpoint),
        reason: fleet::ReleaseReason::Drained.into(),
        error: None,
    };
    let request = executor.request(fleet::ReleaseRequest { items: vec![item] });
    let released = executor.client().release(request).await.expect("a response").into_inner();
    assert_eq!(released.results[0].status(), fleet::LeaseStatus::Ok, "{released:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn released_execution_still_cancels_its_upstream_job() {
    let (stack, tenant) = scripted_executor::stack(8, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let execution = tenant.trigger("single", "main").await;
    let first = acquire_one(&executor, 1).await;
    assert_eq!(
        scripted_executor::save(&executor, vec![submitted(&first, 1)]).await[0].status(),
        fleet::LeaseStatus::Ok
    );
    // A release without `must_cancel` keeps the previous value.
    let nothing_new =
        fleet::CheckpointItem { lease_token: first.lease_token.clone(), ..fleet::CheckpointItem::default() };
    drain(&executor, nothing_new).await;
    assert_eq!(cancel(&tenant, &execution.id).await, ExecutionState::Queued);
    let second = acquire_one(&executor, 2).await;
    assert!(second.cancel_requested);
    complete(&executor, &second, fleet::ExecutionOutcome::Cancelled).await;

    let done = tenant.trigger("single", "main").await;
    let grant = acquire_one(&executor, 3).await;
    scripted_executor::save(&executor, vec![submitted(&grant, 1)]).await;
    let downloaded =
        fleet::CheckpointItem { needs_upstream_cancel: Some(false), ..checkpoint(&grant, 2, b"{\"job\":8}") };
    drain(&executor, downloaded).await;
    assert_eq!(
        cancel(&tenant, &done.id).await,
        ExecutionState::Cancelled,
        "no upstream works for it any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_during_park_is_kept() {
    let (stack, tenant) = scripted_executor::stack(8, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let execution = tenant.trigger("single", "main").await;
    let first = acquire_one(&executor, 1).await;
    assert_eq!(cancel(&tenant, &execution.id).await, ExecutionState::Running);
    park_for_a_job(&executor, &first, 3).await;
    let second = acquire_one(&executor, 2).await;
    assert_eq!((second.attempt, second.cancel_requested), (2, true), "at once, not in an hour");
    complete(&executor, &second, fleet::ExecutionOutcome::Cancelled).await;
    assert_eq!(tenant.execution(&execution.id).await.state(), ExecutionState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untaken_cancel_is_enforced_by_the_server() {
    let (stack, tenant) =
        scripted_executor::stack(1, 30_000, &[("ORCHID_RUNS_CANCEL_AFTER_MS", "300")]).await;
    let mut executor = stack.scripted_executor().await;
    for (seq, taken) in [(1, false), (3, true)] {
        let execution = tenant.trigger("single", "main").await;
        let grant = acquire_one(&executor, seq).await;
        park_for_a_job(&executor, &grant, 3).await;
        let asked = Instant::now();
        cancel(&tenant, &execution.id).await;
        let grant = if taken { Some(acquire_one(&executor, seq + 1).await) } else { None };
        assert_eq!(tenant.end_of(&execution.id).await.state(), ExecutionState::Cancelled);
        assert!(
            asked.elapsed() >= Duration::from_millis(600),
            "twice the time of a cancel: {:?}",
            asked.elapsed()
        );
        assert_eq!(stack.database.number("SELECT count(*) FROM ready"), 0);
        assert_eq!(stack.database.number("SELECT count(*) FROM leases"), 0);
        let causes = "SELECT count(*) FROM execution_history WHERE cause = 'cancel_overdue'";
        assert_eq!(stack.database.number(causes), if taken { 2 } else { 1 });
        if let Some(grant) = grant {
            let beat = executor.beat(seq + 1, &[&grant]).await;
            assert_eq!(beat.instructions[0].command(), fleet::LeaseCommand::Lost);
        }
    }
}

async fn turns(placement_groups: u32) {
    let (stack, first) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    let second = stack.tenant().await;
    second.shop("http://127.0.0.1:1").await;
    second.plan("single", &plans::single()).await;
    let executor = stack.scripted_executor().await;
    let mut expected: Vec<Vec<String>> = vec![Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (number, tenant) in [&first, &second].into_iter().enumerate() {
            expected[number].push(tenant.trigger("single", "main").await.id);
        }
    }
    let mut granted: Vec<String> = Vec::new();
    for seq in 1..=12 {
        let grants = executor.acquire(seq).await;
        assert!(grants.len() <= 2, "one run of each plan and config at a time: {grants:?}");
        for grant in grants {
            granted.push(grant.execution_id.clone());
            complete(&executor, &grant, fleet::ExecutionOutcome::Succeeded).await;
        }
    }
    assert_eq!(granted.len(), 6);
    for order in expected {
        let of_tenant: Vec<String> = granted.iter().filter(|id| order.contains(id)).cloned().collect();
        assert_eq!(of_tenant, order, "in the order of their triggers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promotions_follow_trigger_order() {
    turns(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promotions_follow_trigger_order_with_eight_groups() {
    turns(8).await;
}

const QUICK: &[(&str, &str)] = &[("ORCHID_REAPER_INTERVAL_MS", "100"), ("ORCHID_REAPER_GRACE_MS", "100")];

/// Lets an executor take the execution, report its last request and disappear.
async fn lose(stack: &TestStack, tenant: &Tenant, id: &str, saves: bool) -> ScriptedExecutor {
    let executor = stack.scripted_executor().await;
    let grant = acquire_one(&executor, 1).await;
    if saves {
        let request =
            fleet::CheckpointRequest { items: vec![checkpoint(&grant, i64::from(grant.attempt), b"{}")] };
        executor.client().checkpoint(executor.request(request)).await.expect("a response");
    }
    let beat = fleet::HeartbeatRequest {
        heartbeat_seq: 1,
        resolved_acquire_seq: 1,
        leases: vec![fleet::ActiveLease {
            lease_token: grant.lease_token.clone(),
            last_request: "GET http://127.0.0.1:1/one".to_owned(),
            attempt_ms: 5,
        }],
        ..fleet::HeartbeatRequest::default()
    };
    executor.client().heartbeat(executor.request(beat)).await.expect("a response");
    eventually("the lease is lost", async || {
        let state = tenant.execution(id).await.state();
        holds(state != ExecutionState::Running, state)
    })
    .await;
    executor
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_losses_without_progress_dead_letter_the_execution() {
    let (stack, tenant) = scripted_executor::stack(8, 1000, QUICK).await;
    let execution = tenant.trigger("single", "main").await;
    for (losses, state) in
        [(1, ExecutionState::Queued), (2, ExecutionState::Queued), (3, ExecutionState::DeadLettered)]
    {
        let executor = lose(&stack, &tenant, &execution.id, false).await;
        let lost = tenant.execution(&execution.id).await;
        assert_eq!((lost.lost_attempts, lost.state()), (losses, state));
        let beat = fleet::HeartbeatRequest { heartbeat_seq: 2, ..fleet::HeartbeatRequest::default() };
        let refused = executor.client().heartbeat(executor.request(beat)).await.expect_err("it has expired");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let attempts = tenant.attempts(&execution.id).await;
    let verdicts: Vec<&str> = attempts.iter().map(|attempt| attempt.end_reason.as_str()).collect();
    assert_eq!(verdicts, ["lost_heartbeat", "lost_heartbeat", "poison"]);
    assert_eq!(attempts[2].last_request, "GET http://127.0.0.1:1/one");
    let mut executor = stack.scripted_executor().await;
    let ends = announced(&mut executor, 0, 1).await;
    assert_eq!(ends[0].1["status"], "dead_lettered");
    assert_eq!(ends[0].1["error"]["code"], "POISON");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_resets_the_loss_count() {
    let (stack, tenant) = scripted_executor::stack(1, 1000, QUICK).await;
    let execution = tenant.trigger("single", "main").await;
    for _ in 0..4 {
        lose(&stack, &tenant, &execution.id, true).await;
        let lost = tenant.execution(&execution.id).await;
        assert_eq!((lost.lost_attempts, lost.state()), (1, ExecutionState::Queued));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rung_execution_is_granted_once_and_others_refused() {
    let (stack, tenant) = scripted_executor::stack(8, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let going = tenant.trigger("single", "main").await;
    let behind = tenant.trigger("single", "main").await;
    let rung =
        |id: &str| fleet::ExecutionRef { tenant_id: tenant.id.to_string(), execution_id: id.to_owned() };
    let ask = |seq: i64| {
        let request = fleet::AcquireLeasesRequest {
            acquire_seq: seq,
            max_leases: 8,
            executions: vec![rung(&going.id), rung(&behind.id), rung(&uuid::Uuid::nil().to_string())],
            ..fleet::AcquireLeasesRequest::default()
        };
        let request = executor.request(request);
        let mut client = executor.client();
        async move { client.acquire_leases(request).await.expect("a response").into_inner() }
    };
    let first = ask(1).await;
    assert_eq!(first.grants.len(), 1);
    assert_eq!(first.grants[0].execution_id, going.id);
    let config: Value =
        serde_json::from_slice(&first.grants[0].config.clone().expect("a config").values_json).expect("JSON");
    assert_eq!(config, json!({"base_url": "http://127.0.0.1:1"}));
    let second = ask(2).await;
    assert!(second.grants.is_empty());
    let verdicts: Vec<fleet::LeaseStatus> =
        second.refused.iter().map(fleet::RefusedExecution::status).collect();
    use fleet::LeaseStatus::{AlreadyLeased, NotReady};
    assert_eq!(verdicts, [AlreadyLeased, NotReady, NotReady]);
}
