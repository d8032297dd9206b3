//! Reports that cannot be stored: each concerns its own execution, never others.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::{Execution, ExecutionState};
use orchid_tests::{FakeUpstream, ScriptedExecutor, StackOptions, Tenant, TestStack, UpstreamReply};
use serde_json::json;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, checkpoint, save};

/// Refuses every report whose error contains this word, as the database refuses a NUL.
const REFUSE: &str = "ALTER TABLE execution_history ADD CONSTRAINT refuse CHECK (detail NOT LIKE '%poison%')";

fn failed(grant: &fleet::LeaseGrant, message: &str) -> fleet::CompleteItem {
    let error = fleet::ExecutionError {
        class: "permanent".to_owned(),
        code: "UNREADABLE".to_owned(),
        message: message.to_owned(),
        response_excerpt: message.to_owned(),
        ..fleet::ExecutionError::default()
    };
    fleet::CompleteItem {
        checkpoint: Some(checkpoint(grant, 9, b"{}")),
        outcome: fleet::ExecutionOutcome::Failed.into(),
        error: Some(error),
        ..fleet::CompleteItem::default()
    }
}

/// Triggers one execution for each of some configs, and acquires a lease on each.
async fn leases(tenant: &Tenant, executor: &ScriptedExecutor, count: usize) -> Vec<fleet::LeaseGrant> {
    for number in 1..count {
        tenant.config(&format!("c{number}"), &json!({"base_url": "http://127.0.0.1:1"})).await;
    }
    let mut executions = vec![tenant.trigger("single", "main").await.id];
    for number in 1..count {
        executions.push(tenant.trigger("single", &format!("c{number}")).await.id);
    }
    let mut grants = Vec::new();
    for seq in 1.. {
        grants.extend(executor.acquire(seq).await);
        if grants.len() == count {
            break;
        }
    }
    grants.sort_by_key(|grant| executions.iter().position(|id| *id == grant.execution_id));
    grants
}

async fn fails_alone(placement_groups: u32) {
    let (stack, tenant) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let grants = leases(&tenant, &executor, 4).await;

    stack.database.execute("ALTER TABLE checkpoints ADD CONSTRAINT refuse CHECK (seq <> 66)");
    let items = [1, 66, 3, 4].iter().zip(&grants).map(|(seq, grant)| checkpoint(grant, *seq, b"{}"));
    let saved = save(&executor, items.collect()).await;
    use fleet::LeaseStatus::{Invalid, Ok};
    let statuses: Vec<_> = saved.iter().map(fleet::ItemResult::status).collect();
    assert_eq!(statuses, [Ok, Invalid, Ok, Ok], "{saved:?}");
    assert!(saved[1].detail.contains("SQLSTATE 23514"), "{saved:?}");
    assert_eq!(stack.database.number("SELECT count(*) FROM checkpoints"), 3);

    stack.database.execute(REFUSE);
    let words = ["first", "second", "the poison", "fourth"];
    let items = words.iter().zip(&grants).map(|(word, grant)| failed(grant, word)).collect();
    let request = executor.request(fleet::CompleteRequest { items, acquire: None });
    let ended = executor.client().complete(request).await.expect("a response").into_inner();
    let statuses: Vec<_> = ended.results.iter().map(fleet::ItemResult::status).collect();
    assert_eq!(statuses, [Ok, Ok, Invalid, Ok], "{ended:?}");
    assert_eq!(ended.announcements.len(), 3);
    for (grant, word) in grants.iter().zip(words) {
        let execution = tenant.execution(&grant.execution_id).await;
        let expected = if word.contains("poison") { ExecutionState::Running } else { ExecutionState::Failed };
        assert_eq!(execution.state(), expected, "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_that_cannot_be_stored_is_refused_alone() {
    fails_alone(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_that_cannot_be_stored_is_refused_alone_with_eight_groups() {
    fails_alone(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_characters_of_an_upstream_reach_no_row() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    let execution = tenant.trigger("single", "main").await;
    let grant = acquire_one(&executor, 1).await;
    let beat = fleet::HeartbeatRequest {
        heartbeat_seq: 1,
        resolved_acquire_seq: 1,
        leases: vec![fleet::ActiveLease {
            lease_token: grant.lease_token.clone(),
            last_request: "GET http://127.0.0.1:1/\0".to_owned(),
            attempt_ms: 5,
        }],
        ..fleet::HeartbeatRequest::default()
    };
    executor.client().heartbeat(executor.request(beat)).await.expect("a response");
    let park = fleet::ParkItem {
        // The sum of running times must not overflow either.
        checkpoint: Some(fleet::CheckpointItem { attempt_ms: i64::MAX, ..checkpoint(&grant, 1, b"{}") }),
        not_before: Some(SystemTime::from(orchid_kit::clock::utc_now()).into()),
        reason: "Retry-After: \0".to_owned(),
    };
    let request = executor.request(fleet::ParkRequest { items: vec![park] });
    let parked = executor.client().park(request).await.expect("a response").into_inner();
    assert_eq!(parked.results[0].status(), fleet::LeaseStatus::Ok, "{parked:?}");
    let parked = tenant.execution(&execution.id).await;
    assert_eq!(parked.waiting_for, "Retry-After: \u{fffd}");

    let grant = acquire_one(&executor, 2).await;
    let item = failed(&grant, "it has the entity &x\0y;\u{1b}[2J");
    let item = fleet::CompleteItem {
        checkpoint: Some(fleet::CheckpointItem { attempt_ms: i64::MAX, ..checkpoint(&grant, 9, b"{}") }),
        ..item
    };
    let request = executor.request(fleet::CompleteRequest { items: vec![item], acquire: None });
    let ended = executor.client().complete(request).await.expect("a response").into_inner();
    assert_eq!(ended.results[0].status(), fleet::LeaseStatus::Ok, "{ended:?}");
    let error = tenant.execution(&execution.id).await.error.expect("an error");
    assert_eq!(error.message, "it has the entity &x\u{fffd}y;\u{fffd}[2J");
}

/// Returns the error with which an execution failed.
fn error_of(execution: &Execution) -> (String, String, String) {
    assert_eq!(execution.state(), ExecutionState::Failed, "{execution:#?}");
    let error = execution.error.clone().expect("an error");
    (error.class, error.code, error.message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poisoned_ends_do_not_delay_another_tenant() {
    let upstream = FakeUpstream::start(|request| {
        let xml = |body: &'static [u8]| {
            let headers = vec![("content-type", "application/xml".to_owned())];
            UpstreamReply::Raw(200, headers, Bytes::from_static(body))
        };
        match request.path.as_str() {
            "/nul/one" => xml(b"<a>&x\0y;</a>"),
            "/poison/one" => xml(b"<a>&poison;</a>"),
            _ => UpstreamReply::ok(json!({})),
        }
    })
    .await;
    let stack = TestStack::start(StackOptions::default()).await;
    stack.database.execute(REFUSE);
    let (hostile, other) = (stack.tenant().await, stack.tenant().await);
    for tenant in [&hostile, &other] {
        tenant.shop(&upstream.url()).await;
        tenant.plan("single", &plans::single()).await;
    }
    for number in 0..7 {
        let path = if number == 0 { "nul" } else { "poison" };
        let url = format!("{}/{path}", upstream.url());
        hostile.config(&format!("c{number}"), &json!({"base_url": url})).await;
    }
    // More of them than an executor has calls in flight.
    let mut poisoned = Vec::new();
    for number in 0..7 {
        poisoned.push(hostile.trigger("single", &format!("c{number}")).await.id);
    }
    let started = std::time::Instant::now();
    for _ in 0..10 {
        other.success_of(&other.trigger("single", "main").await.id).await;
    }
    let took = started.elapsed();
    let (class, code, message) = error_of(&hostile.end_of(&poisoned[0]).await);
    assert_eq!((class.as_str(), code.as_str()), ("permanent", "DECODE"), "{message}");
    assert!(message.contains("&x\u{fffd}y;"), "{message}");
    for id in &poisoned[1..] {
        let (class, code, message) = error_of(&hostile.end_of(id).await);
        assert_eq!((class.as_str(), code.as_str()), ("system", "REPORT_REFUSED"), "{message}");
        assert!(message.contains("SQLSTATE 23514"), "{message}");
    }
    // Ten runs take about a second here. Held up by back-offs they took minutes.
    assert!(took < Duration::from_secs(30), "{took:?}");
    stack.end().await;
}
