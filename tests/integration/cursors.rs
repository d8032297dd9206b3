//! Cursors and validators, which steps keep between executions and save with the checkpoint.

use std::collections::BTreeMap;

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1;
use orchid_tests::{ScriptedExecutor, Tenant, TestStack};
use serde_json::json;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, checkpoint, complete, end, save};

const COUNT: &str = "SELECT count(*) FROM cursors";

fn cursor(item: &str, json: impl Into<bytes::Bytes>) -> fleet::Cursor {
    fleet::Cursor {
        kind: fleet::CursorKind::Cursor.into(),
        step: "one".to_owned(),
        item: item.to_owned(),
        json: json.into(),
    }
}

fn validator(item: &str, json: &'static str) -> fleet::Cursor {
    fleet::Cursor { kind: fleet::CursorKind::Validator.into(), ..cursor(item, json) }
}

fn with(grant: &fleet::LeaseGrant, seq: i64, cursor_changes: Vec<fleet::Cursor>) -> fleet::CheckpointItem {
    fleet::CheckpointItem { cursor_changes, ..checkpoint(grant, seq, b"{}") }
}

fn ok(results: &[fleet::ItemResult]) {
    for result in results {
        assert_eq!(result.status(), fleet::LeaseStatus::Ok, "{result:?}");
    }
}

fn refused(results: &[fleet::ItemResult], words: &str) {
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(results[0].status(), fleet::LeaseStatus::Invalid, "{results:?}");
    assert!(results[0].detail.contains(words), "{results:?}");
}

/// Kind and item, with the JSON text of the cursor.
fn texts(cursors: &[fleet::Cursor]) -> BTreeMap<(&'static str, &str), &str> {
    cursors
        .iter()
        .map(|cursor| {
            assert_eq!(cursor.step, "one");
            let kind = if cursor.kind() == fleet::CursorKind::Cursor { "cursor" } else { "validator" };
            ((kind, cursor.item.as_str()), std::str::from_utf8(&cursor.json).expect("text"))
        })
        .collect()
}

async fn triggered(tenant: &Tenant, executor: &ScriptedExecutor, seq: i64) -> fleet::LeaseGrant {
    tenant.trigger("single", "main").await;
    acquire_one(executor, seq).await
}

async fn from_run_to_run(placement_groups: u32) {
    let (stack, tenant) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let first = triggered(&tenant, &executor, 1).await;
    assert_eq!(first.cursors, []);
    let etag = r#"{"etag":"W/\"1\""}"#;
    ok(&save(&executor, vec![with(&first, 1, vec![cursor("", "1"), validator("", etag)])]).await);
    ok(&save(&executor, vec![with(&first, 2, vec![cursor("7", "\"a\"")])]).await);
    // A late or repeated checkpoint neither overwrites the later cursors nor writes its own.
    ok(&save(&executor, vec![with(&first, 1, vec![cursor("7", "\"old\"")])]).await);
    ok(&save(&executor, vec![with(&first, 2, vec![cursor("", "0")])]).await);
    let last = vec![cursor("", "12345678901234567890123"), cursor("8\u{0}", "\"b\"")];
    ok(&end(&executor, with(&first, 3, last), fleet::ExecutionOutcome::Succeeded).await.results);

    let second = triggered(&tenant, &executor, 2).await;
    assert!(!second.context_omitted);
    let kept = [
        (("cursor", ""), "12345678901234567890123"),
        (("cursor", "7"), "\"a\""),
        (("cursor", "8\u{0}"), "\"b\""),
        (("validator", ""), etag),
    ];
    assert_eq!(texts(&second.cursors), BTreeMap::from(kept));

    // An attempt that lost its lease saves nothing; a failed execution keeps what it saved.
    let park = fleet::ReleaseItem {
        checkpoint: Some(fleet::CheckpointItem {
            lease_token: second.lease_token.clone(),
            ..fleet::CheckpointItem::default()
        }),
        reason: fleet::ReleaseReason::Drained.into(),
        error: None,
    };
    let request = executor.request(fleet::ReleaseRequest { items: vec![park] });
    ok(&executor.client().release(request).await.expect("a response").into_inner().results);
    let third = acquire_one(&executor, 3).await;
    let late = save(&executor, vec![with(&second, 8, vec![cursor("7", "\"late\"")])]).await;
    assert_eq!(late[0].status(), fleet::LeaseStatus::Fenced, "{late:?}");
    ok(&save(&executor, vec![with(&third, 1, vec![cursor("9", "\"c\"")])]).await);
    ok(&end(&executor, with(&third, 2, vec![cursor("9", "\"d\"")]), fleet::ExecutionOutcome::Failed)
        .await
        .results);
    let fourth = triggered(&tenant, &executor, 4).await;
    let mut kept = BTreeMap::from(kept);
    kept.insert(("cursor", "9"), "\"d\"");
    assert_eq!(texts(&fourth.cursors), kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_persist_and_late_calls_do_not_regress_them() {
    from_run_to_run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_persist_with_eight_groups() {
    from_run_to_run(8).await;
}

async fn overridden(
    tenant: &Tenant,
    executor: &ScriptedExecutor,
    seq: i64,
    persist_context: bool,
) -> fleet::LeaseGrant {
    let trigger = v1::TriggerPlanRequest {
        key: "single".to_owned(),
        config: "main".to_owned(),
        context_override_json: "{}".to_owned(),
        persist_context,
        ..v1::TriggerPlanRequest::default()
    };
    tenant.plans().trigger_plan(tenant.request(trigger)).await.expect("a run");
    acquire_one(executor, seq).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn override_execution_saves_cursors_only_if_asked() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let first = triggered(&tenant, &executor, 1).await;
    ok(&end(&executor, with(&first, 1, vec![cursor("", "1")]), fleet::ExecutionOutcome::Succeeded)
        .await
        .results);
    for (seq, persist, then) in [(2, false, "1"), (3, true, "2")] {
        let run = overridden(&tenant, &executor, seq, persist).await;
        assert_eq!(texts(&run.cursors), BTreeMap::from([(("cursor", ""), "1")]));
        ok(&save(&executor, vec![with(&run, 1, vec![cursor("", "2")])]).await);
        ok(&end(&executor, with(&run, 2, vec![validator("u", "{}")]), fleet::ExecutionOutcome::Succeeded)
            .await
            .results);
        let stored =
            stack.database.execute("SELECT convert_from(value, 'UTF8') FROM cursors WHERE kind = 'cursor'");
        assert_eq!(stored, then, "persist_context: {persist}");
    }
    assert_eq!(stack.database.number(COUNT), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_context_is_fetched_separately() {
    let (stack, tenant) = scripted_executor::stack(8, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let first = triggered(&tenant, &executor, 1).await;
    let half = format!("\"{}\"", "x".repeat(40_000));
    let context = fleet::ContextChange { name: "since".to_owned(), json: Some(half.clone().into()) };
    let last = fleet::CheckpointItem {
        context_changes: vec![context],
        ..with(&first, 1, vec![cursor("", half.clone())])
    };
    ok(&end(&executor, last, fleet::ExecutionOutcome::Succeeded).await.results);
    let second = triggered(&tenant, &executor, 2).await;
    assert!(second.context_omitted, "80,000 bytes together");
    assert_eq!((second.context.len(), second.cursors.len()), (0, 0));
    let ask = fleet::FetchContextRequest { lease_token: second.lease_token.clone() };
    let apart =
        executor.client().fetch_context(executor.request(ask)).await.expect("a response").into_inner();
    assert_eq!(apart.context[0].json, half);
    assert_eq!(texts(&apart.cursors), BTreeMap::from([(("cursor", ""), half.as_str())]));
}

/// Adds cursors of the plan and config up to this number.
fn fill(stack: &TestStack, count: u32) {
    stack.database.execute(&format!(
        "INSERT INTO cursors SELECT s.tenant_id, s.plan_id, s.config_id, 'cursor', 'one', convert_to(n::text, 'UTF8'), '1', \
           s.plan_id, now() FROM schedules s, generate_series(1, {count}) AS n"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_excess_cursors_are_refused() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let run = triggered(&tenant, &executor, 1).await;
    let large = "1".repeat(65_537);
    refused(&save(&executor, vec![with(&run, 1, vec![cursor("", large)])]).await, "CURSOR_TOO_LARGE");
    refused(&save(&executor, vec![with(&run, 1, vec![cursor(&"i".repeat(1022), "1")])]).await, "1025 bytes");
    refused(&save(&executor, vec![with(&run, 1, vec![cursor("", "{")])]).await, "is not JSON");
    let unknown = fleet::Cursor { kind: 0, ..cursor("", "1") };
    let request = fleet::CheckpointRequest { items: vec![with(&run, 1, vec![unknown])] };
    let status = executor.client().checkpoint(executor.request(request)).await.expect_err("no kind");
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");

    fill(&stack, 100_000);
    ok(&save(&executor, vec![with(&run, 1, vec![cursor("1", "2"), cursor("100000", "2")])]).await);
    let more = || vec![cursor("1", "3"), cursor("new", "3")];
    refused(&save(&executor, vec![with(&run, 2, more())]).await, "TOO_MANY_CURSORS");
    let refusal = end(&executor, with(&run, 2, more()), fleet::ExecutionOutcome::Succeeded).await;
    refused(&refusal.results, "100001 cursors");
    assert_eq!(
        stack.database.number("SELECT count(*) FROM cursors WHERE value = '3'"),
        0,
        "nothing of it is saved"
    );
    ok(&complete(&executor, &run, fleet::ExecutionOutcome::Failed).await.results);

    let next = triggered(&tenant, &executor, 2).await;
    assert!(next.context_omitted);
    let ask = fleet::FetchContextRequest { lease_token: next.lease_token.clone() };
    let apart =
        executor.client().fetch_context(executor.request(ask)).await.expect("a response").into_inner();
    assert_eq!(apart.cursors.len(), 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_are_deleted_with_their_plan_or_config() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    tenant.config("other", &json!({"base_url": "http://127.0.0.1:1"})).await;
    tenant.plan("second", &plans::single()).await;
    for (number, (plan, config)) in
        [("single", "main"), ("single", "other"), ("second", "main")].into_iter().enumerate()
    {
        tenant.trigger(plan, config).await;
        let run = acquire_one(&executor, number as i64 + 1).await;
        assert_eq!(run.cursors, [], "{plan} {config}");
        ok(&end(&executor, with(&run, 1, vec![cursor("", "1")]), fleet::ExecutionOutcome::Succeeded)
            .await
            .results);
    }
    assert_eq!(stack.database.number(COUNT), 3);
    let delete = v1::DeleteConfigRequest {
        integration: "shop".to_owned(),
        key: "other".to_owned(),
        etag: String::new(),
    };
    tenant.configs().delete_config(tenant.request(delete)).await.expect("deleted");
    assert_eq!(stack.database.number(COUNT), 2);
    let delete = v1::DeletePlanRequest { key: "single".to_owned(), etag: String::new() };
    tenant.plans().delete_plan(tenant.request(delete)).await.expect("deleted");
    assert_eq!(stack.database.number(COUNT), 1);
}
