//! Partitions of the history are made and dropped while others read and write it.

use std::time::{Duration, Instant};

use orchid_tests::eventually::{eventually, holds};

use crate::scripted_executor;

/// The longest that a trigger may take beside partition changes, on a busy machine.
const PROMPT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partition_changes_do_not_hold_up_triggers_behind_a_reader() {
    let (mut stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    stack.kill_control_plane(0);
    let last = stack.database.execute(
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'plan_executions'::regclass",
    );
    // The name of the partition that holds nothing younger than about ten weeks.
    let week = "date_trunc('week', (now() - interval '70 days') AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'";
    let old_name = stack.database.execute(&format!(
        "SELECT 'plan_executions_' || to_char(({week}) AT TIME ZONE 'UTC', 'IYYY\"w\"IW')"
    ));
    stack.database.execute(&format!("DROP TABLE {last}"));
    stack.database.execute(&format!(
        "DO $$ BEGIN EXECUTE format('CREATE TABLE {old_name} PARTITION OF plan_executions FOR VALUES FROM (%L) TO (%L)', \
         uuid_floor({week}), uuid_floor({week} + interval '7 days')); END $$"
    ));
    let exists =
        |name: &str| stack.database.execute(&format!("SELECT to_regclass('{name}') IS NOT NULL")) == "t";
    assert!(!exists(&last) && exists(&old_name));

    let reader = stack.database.hold_open("SELECT count(*) FROM plan_executions").await;
    stack.restart_control_plane(0).await;
    let tenant = tenant.through(stack.channel(0));
    let mut longest = Duration::ZERO;
    let mut prompt_trigger = async || {
        let started = Instant::now();
        tenant.trigger("single", "main").await;
        longest = longest.max(started.elapsed());
        assert!(longest < PROMPT, "a trigger took {longest:?}");
    };
    let database = &stack.database;
    eventually("the missing partition is made beside the reader", async || {
        prompt_trigger().await;
        holds(database.execute(&format!("SELECT to_regclass('{last}') IS NOT NULL")) == "t", ())
    })
    .await;
    // The old one cannot be dropped yet, and no trigger waits for that.
    for _ in 0..40 {
        prompt_trigger().await;
    }
    assert_eq!(database.execute(&format!("SELECT to_regclass('{old_name}') IS NOT NULL")), "t");
    drop(reader);
    eventually("the old partition is dropped", async || {
        prompt_trigger().await;
        holds(database.execute(&format!("SELECT to_regclass('{old_name}') IS NULL")) == "t", Instant::now())
    })
    .await;
    let bare = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r' AND NOT (relrowsecurity AND relforcerowsecurity)";
    assert_eq!(database.number(bare), 0, "partitions without row security");
}
