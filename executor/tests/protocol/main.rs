//! The executor's side of the lease protocol, against a scripted control plane that loses responses
//! on demand.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation ends the test"
)]

mod control_plane;
mod harness;

use std::sync::atomic::Ordering;
use std::time::Duration;

use orchid_proto::executor::v1 as wire;
use serde_json::json;

use crate::harness::{Harness, TENANT, eventually};

const TTL_MS: i64 = 3_000;

#[tokio::test]
async fn rung_execution_reaches_kafka_and_completes() {
    let harness = Harness::start(TTL_MS).await;
    let grant = harness.grant(3);
    {
        let mut state = harness.control_plane.state();
        state.only_rung = true;
        state.ready.push(grant.clone());
    }
    let app = harness.executor("").await;
    harness.ring(&grant).await;
    harness.completed(1).await;
    {
        let state = harness.control_plane.state();
        let complete = &state.completes[0];
        assert_eq!(complete.outcome(), wire::ExecutionOutcome::Succeeded, "{complete:?}");
        let checkpoint = complete.checkpoint.as_ref().unwrap();
        assert_eq!(checkpoint.lease_token, grant.lease_token);
        assert_eq!(checkpoint.progress.as_ref().unwrap().messages, 3);
    }
    harness.doorbell_emptied().await;
    let pages: Vec<_> =
        harness.kafka.read("api-responses").iter().map(|record| record.payload["page"].clone()).collect();
    assert_eq!(pages, [0, 1, 2]);
    let events = harness.kafka.read("execution-events");
    assert_eq!(events[0].header("type"), "execution.started");
    assert_eq!(events[0].header("orchid-fence"), "5");
    app.stop().await.unwrap();
}

#[tokio::test]
async fn doorbell_works_after_redis_was_wiped() {
    let harness = Harness::start(TTL_MS).await;
    let (first, second) = (harness.grant(1), harness.grant(1));
    {
        let mut state = harness.control_plane.state();
        state.only_rung = true;
        state.ready.push(second.clone());
    }
    let app = harness.executor("").await;
    harness.ring(&first).await;
    eventually("a call for the first", || {
        let state = harness.control_plane.state();
        state.acquires.iter().any(|acquire| !acquire.executions.is_empty()).then_some(())
    })
    .await;
    harness.wipe_redis().await;
    harness.ring(&second).await;
    harness.completed(1).await;
    app.stop().await.unwrap();
    assert_eq!(harness.doorbell_entries().await, 0);
}

#[tokio::test]
async fn lost_acquire_response_is_requested_again_with_its_seq() {
    let harness = Harness::start(TTL_MS).await;
    {
        let mut state = harness.control_plane.state();
        state.lost_acquire_responses = 2;
        state.ready.push(harness.grant(1));
    }
    let app = harness.executor("").await;
    harness.completed(1).await;
    {
        let state = harness.control_plane.state();
        assert_eq!(state.completes.len(), 1);
        let granted = state.completes[0].checkpoint.as_ref().unwrap().lease_token.clone();
        let repeated =
            state.acquires.windows(2).filter(|pair| pair[0].acquire_seq == pair[1].acquire_seq).count();
        assert_eq!(repeated, 2, "{:?}", state.acquires);
        assert!(!granted.is_empty());
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn acquire_call_that_the_server_fails_at_is_not_repeated() {
    let harness = Harness::start(TTL_MS).await;
    {
        let mut state = harness.control_plane.state();
        state.failed_acquires = 3;
        state.ready.push(harness.grant(1));
    }
    let app = harness.executor("").await;
    harness.completed(1).await;
    {
        let state = harness.control_plane.state();
        let mut seqs: Vec<i64> = state.acquires.iter().map(|acquire| acquire.acquire_seq).collect();
        let calls = seqs.len();
        seqs.dedup();
        assert_eq!(seqs.len(), calls, "each failed call was given up: {:?}", state.acquires);
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn end_that_the_server_fails_at_is_given_up_alone() {
    let harness = Harness::start(TTL_MS).await;
    let poisoned: Vec<_> = (0..6).map(|_| harness.grant(1)).collect();
    {
        let mut state = harness.control_plane.state();
        state.poisoned = poisoned.iter().map(|grant| grant.lease_token.clone()).collect();
        state.ready.extend(poisoned.iter().cloned());
    }
    let app = harness.executor("slots = 16").await;
    eventually("all poisoned ones have run", || {
        (harness.upstream.request_count.load(Ordering::Relaxed) >= 6).then_some(())
    })
    .await;
    harness.control_plane.state().ready.extend((0..5).map(|_| harness.grant(1)));
    harness.completed(11).await;
    {
        let state = harness.control_plane.state();
        for complete in &state.completes {
            let token = &complete.checkpoint.as_ref().unwrap().lease_token;
            if !state.poisoned.contains(token) {
                assert_eq!(complete.outcome(), wire::ExecutionOutcome::Succeeded, "{complete:?}");
                continue;
            }
            let error = complete.error.as_ref().unwrap();
            assert_eq!((error.class.as_str(), error.code.as_str()), ("system", "REPORT_REFUSED"));
            assert!(error.message.contains("internal error, trace 7"), "{error:?}");
        }
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn lease_is_listed_until_its_complete_succeeds() {
    let harness = Harness::start(900).await;
    {
        let mut state = harness.control_plane.state();
        state.hold_completes = true;
        state.ready.push(harness.grant(1));
    }
    let app = harness.executor("").await;
    eventually("a heartbeat with the lease", || {
        let state = harness.control_plane.state();
        let heartbeat = state.heartbeats.iter().find(|heartbeat| !heartbeat.leases.is_empty())?;
        let last_request = heartbeat.leases[0].last_request.clone();
        (heartbeat.resolved_acquire_seq >= 1 && last_request.starts_with("GET http://")).then_some(())
    })
    .await;
    harness.control_plane.state().hold_completes = false;
    harness.completed(1).await;
    let listed = harness.control_plane.state().heartbeats.len();
    eventually("a heartbeat without the lease", || {
        let state = harness.control_plane.state();
        state.heartbeats.iter().skip(listed + 1).any(|heartbeat| heartbeat.leases.is_empty()).then_some(())
    })
    .await;
    app.stop().await.unwrap();
}

#[tokio::test]
async fn work_is_found_by_polling_without_redis() {
    let mut harness = Harness::start(TTL_MS).await;
    harness.redis = None;
    harness.control_plane.state().ready.push(harness.grant(2));
    let app = harness.executor("").await;
    harness.completed(1).await;
    assert!(harness.control_plane.state().acquires.iter().all(|acquire| acquire.executions.is_empty()));
    app.stop().await.unwrap();
}

#[tokio::test]
async fn expired_session_loses_its_leases_and_a_new_one_starts() {
    let harness = Harness::start(600).await;
    harness.upstream.delay_ms.store(60_000, Ordering::Relaxed);
    harness.control_plane.state().ready.push(harness.grant(1));
    let app = harness.executor("").await;
    eventually("a heartbeat with the lease", || {
        let state = harness.control_plane.state();
        state.heartbeats.iter().any(|heartbeat| !heartbeat.leases.is_empty()).then_some(())
    })
    .await;
    harness.control_plane.state().expire_session = true;
    eventually("a second session", || (harness.control_plane.state().sessions.len() == 2).then_some(()))
        .await;
    let heartbeats = harness.control_plane.state().heartbeats.len();
    eventually("a heartbeat of the second session", || {
        let state = harness.control_plane.state();
        let heartbeat =
            state.heartbeats.iter().skip(heartbeats).find(|heartbeat| heartbeat.heartbeat_seq == 1)?;
        assert!(heartbeat.leases.is_empty());
        Some(())
    })
    .await;
    {
        let state = harness.control_plane.state();
        assert!(state.completes.is_empty() && state.parks.is_empty() && state.releases.is_empty());
    }
    harness.upstream.delay_ms.store(0, Ordering::Relaxed);
    harness.control_plane.state().ready.push(harness.grant(1));
    harness.completed(1).await;
    app.stop().await.unwrap();
}

#[tokio::test]
async fn more_executions_than_slots_all_complete_once() {
    let harness = Harness::start(TTL_MS).await;
    let grants: Vec<_> = (0..300).map(|_| harness.grant(2)).collect();
    harness.control_plane.state().ready.extend(grants);
    let app = harness.executor("slots = 16").await;
    harness.completed(300).await;
    {
        let state = harness.control_plane.state();
        let mut tokens: Vec<_> = state
            .completes
            .iter()
            .map(|item| item.checkpoint.as_ref().unwrap().lease_token.clone())
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!((state.completes.len(), tokens.len()), (300, 300));
        assert!(state.heartbeats.iter().all(|heartbeat| heartbeat.leases.len() <= 16));
        assert!(state.acquires.iter().all(|acquire| acquire.max_leases <= 16));
    }
    assert_eq!(harness.kafka.read("api-responses").len(), 600);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn executor_pauses_while_no_heartbeat_is_accepted() {
    let harness = Harness::start(1_000).await;
    harness.upstream.delay_ms.store(20, Ordering::Relaxed);
    harness.control_plane.state().ready.push(harness.grant(400));
    let app = harness.executor("").await;
    let requests = || harness.upstream.request_count.load(Ordering::Relaxed);
    eventually("the first requests", || (requests() > 5).then_some(())).await;
    harness.control_plane.state().ignore_heartbeats = true;
    let mut last = requests();
    let mut still = 0;
    eventually("no further requests", || {
        let now = requests();
        still = if now == last { still + 1 } else { 0 };
        last = now;
        (still > 20).then_some(())
    })
    .await;
    assert!(last < 400, "it paused before the end");
    let produced = harness.kafka.read("api-responses").len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(harness.kafka.read("api-responses").len(), produced, "nothing is produced during the pause");
    harness.control_plane.state().ignore_heartbeats = false;
    harness.completed(1).await;
    let records = harness.kafka.read("api-responses");
    let mut pages: Vec<_> = records.iter().map(|record| record.payload["page"].as_u64().unwrap()).collect();
    pages.dedup();
    pages.sort_unstable();
    pages.dedup();
    assert_eq!(pages, (0..400).collect::<Vec<u64>>());
    app.stop().await.unwrap();
}

#[tokio::test]
async fn drain_releases_executions_at_their_last_checkpoint() {
    let harness = Harness::start(TTL_MS).await;
    harness.upstream.delay_ms.store(50, Ordering::Relaxed);
    harness.control_plane.state().ready.push(harness.grant(100_000));
    let app = harness.executor("drain_ms = 6000").await;
    eventually("the first requests", || {
        (harness.upstream.request_count.load(Ordering::Relaxed) > 5).then_some(())
    })
    .await;
    app.stop().await.unwrap();
    let state = harness.control_plane.state();
    assert!(state.completes.is_empty());
    let release = &state.releases[0];
    assert_eq!(release.reason(), wire::ReleaseReason::Drained);
    let checkpoint = release.checkpoint.as_ref().unwrap();
    assert!(checkpoint.seq > 0 && !checkpoint.resume_state.is_empty());
    assert!(state.heartbeats.iter().any(|heartbeat| heartbeat.draining));
    let pages = checkpoint.progress.as_ref().unwrap().pages;
    drop(state);
    let produced = harness.kafka.read("api-responses").len();
    assert_eq!(i64::try_from(produced).unwrap(), pages, "everything saved is in Kafka, and nothing more");
}

#[tokio::test]
async fn cancelled_lease_completes_and_lost_one_reports_nothing() {
    let harness = Harness::start(600).await;
    harness.upstream.delay_ms.store(60_000, Ordering::Relaxed);
    let (cancelled, lost) = (harness.grant(1), harness.grant(1));
    {
        let mut state = harness.control_plane.state();
        state.commands.insert(cancelled.lease_id.clone(), wire::LeaseCommand::Cancel);
        state.commands.insert(lost.lease_id.clone(), wire::LeaseCommand::Lost);
        state.ready.extend([cancelled.clone(), lost.clone()]);
    }
    let app = harness.executor("").await;
    harness.completed(1).await;
    eventually("a heartbeat without leases", || {
        let state = harness.control_plane.state();
        state.heartbeats.last().is_some_and(|heartbeat| heartbeat.leases.is_empty()).then_some(())
    })
    .await;
    {
        let state = harness.control_plane.state();
        assert_eq!(state.completes.len(), 1);
        assert_eq!(state.completes[0].outcome(), wire::ExecutionOutcome::Cancelled);
        assert_eq!(state.completes[0].checkpoint.as_ref().unwrap().lease_token, cancelled.lease_token);
        assert!(state.releases.is_empty());
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn execution_granted_to_be_cancelled_sends_no_request() {
    let harness = Harness::start(600).await;
    let grant = wire::LeaseGrant { cancel_requested: true, ..harness.grant(1) };
    {
        let mut state = harness.control_plane.state();
        // Every heartbeat response repeats the command.
        state.commands.insert(grant.lease_id.clone(), wire::LeaseCommand::Cancel);
        state.hold_completes = true;
        state.ready.push(grant.clone());
    }
    let app = harness.executor("").await;
    eventually("three heartbeats with the lease", || {
        let state = harness.control_plane.state();
        let lists = |heartbeat: &&wire::HeartbeatRequest| !heartbeat.leases.is_empty();
        (state.heartbeats.iter().filter(lists).count() >= 3).then_some(())
    })
    .await;
    harness.control_plane.state().hold_completes = false;
    harness.completed(1).await;
    app.stop().await.unwrap();
    let state = harness.control_plane.state();
    assert_eq!(state.completes.len(), 1);
    assert_eq!(state.completes[0].outcome(), wire::ExecutionOutcome::Cancelled);
    assert_eq!(harness.upstream.request_count.load(Ordering::Relaxed), 0);
}

/// Creates the grant of the next attempt of a parked execution.
fn next_grant(grant: &wire::LeaseGrant, park: &wire::ParkItem) -> wire::LeaseGrant {
    let wire::CheckpointItem { seq, resume_state, finished_steps, progress, .. } =
        park.checkpoint.clone().unwrap();
    let checkpoint = wire::SavedCheckpoint {
        seq,
        resume_state,
        finished_steps: finished_steps.unwrap_or_default(),
        progress,
    };
    let lease_id = uuid::Uuid::now_v7().to_string();
    wire::LeaseGrant {
        lease_token: lease_id.clone().into(),
        lease_id,
        attempt: grant.attempt + 1,
        fence: grant.fence + 1,
        checkpoint: Some(checkpoint),
        ..grant.clone()
    }
}

#[tokio::test]
async fn cancel_reaches_the_upstream_before_the_execution_ends() {
    let harness = Harness::start(600).await;
    let at = |path: &str| format!("{}/{path}", harness.upstream.url);
    let job = json!({"step": {"id": "report", "async_job": {
        "submit": {"url": at("reports"), "method": "POST"},
        "poll": {"url": at("reports/7")},
        "done_when": "response.body.page > `0`",
        "download": [{"url": at("reports/7/file")}],
        "cancel": {"url": at("reports/7"), "method": "DELETE"},
        "poll_wait": "1s",
    }}});
    let (parked, polling) = (harness.grant_of(&job), harness.grant_of(&job));
    harness.control_plane.state().ready.extend([parked.clone(), polling.clone()]);
    let app = harness.executor("").await;
    eventually("two parks", || (harness.control_plane.state().parks.len() == 2).then_some(())).await;
    // The first is not leased when it is cancelled: it is granted again for the cancel alone. The
    // second receives the cancel while it polls.
    harness.upstream.delay_ms.store(60_000, Ordering::Relaxed);
    let park_of = |grant: &wire::LeaseGrant| {
        let of_grant =
            |park: &&wire::ParkItem| park.checkpoint.as_ref().unwrap().lease_token == grant.lease_token;
        harness.control_plane.state().parks.iter().find(of_grant).unwrap().clone()
    };
    let parks = [park_of(&parked), park_of(&polling)];
    assert!(parks.iter().all(|park| park.checkpoint.as_ref().unwrap().needs_upstream_cancel == Some(true)));
    let to_cancel = wire::LeaseGrant { cancel_requested: true, ..next_grant(&parked, &parks[0]) };
    harness.control_plane.state().ready.push(to_cancel);
    harness.completed(1).await;
    assert_eq!(
        *harness.upstream.requests.lock().unwrap(),
        ["POST /reports", "POST /reports", "DELETE /reports/7"]
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let to_poll = next_grant(&polling, &parks[1]);
    harness.control_plane.state().ready.push(to_poll.clone());
    let polls =
        || harness.upstream.requests.lock().unwrap().last().is_some_and(|last| last == "GET /reports/7");
    eventually("a poll", || polls().then_some(())).await;
    harness.control_plane.state().commands.insert(to_poll.lease_id, wire::LeaseCommand::Cancel);
    harness.completed(2).await;
    assert_eq!(harness.upstream.requests.lock().unwrap()[3..], ["GET /reports/7", "DELETE /reports/7"]);
    app.stop().await.unwrap();
    let state = harness.control_plane.state();
    assert!(state.completes.iter().all(|complete| complete.outcome() == wire::ExecutionOutcome::Cancelled));
    let checkpoints = state.completes.iter().map(|complete| complete.checkpoint.as_ref().unwrap());
    let sent = |checkpoint: &wire::CheckpointItem| checkpoint.progress.as_ref().unwrap().requests;
    let mut sent: Vec<i64> = checkpoints.map(sent).collect();
    sent.sort_unstable();
    assert_eq!(sent, [2, 3], "the requests that cancel the jobs are counted");
}

#[tokio::test]
async fn submitted_job_is_saved_while_the_execution_runs_on() {
    let harness = Harness::start(600).await;
    let at = |path: &str| format!("{}/{path}", harness.upstream.url);
    // The second item holds the execution up: without a park, and without a message.
    let grant =
        harness.grant_of(&json!({"step": {"id": "report", "for_each": "['reports', 'never']", "async_job": {
            "submit": {"url": at("{{ item }}"), "method": "POST"},
            "poll": {"url": at("reports/7")},
            "done_when": "response.body.page > `0`",
            "download": [{"url": at("reports/7/file")}],
            "cancel": {"url": at("{{ item }}/7"), "method": "DELETE"},
        }}}));
    harness.control_plane.state().ready.push(grant.clone());
    let app = harness.executor("").await;
    let saved = eventually("a checkpoint of the job", || {
        let state = harness.control_plane.state();
        state.checkpoints.iter().find(|item| item.needs_upstream_cancel == Some(true)).cloned()
    })
    .await;
    assert!(!saved.resume_state.is_empty());
    // The cancel reaches an execution whose other submit is still in flight.
    harness.control_plane.state().commands.insert(grant.lease_id, wire::LeaseCommand::Cancel);
    harness.completed(1).await;
    app.stop().await.unwrap();
    assert_eq!(
        *harness.upstream.requests.lock().unwrap(),
        ["POST /reports", "POST /never", "DELETE /reports/7"]
    );
    let state = harness.control_plane.state();
    assert_eq!(state.completes[0].outcome(), wire::ExecutionOutcome::Cancelled);
    let last = state.completes[0].checkpoint.as_ref().unwrap();
    assert_eq!(last.needs_upstream_cancel, Some(false), "nothing is left to cancel");
}

#[tokio::test]
async fn checkpoint_refused_by_a_limit_fails_with_that_limit() {
    let harness = Harness::start(TTL_MS).await;
    harness.upstream.delay_ms.store(100, Ordering::Relaxed);
    {
        let mut state = harness.control_plane.state();
        state.refuse_checkpoints = Some(wire::ItemResult {
            status: wire::LeaseStatus::Invalid.into(),
            detail: "TOO_MANY_CURSORS: the plan would keep 100001 cursors".to_owned(),
            limit_code: "TOO_MANY_CURSORS".to_owned(),
            ..wire::ItemResult::default()
        });
        state.ready.push(harness.grant(100_000));
    }
    let app = harness.executor("").await;
    harness.completed(1).await;
    app.stop().await.unwrap();
    let state = harness.control_plane.state();
    let complete = &state.completes[0];
    let error = complete.error.as_ref().unwrap();
    assert_eq!(complete.outcome(), wire::ExecutionOutcome::Failed);
    assert_eq!(
        (error.class.as_str(), error.code.as_str(), error.message.as_str()),
        ("limit", "TOO_MANY_CURSORS", "the plan would keep 100001 cursors")
    );
}

#[tokio::test]
async fn announcement_reaches_both_topics_and_is_confirmed() {
    let harness = Harness::start(600).await;
    let key = wire::AnnouncementKey { tenant_id: TENANT.to_owned(), id: "a".to_owned() };
    harness.control_plane.state().announcements.push(wire::Announcement {
        key: Some(key),
        message_key: "k".to_owned(),
        headers: [("type".to_owned(), "execution.completed".to_owned())].into(),
        payload: "{}".into(),
    });
    let app = harness.executor("").await;
    eventually("the confirmation", || harness.control_plane.state().announcements.is_empty().then_some(()))
        .await;
    for topic in ["execution-events", "api-responses"] {
        let records = harness.kafka.read(topic);
        assert_eq!(records.len(), 1, "{topic}");
        assert_eq!(records[0].header("type"), "execution.completed");
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn unavailable_kafka_parks_at_the_last_acknowledgement() {
    let harness = Harness::start(TTL_MS).await;
    harness.upstream.delay_ms.store(20, Ordering::Relaxed);
    harness.control_plane.state().ready.push(harness.grant(100_000));
    let app = harness.executor("kafka.sink_timeout_ms = 1500").await;
    eventually("a checkpoint", || (!harness.control_plane.state().checkpoints.is_empty()).then_some(()))
        .await;
    harness.kafka.set_up(false);
    eventually("a park", || (!harness.control_plane.state().parks.is_empty()).then_some(())).await;
    let requests = harness.upstream.request_count.load(Ordering::Relaxed);
    let park = harness.control_plane.state().parks[0].clone();
    assert!(park.not_before.is_some());
    let checkpoint = park.checkpoint.unwrap();
    let saved = checkpoint.progress.unwrap().pages;
    harness.kafka.set_up(true);
    let produced = eventually("kafka responds", || Some(harness.kafka.read("api-responses").len())).await;
    assert!(i64::try_from(produced).unwrap() >= saved, "everything saved is in Kafka");
    assert!(i64::try_from(requests).unwrap() <= saved + 129, "fetching stops: {requests} {saved}");
    app.stop().await.unwrap();
}

#[tokio::test]
async fn invalid_grants_fail_and_large_contexts_are_fetched() {
    let harness = Harness::start(TTL_MS).await;
    let mut invalid_ca = harness.grant(1);
    if let Some(config) = &mut invalid_ca.config {
        config.transport =
            Some(wire::GrantedTransport { ca: "no pem".to_owned(), ..wire::GrantedTransport::default() });
    }
    let omitted = wire::LeaseGrant { context_omitted: true, ..harness.grant(1) };
    let expected = [
        (invalid_ca.lease_token.clone(), wire::ExecutionOutcome::Failed, Some("TRANSPORT_UNREADABLE")),
        (omitted.lease_token.clone(), wire::ExecutionOutcome::Succeeded, None),
    ];
    harness.control_plane.state().ready.extend([invalid_ca, omitted]);
    let app = harness.executor("").await;
    harness.completed(2).await;
    {
        let state = harness.control_plane.state();
        for (token, outcome, code) in expected {
            let of_lease =
                |item: &&wire::CompleteItem| item.checkpoint.as_ref().unwrap().lease_token == token;
            let complete = state.completes.iter().find(of_lease).unwrap();
            let found = complete.error.as_ref().map(|error| error.code.as_str());
            assert_eq!((complete.outcome(), found), (outcome, code), "{complete:?}");
        }
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn execution_that_does_not_compile_or_resume_is_released() {
    let harness = Harness::start(TTL_MS).await;
    let broken =
        wire::LeaseGrant { definition_json: "{}".into(), definition_hash: "x".into(), ..harness.grant(1) };
    let saved = wire::SavedCheckpoint {
        seq: 3,
        resume_state: r#"{"of": "another release"}"#.into(),
        ..wire::SavedCheckpoint::default()
    };
    let unknown = wire::LeaseGrant { checkpoint: Some(saved), ..harness.grant(1) };
    let expected = [
        (broken.lease_token.clone(), "PLAN_UNREADABLE", 0),
        (unknown.lease_token.clone(), "RUN_UNREADABLE", 3),
    ];
    harness.control_plane.state().ready.extend([broken, unknown]);
    let app = harness.executor("").await;
    eventually("two releases", || (harness.control_plane.state().releases.len() == 2).then_some(())).await;
    {
        let state = harness.control_plane.state();
        for (token, code, seq) in expected {
            let of_lease = |item: &&wire::ReleaseItem| item.checkpoint.as_ref().unwrap().lease_token == token;
            let release = state.releases.iter().find(of_lease).unwrap();
            assert_eq!(release.reason(), wire::ReleaseReason::Unsupported, "{release:?}");
            assert_eq!(release.error.as_ref().unwrap().code, code);
            // No new seq: the checkpoint of the other release stays as it is.
            assert!(release.checkpoint.as_ref().unwrap().seq <= seq, "{release:?}");
        }
        assert!(state.completes.is_empty());
    }
    app.stop().await.unwrap();
}
