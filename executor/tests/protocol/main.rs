//! The executor's side of the lease protocol, against a control plane that loses answers on demand.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds nothing ends there"
)]

mod control_plane;
mod stand;

use std::sync::atomic::Ordering;
use std::time::Duration;

use orchid_proto::executor::v1 as wire;
use serde_json::json;

use stand::{Stand, eventually};

const TTL_MS: i64 = 3_000;

async fn completed(stand: &Stand, runs: usize) {
    eventually("runs completed", || (stand.control_plane.state().completes.len() >= runs).then_some(()))
        .await;
}

fn of_run(stand: &Stand, topic: &str) -> Vec<stand::Record> {
    stand.kafka.read(topic)
}

#[tokio::test]
async fn a_rung_run_reaches_kafka_and_completes() {
    let stand = Stand::start(TTL_MS).await;
    let grant = stand.grant(3);
    {
        let mut state = stand.control_plane.state();
        state.only_rung = true;
        state.ready.push(grant.clone());
    }
    let app = stand.executor("").await;
    stand.ring(&grant).await;
    completed(&stand, 1).await;
    {
        let state = stand.control_plane.state();
        let complete = &state.completes[0];
        assert_eq!(complete.outcome(), wire::ExecutionOutcome::Succeeded, "{complete:?}");
        let checkpoint = complete.checkpoint.as_ref().unwrap();
        assert_eq!(checkpoint.lease_token, grant.lease_token);
        assert_eq!(checkpoint.progress.as_ref().unwrap().messages, 3);
    }
    let mut left = stand.rung().await;
    for _ in 0..50 {
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        left = stand.rung().await;
    }
    assert_eq!(left, 0, "the entry is acked and deleted");
    let pages: Vec<_> =
        of_run(&stand, "api-responses").iter().map(|record| record.payload["page"].clone()).collect();
    assert_eq!(pages, [0, 1, 2]);
    let events = of_run(&stand, "execution-events");
    assert_eq!(events[0].header("type"), "execution.started");
    assert_eq!(events[0].header("orchid-fence"), "5");
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_wiped_redis_rings_again_and_what_is_not_granted_is_deleted_too() {
    let stand = Stand::start(TTL_MS).await;
    let (first, second) = (stand.grant(1), stand.grant(1));
    {
        let mut state = stand.control_plane.state();
        state.only_rung = true;
        state.ready.push(second.clone());
    }
    let app = stand.executor("").await;
    stand.ring(&first).await;
    eventually("the first is asked for", || {
        let state = stand.control_plane.state();
        state.acquires.iter().any(|acquire| !acquire.executions.is_empty()).then_some(())
    })
    .await;
    stand.wipe().await;
    stand.ring(&second).await;
    completed(&stand, 1).await;
    app.stop().await.unwrap();
    assert_eq!(stand.rung().await, 0);
}

#[tokio::test]
async fn a_lost_acquire_answer_is_asked_for_again_with_its_own_seq() {
    let stand = Stand::start(TTL_MS).await;
    {
        let mut state = stand.control_plane.state();
        state.lose_acquire_answers = 2;
        state.ready.push(stand.grant(1));
    }
    let app = stand.executor("").await;
    completed(&stand, 1).await;
    {
        let state = stand.control_plane.state();
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
async fn a_lease_is_listed_in_beats_until_its_complete_is_answered() {
    let stand = Stand::start(900).await;
    {
        let mut state = stand.control_plane.state();
        state.hold_completes = true;
        state.ready.push(stand.grant(1));
    }
    let app = stand.executor("").await;
    eventually("a beat with the lease", || {
        let state = stand.control_plane.state();
        let beat = state.beats.iter().find(|beat| !beat.leases.is_empty())?;
        let last_request = beat.leases[0].last_request.clone();
        (beat.resolved_acquire_seq >= 1 && last_request.starts_with("GET http://")).then_some(())
    })
    .await;
    stand.control_plane.state().hold_completes = false;
    completed(&stand, 1).await;
    let listed = stand.control_plane.state().beats.len();
    eventually("a beat without it", || {
        let state = stand.control_plane.state();
        state.beats.iter().skip(listed + 1).any(|beat| beat.leases.is_empty()).then_some(())
    })
    .await;
    app.stop().await.unwrap();
}

#[tokio::test]
async fn without_redis_work_is_found_by_asking_for_any() {
    let mut stand = Stand::start(TTL_MS).await;
    stand.redis = None;
    stand.control_plane.state().ready.push(stand.grant(2));
    let app = stand.executor("").await;
    completed(&stand, 1).await;
    assert!(stand.control_plane.state().acquires.iter().all(|acquire| acquire.executions.is_empty()));
    app.stop().await.unwrap();
}

#[tokio::test]
async fn an_expired_session_loses_its_runs_and_a_new_one_begins_from_nothing() {
    let stand = Stand::start(600).await;
    stand.upstream.delay_ms.store(60_000, Ordering::Relaxed);
    stand.control_plane.state().ready.push(stand.grant(1));
    let app = stand.executor("").await;
    eventually("the run is listed", || {
        let state = stand.control_plane.state();
        state.beats.iter().any(|beat| !beat.leases.is_empty()).then_some(())
    })
    .await;
    stand.control_plane.state().expire_session = true;
    eventually("a second session", || (stand.control_plane.state().sessions.len() == 2).then_some(())).await;
    let beats = stand.control_plane.state().beats.len();
    eventually("a beat of the second session", || {
        let state = stand.control_plane.state();
        let beat = state.beats.iter().skip(beats).find(|beat| beat.heartbeat_seq == 1)?;
        assert!(beat.leases.is_empty());
        Some(())
    })
    .await;
    {
        let state = stand.control_plane.state();
        assert!(state.completes.is_empty() && state.parks.is_empty() && state.releases.is_empty());
    }
    stand.upstream.delay_ms.store(0, Ordering::Relaxed);
    stand.control_plane.state().ready.push(stand.grant(1));
    completed(&stand, 1).await;
    app.stop().await.unwrap();
}

#[tokio::test]
async fn more_runs_than_slots_all_end_once_and_never_more_at_a_time() {
    let stand = Stand::start(TTL_MS).await;
    let grants: Vec<_> = (0..300).map(|_| stand.grant(2)).collect();
    stand.control_plane.state().ready.extend(grants);
    let app = stand.executor("slots = 16").await;
    completed(&stand, 300).await;
    {
        let state = stand.control_plane.state();
        let mut tokens: Vec<_> = state
            .completes
            .iter()
            .map(|item| item.checkpoint.as_ref().unwrap().lease_token.clone())
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!((state.completes.len(), tokens.len()), (300, 300));
        assert!(state.beats.iter().all(|beat| beat.leases.len() <= 16));
        assert!(state.acquires.iter().all(|acquire| acquire.max_leases <= 16));
    }
    assert_eq!(of_run(&stand, "api-responses").len(), 600);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_deaf_control_plane_makes_it_pause_and_an_answer_lets_it_go_on() {
    let stand = Stand::start(1_000).await;
    stand.upstream.delay_ms.store(20, Ordering::Relaxed);
    stand.control_plane.state().ready.push(stand.grant(400));
    let app = stand.executor("").await;
    let requests = || stand.upstream.requests.load(Ordering::Relaxed);
    eventually("it runs", || (requests() > 5).then_some(())).await;
    stand.control_plane.state().deaf = true;
    let mut last = requests();
    let mut still = 0;
    eventually("it pauses", || {
        let now = requests();
        still = if now == last { still + 1 } else { 0 };
        last = now;
        (still > 20).then_some(())
    })
    .await;
    assert!(last < 400, "paused before the end");
    let produced = of_run(&stand, "api-responses").len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(of_run(&stand, "api-responses").len(), produced, "nothing is produced while it pauses");
    stand.control_plane.state().deaf = false;
    completed(&stand, 1).await;
    let records = of_run(&stand, "api-responses");
    let mut pages: Vec<_> = records.iter().map(|record| record.payload["page"].as_u64().unwrap()).collect();
    pages.dedup();
    pages.sort_unstable();
    pages.dedup();
    assert_eq!(pages, (0..400).collect::<Vec<u64>>());
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_drain_hands_runs_back_at_their_last_checkpoint_and_reports_no_end() {
    let stand = Stand::start(TTL_MS).await;
    stand.upstream.delay_ms.store(50, Ordering::Relaxed);
    stand.control_plane.state().ready.push(stand.grant(100_000));
    let app = stand.executor("drain_ms = 6000").await;
    eventually("it runs", || (stand.upstream.requests.load(Ordering::Relaxed) > 5).then_some(())).await;
    app.stop().await.unwrap();
    let state = stand.control_plane.state();
    assert!(state.completes.is_empty());
    let release = &state.releases[0];
    assert_eq!(release.reason(), wire::ReleaseReason::Drained);
    let checkpoint = release.checkpoint.as_ref().unwrap();
    assert!(checkpoint.seq > 0 && !checkpoint.resume_state.is_empty());
    assert!(state.beats.iter().any(|beat| beat.draining));
    let pages = checkpoint.progress.as_ref().unwrap().pages;
    drop(state);
    let sent = of_run(&stand, "api-responses").len();
    assert_eq!(i64::try_from(sent).unwrap(), pages, "what is saved is in Kafka, and nothing after it");
}

#[tokio::test]
async fn a_cancelled_run_completes_as_cancelled_and_a_lost_one_reports_nothing() {
    let stand = Stand::start(600).await;
    stand.upstream.delay_ms.store(60_000, Ordering::Relaxed);
    let (cancelled, lost) = (stand.grant(1), stand.grant(1));
    {
        let mut state = stand.control_plane.state();
        state.commands.insert(cancelled.lease_id.clone(), wire::LeaseCommand::Cancel);
        state.commands.insert(lost.lease_id.clone(), wire::LeaseCommand::Lost);
        state.ready.extend([cancelled.clone(), lost.clone()]);
    }
    let app = stand.executor("").await;
    completed(&stand, 1).await;
    eventually("no lease is held", || {
        let state = stand.control_plane.state();
        state.beats.last().is_some_and(|beat| beat.leases.is_empty()).then_some(())
    })
    .await;
    {
        let state = stand.control_plane.state();
        assert_eq!(state.completes.len(), 1);
        assert_eq!(state.completes[0].outcome(), wire::ExecutionOutcome::Cancelled);
        assert_eq!(state.completes[0].checkpoint.as_ref().unwrap().lease_token, cancelled.lease_token);
        assert!(state.releases.is_empty());
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_that_is_granted_to_be_cancelled_begins_nothing_and_ends_once() {
    let stand = Stand::start(600).await;
    let grant = wire::LeaseGrant { cancel_requested: true, ..stand.grant(1) };
    {
        let mut state = stand.control_plane.state();
        // Each of its beats is told the same again.
        state.commands.insert(grant.lease_id.clone(), wire::LeaseCommand::Cancel);
        state.hold_completes = true;
        state.ready.push(grant.clone());
    }
    let app = stand.executor("").await;
    eventually("three beats list it", || {
        let state = stand.control_plane.state();
        let lists = |beat: &&wire::HeartbeatRequest| !beat.leases.is_empty();
        (state.beats.iter().filter(lists).count() >= 3).then_some(())
    })
    .await;
    stand.control_plane.state().hold_completes = false;
    completed(&stand, 1).await;
    app.stop().await.unwrap();
    let state = stand.control_plane.state();
    assert_eq!(state.completes.len(), 1);
    assert_eq!(state.completes[0].outcome(), wire::ExecutionOutcome::Cancelled);
    assert_eq!(stand.upstream.requests.load(Ordering::Relaxed), 0);
}

/// The next attempt of a run that was parked.
fn again(grant: &wire::LeaseGrant, park: &wire::ParkItem) -> wire::LeaseGrant {
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
async fn a_cancel_tells_the_upstream_that_works_for_the_run_before_it_ends() {
    let stand = Stand::start(600).await;
    let at = |path: &str| format!("{}/{path}", stand.upstream.url);
    let job = json!({"step": {"id": "report", "async_job": {
        "submit": {"url": at("reports"), "method": "POST"},
        "poll": {"url": at("reports/7")},
        "done_when": "response.body.page > `0`",
        "download": [{"url": at("reports/7/file")}],
        "cancel": {"url": at("reports/7"), "method": "DELETE"},
        "poll_wait": "1s",
    }}});
    let (parked, polling) = (stand.grant_of(&job), stand.grant_of(&job));
    stand.control_plane.state().ready.extend([parked.clone(), polling.clone()]);
    let app = stand.executor("").await;
    eventually("both park", || (stand.control_plane.state().parks.len() == 2).then_some(())).await;
    // Nobody has the one: it is granted once more to say so. The other is told while it polls.
    stand.upstream.delay_ms.store(60_000, Ordering::Relaxed);
    let park_of = |grant: &wire::LeaseGrant| {
        let of_grant =
            |park: &&wire::ParkItem| park.checkpoint.as_ref().unwrap().lease_token == grant.lease_token;
        stand.control_plane.state().parks.iter().find(of_grant).unwrap().clone()
    };
    let parks = [park_of(&parked), park_of(&polling)];
    assert!(parks.iter().all(|park| park.checkpoint.as_ref().unwrap().needs_upstream_cancel == Some(true)));
    let to_cancel = wire::LeaseGrant { cancel_requested: true, ..again(&parked, &parks[0]) };
    stand.control_plane.state().ready.push(to_cancel);
    completed(&stand, 1).await;
    assert_eq!(
        *stand.upstream.asked.lock().unwrap(),
        ["POST /reports", "POST /reports", "DELETE /reports/7"]
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let to_poll = again(&polling, &parks[1]);
    stand.control_plane.state().ready.push(to_poll.clone());
    let polls = || stand.upstream.asked.lock().unwrap().last().is_some_and(|last| last == "GET /reports/7");
    eventually("it polls", || polls().then_some(())).await;
    stand.control_plane.state().commands.insert(to_poll.lease_id, wire::LeaseCommand::Cancel);
    completed(&stand, 2).await;
    assert_eq!(stand.upstream.asked.lock().unwrap()[3..], ["GET /reports/7", "DELETE /reports/7"]);
    app.stop().await.unwrap();
    let state = stand.control_plane.state();
    assert!(state.completes.iter().all(|complete| complete.outcome() == wire::ExecutionOutcome::Cancelled));
    let places = state.completes.iter().map(|complete| complete.checkpoint.as_ref().unwrap());
    let sent = |place: &wire::CheckpointItem| place.progress.as_ref().unwrap().requests;
    let mut sent: Vec<i64> = places.map(sent).collect();
    sent.sort_unstable();
    assert_eq!(sent, [2, 3], "what the upstream is told counts");
}

#[tokio::test]
async fn an_announcement_goes_to_both_topics_and_is_confirmed() {
    let stand = Stand::start(600).await;
    let key = wire::AnnouncementKey { tenant_id: stand::TENANT.to_owned(), id: "a".to_owned() };
    stand.control_plane.state().announcements.push(wire::Announcement {
        key: Some(key),
        message_key: "k".to_owned(),
        headers: [("type".to_owned(), "execution.completed".to_owned())].into(),
        payload: "{}".into(),
    });
    let app = stand.executor("").await;
    eventually("it is confirmed", || stand.control_plane.state().announcements.is_empty().then_some(()))
        .await;
    for topic in ["execution-events", "api-responses"] {
        let records = of_run(&stand, topic);
        assert_eq!(records.len(), 1, "{topic}");
        assert_eq!(records[0].header("type"), "execution.completed");
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn kafka_down_parks_the_run_where_it_was_acknowledged() {
    let stand = Stand::start(TTL_MS).await;
    stand.upstream.delay_ms.store(20, Ordering::Relaxed);
    stand.control_plane.state().ready.push(stand.grant(100_000));
    let app = stand.executor("kafka.sink_timeout_ms = 1500").await;
    eventually("a checkpoint", || (!stand.control_plane.state().checkpoints.is_empty()).then_some(())).await;
    stand.kafka.up(false);
    eventually("it parks", || (!stand.control_plane.state().parks.is_empty()).then_some(())).await;
    let requests = stand.upstream.requests.load(Ordering::Relaxed);
    let park = stand.control_plane.state().parks[0].clone();
    assert!(park.not_before.is_some());
    let checkpoint = park.checkpoint.unwrap();
    let saved = checkpoint.progress.unwrap().pages;
    stand.kafka.up(true);
    let sent = eventually("kafka answers", || Some(of_run(&stand, "api-responses").len())).await;
    assert!(i64::try_from(sent).unwrap() >= saved, "everything before the place is in Kafka");
    assert!(i64::try_from(requests).unwrap() <= saved + 129, "fetching stops: {requests} {saved}");
    app.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_start_fails_and_a_context_omitted_is_fetched() {
    let stand = Stand::start(TTL_MS).await;
    let broken =
        wire::LeaseGrant { definition_json: "{}".into(), definition_hash: "x".into(), ..stand.grant(1) };
    let mut untrusting = stand.grant(1);
    if let Some(config) = &mut untrusting.config {
        config.transport =
            Some(wire::GrantedTransport { ca: "no pem".to_owned(), ..wire::GrantedTransport::default() });
    }
    let apart = wire::LeaseGrant { context_omitted: true, ..stand.grant(1) };
    let expected = [
        (broken.lease_token.clone(), wire::ExecutionOutcome::Failed, Some("PLAN_UNREADABLE")),
        (untrusting.lease_token.clone(), wire::ExecutionOutcome::Failed, Some("TRANSPORT_UNREADABLE")),
        (apart.lease_token.clone(), wire::ExecutionOutcome::Succeeded, None),
    ];
    stand.control_plane.state().ready.extend([broken, untrusting, apart]);
    let app = stand.executor("").await;
    completed(&stand, 3).await;
    {
        let state = stand.control_plane.state();
        for (token, outcome, code) in expected {
            let of_run = |item: &&wire::CompleteItem| item.checkpoint.as_ref().unwrap().lease_token == token;
            let complete = state.completes.iter().find(of_run).unwrap();
            let told = complete.error.as_ref().map(|fault| fault.code.as_str());
            assert_eq!((complete.outcome(), told), (outcome, code), "{complete:?}");
        }
    }
    app.stop().await.unwrap();
}
