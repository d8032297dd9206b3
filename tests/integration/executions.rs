//! Executions as a tenant sees them: watched, explained, listed, cancelled. Most tests use a
//! scripted executor, so that an execution stays in the state that the test needs.

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::{self, ExecutionState};
use orchid_tests::eventually::{STALL_LIMIT, eventually};
use orchid_tests::{StackOptions, Tenant, TestStack};
use prost_types::Timestamp;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::plans;

async fn stack_without_executors(control_planes: usize) -> (TestStack, Tenant) {
    let options =
        StackOptions { control_planes, executors: 0, lease_ttl_ms: 30_000, ..StackOptions::default() };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    tenant.plan("single", &plans::single()).await;
    (stack, tenant)
}

async fn watch(tenant: &Tenant, id: &str) -> Result<Streaming<v1::WatchExecutionResponse>, Status> {
    let watch = v1::WatchExecutionRequest { id: id.to_owned() };
    Ok(tenant.executions().watch_execution(tenant.request(watch)).await?.into_inner())
}

/// Returns the next state of a watched execution; `None` at the end of the watch.
async fn next(watched: &mut Streaming<v1::WatchExecutionResponse>) -> Option<ExecutionState> {
    let seen = timeout(STALL_LIMIT, watched.message()).await.expect("no state for 60 s").expect("no error");
    seen.map(|seen| seen.execution.expect("an execution").state())
}

async fn explain(tenant: &Tenant, id: &str) -> v1::ExplainExecutionResponse {
    let explain = v1::ExplainExecutionRequest { id: id.to_owned() };
    tenant.executions().explain_execution(tenant.request(explain)).await.expect("words").into_inner()
}

async fn cancel(tenant: &Tenant, id: &str, reason: &str) -> v1::Execution {
    let cancel = v1::CancelExecutionRequest { id: id.to_owned(), reason: reason.to_owned() };
    tenant.executions().cancel_execution(tenant.request(cancel)).await.expect("an execution").into_inner()
}

async fn list(
    tenant: &Tenant,
    list: v1::ListExecutionsRequest,
) -> Result<v1::ListExecutionsResponse, Status> {
    tenant.executions().list_executions(tenant.request(list)).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_queued_execution_promotes_the_next() {
    let (stack, tenant) = stack_without_executors(2).await;
    let first = tenant.trigger("single", "main").await;
    let second = tenant.trigger("single", "main").await;
    assert_eq!((first.state(), second.state()), (ExecutionState::Queued, ExecutionState::Pending));
    let words = explain(&tenant, &first.id).await.summary;
    assert!(words.contains("Pool \"default\" has no live executor"), "{words}");
    let words = explain(&tenant, &second.id).await.summary;
    assert!(words.starts_with(&format!("The execution is pending: execution {}", first.id)), "{words}");

    // The watch and the cancel use different replicas.
    let elsewhere = tenant.through(stack.channel(1));
    let mut watched_first = watch(&elsewhere, &first.id).await.expect("a watch");
    let mut watched_second = watch(&elsewhere, &second.id).await.expect("a watch");
    assert_eq!(next(&mut watched_first).await, Some(ExecutionState::Queued));
    assert_eq!(next(&mut watched_second).await, Some(ExecutionState::Pending));
    let cancelled = cancel(&tenant, &first.id, "not today").await;
    assert_eq!(cancelled.state(), ExecutionState::Cancelled);
    assert!(cancelled.end_time.is_some() && cancelled.cancel_request_time.is_some(), "{cancelled:?}");
    assert_eq!(next(&mut watched_first).await, Some(ExecutionState::Cancelled));
    assert_eq!(next(&mut watched_first).await, None);
    assert_eq!(next(&mut watched_second).await, Some(ExecutionState::Queued));

    let again = cancel(&tenant, &first.id, "another reason").await;
    assert_eq!(again, cancelled, "what has ended stays as it ended");
    let explained = explain(&tenant, &first.id).await;
    assert!(explained.summary.contains("before it started") && explained.summary.contains("(not today)"));
    let events: Vec<(ExecutionState, &str, &str)> = explained
        .events
        .iter()
        .map(|event| (event.state(), event.cause.as_str(), event.detail.as_str()))
        .collect();
    let expected =
        [(ExecutionState::Queued, "triggered", ""), (ExecutionState::Cancelled, "cancelled", "not today")];
    assert_eq!(events, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_of_a_running_execution_reaches_the_next_heartbeat() {
    let (stack, tenant) = stack_without_executors(1).await;
    let run = tenant.trigger("single", "main").await;
    let mut executor = stack.scripted_executor().await;
    let grant = eventually("a lease is granted", async || executor.acquire(1).await.pop().ok_or(())).await;
    let told = executor.beat(1, &[&grant]).await;
    assert_eq!(told.instructions[0].command(), fleet::LeaseCommand::Continue);

    let words = explain(&tenant, &run.id).await;
    assert!(
        words.summary.starts_with("Executor by-hand has been running attempt 1 of the execution"),
        "{}",
        words.summary
    );
    assert!(words.summary.contains("attempt 1 of"), "{}", words.summary);
    let attempt = &words.attempts[0];
    assert_eq!((attempt.attempt, attempt.executor.as_str()), (1, "by-hand"));
    assert_eq!((attempt.end_time, attempt.end_reason.as_str()), (None, ""));

    let cancelled = cancel(&tenant, &run.id, "not today").await;
    assert_eq!(cancelled.state(), ExecutionState::Running);
    assert!(cancelled.cancel_request_time.is_some());
    let told = executor.beat(1, &[&grant]).await;
    assert_eq!(told.instructions[0].command(), fleet::LeaseCommand::Cancel);
    let words = explain(&tenant, &run.id).await.summary;
    assert!(words.contains("A cancellation was requested"), "{words}");
    let again = cancel(&tenant, &run.id, "another reason").await;
    assert_eq!(again.cancel_request_time, cancelled.cancel_request_time, "asking again changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_ends_as_unavailable_when_the_server_stops() {
    let (stack, tenant) = stack_without_executors(1).await;
    let run = tenant.trigger("single", "main").await;
    let mut watched = watch(&tenant, &run.id).await.expect("a watch");
    assert_eq!(next(&mut watched).await, Some(ExecutionState::Queued));
    stack.end().await;
    let end = watched.message().await.expect_err("an early end");
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    assert!(end.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_can_be_filtered_by_plan_config_state_time() {
    let (_stack, tenant) = stack_without_executors(1).await;
    tenant.config("other", &serde_json::json!({"base_url": "http://127.0.0.1:1"})).await;
    tenant.plan("second", &plans::single()).await;
    let main = tenant.trigger("single", "main").await;
    let pending = tenant.trigger("single", "main").await;
    let other = tenant.trigger("single", "other").await;
    let second = tenant.trigger("second", "main").await;

    let all = v1::ListExecutionsRequest::default();
    let of_plan = v1::ListExecutionsRequest { plan: "single".to_owned(), ..all.clone() };
    let of_config = v1::ListExecutionsRequest { config: "main".to_owned(), ..of_plan.clone() };
    let is_pending =
        v1::ListExecutionsRequest { states: vec![ExecutionState::Pending.into()], ..all.clone() };
    let later = v1::ListExecutionsRequest { created_from: other.create_time, ..all.clone() };
    let earlier = v1::ListExecutionsRequest { created_before: other.create_time, ..all.clone() };
    let long_ago = Some(Timestamp { seconds: 1, nanos: 0 });
    let none = v1::ListExecutionsRequest { created_before: long_ago, ..all.clone() };
    let cases: [(_, &[&v1::Execution]); 7] = [
        (all, &[&second, &other, &pending, &main]),
        (of_plan.clone(), &[&other, &pending, &main]),
        (of_config, &[&pending, &main]),
        (is_pending, &[&pending]),
        (later, &[&second, &other]),
        (earlier, &[&pending, &main]),
        (none, &[]),
    ];
    for (request, expected) in cases {
        let listed = list(&tenant, request.clone()).await.expect("executions").executions;
        let ids: Vec<&str> = listed.iter().map(|run| run.id.as_str()).collect();
        let expected: Vec<&str> = expected.iter().map(|run| run.id.as_str()).collect();
        assert_eq!(ids, expected, "{request:?}");
    }

    let page = v1::ListExecutionsRequest { page_size: 2, ..of_plan.clone() };
    let first = list(&tenant, page.clone()).await.expect("a page");
    let rest = v1::ListExecutionsRequest { page_token: first.next_page_token.clone(), ..page.clone() };
    let last = list(&tenant, rest.clone()).await.expect("the last page");
    assert_eq!((last.executions.len(), last.next_page_token.as_str()), (1, ""));
    assert_eq!(last.executions[0].id, main.id);
    let of_another = v1::ListExecutionsRequest { plan: "second".to_owned(), ..rest };
    let refused = list(&tenant, of_another).await.expect_err("a token of another list");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_request_field_is_named() {
    let (_stack, tenant) = stack_without_executors(1).await;
    let all = v1::ListExecutionsRequest::default;
    let cases = [
        ("/page_size", v1::ListExecutionsRequest { page_size: -1, ..all() }),
        ("/page_token", v1::ListExecutionsRequest { page_token: "x".to_owned(), ..all() }),
        ("/plan", v1::ListExecutionsRequest { config: "main".to_owned(), ..all() }),
        ("/states/0", v1::ListExecutionsRequest { states: vec![77], ..all() }),
    ];
    let named = |refused: &Status, field: &str| {
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let details = refused.get_details_bad_request().expect("field violations");
        assert_eq!(details.field_violations[0].field, field);
    };
    for (field, request) in cases {
        named(&list(&tenant, request).await.expect_err("a refusal"), field);
    }
    let get = v1::GetExecutionRequest { id: "42".to_owned() };
    let refused = tenant.executions().get_execution(tenant.request(get)).await.expect_err("a refusal");
    named(&refused, "/id");
    assert!(refused.message().contains("\"42\""), "{refused:?}");

    let unknown = uuid::Uuid::now_v7().to_string();
    let refused = watch(&tenant, &unknown).await.expect_err("nothing to watch");
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    assert!(refused.message().contains(&unknown), "{refused:?}");
}
