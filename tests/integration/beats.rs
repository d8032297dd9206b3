//! Heartbeats and their side work: one that fails does not count against the heartbeat, whose
//! executor learns that it counted; and locks are taken in the order of keys.

use std::time::{Duration, Instant};

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::CancelExecutionRequest;
use orchid_tests::{ScriptedExecutor, Tenant, TestStack, eventually};

use crate::plans;
use crate::scripted_executor::{self, acquire_one};

/// Cancels the pending executions of a config, which leaves announcements for the next heartbeat.
async fn announce(tenant: &Tenant, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let id = tenant.trigger("single", "main").await.id;
        let request = CancelExecutionRequest { id: id.clone(), reason: "enough".to_owned() };
        tenant.executions().cancel_execution(tenant.request(request)).await.expect("a response");
        ids.push(id);
    }
    ids
}

fn announced(beat: &fleet::HeartbeatResponse) -> Vec<&str> {
    beat.announcements.iter().map(|one| one.headers["execution_id"].as_str()).collect()
}

async fn unreadable(placement_groups: u32) {
    let (stack, tenant) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    let mut executor = stack.scripted_executor().await;
    let ids = announce(&tenant, 3).await;
    let broken = format!("UPDATE announcements SET headers = '7' WHERE execution_id = '{}'", ids[1]);
    stack.database.execute(&broken);
    let beat = executor.beat(0, &[]).await;
    let mut seen = announced(&beat);
    seen.sort_unstable();
    let mut expected = vec![ids[0].as_str(), ids[2].as_str()];
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_announcement_concerns_itself_only() {
    unreadable(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_announcement_concerns_itself_only_with_eight_groups() {
    unreadable(8).await;
}

/// Returns how often the database counted a heartbeat of this executor.
fn counted(stack: &TestStack, executor: &ScriptedExecutor) -> i64 {
    let id = &executor.registered.session_id;
    stack.database.number(&format!("SELECT heartbeat_seq FROM executor_sessions WHERE id = '{id}'"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeat_is_answered_though_its_side_work_fails() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let mut executor = stack.scripted_executor().await;
    announce(&tenant, 1).await;
    tenant.trigger("single", "main").await;
    let grant = acquire_one(&executor, 1).await;
    // Neither handing over nor confirming nor taking back can commit.
    for table in ["announcements", "leases", "plan_executions"] {
        stack.database.execute(&format!(
            "CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN RAISE EXCEPTION 'refused'; END$$; \
             CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON {table} \
             FOR EACH ROW EXECUTE FUNCTION refuse_{table}()"
        ));
    }
    let beat = executor.beat(1, &[&grant]).await;
    assert_eq!(beat.instructions.len(), 1);
    assert_eq!(beat.instructions[0].command(), fleet::LeaseCommand::Continue);
    // The executor does not know of the lease, so it would be taken back.
    let beat = executor.beat(1, &[]).await;
    assert!(beat.announcements.is_empty());
    assert_eq!(counted(&stack, &executor), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeat_does_not_wait_for_locked_announcements() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let mut executor = stack.scripted_executor().await;
    let ids = announce(&tenant, 1).await;
    let holder = stack.database.hold("SELECT 1 FROM announcements FOR UPDATE", 6).await;
    let started = Instant::now();
    let beat = executor.beat(0, &[]).await;
    let took = started.elapsed();
    assert!(beat.announcements.is_empty() && took < Duration::from_secs(4), "{took:?}: {beat:?}");
    // What follows the counting is no part of it.
    assert!(beat.held_ms < 400, "held for {} ms of {took:?}", beat.held_ms);
    assert_eq!(counted(&stack, &executor), 1);
    holder.join().expect("the lock is released");
    assert_eq!(announced(&executor.beat(0, &[]).await), [ids[0].as_str()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeat_locks_leases_in_the_order_of_their_keys() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    tenant.plan("second", &plans::single()).await;
    let mut executor = stack.scripted_executor().await;
    // The execution with the lower key gets its lease last, so it comes last in the table.
    let low = tenant.trigger("single", "main").await.id;
    let wait = |until: &str| {
        let park = format!("UPDATE ready SET not_before = {until} WHERE execution_id = '{low}'");
        stack.database.execute(&park);
    };
    wait("now() + interval '1 hour'");
    let high = tenant.trigger("second", "main").await.id;
    let first = acquire_one(&executor, 1).await;
    assert!(first.execution_id == high && low < high, "{first:?}");
    wait("NULL");
    let last = acquire_one(&executor, 2).await;

    let lease = |id: &str| {
        format!("SELECT 1 FROM leases WHERE tenant_id = '{}' AND execution_id = '{id}'", tenant.id)
    };
    let holder = stack.database.hold(&format!("{} FOR UPDATE", lease(&low)), 4).await;
    let leases = [&first, &last];
    let (_, other_is_free) = tokio::join!(executor.beat(2, &leases), async {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND query LIKE 'UPDATE leases%' AND wait_event_type = 'Lock'";
        eventually(
            "the heartbeat waits",
            async || {
                if stack.database.number(waiting) > 0 { Ok(()) } else { Err(()) }
            },
        )
        .await;
        stack.database.execute_as("orchid_fleet", &format!("{} FOR UPDATE NOWAIT", lease(&high)))
    });
    assert_eq!(other_is_free.as_deref(), Ok("1"), "the higher key is locked before the lower one");
    holder.join().expect("the lock is released");
}
