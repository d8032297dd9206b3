//! Transactions that lock the same rows lock them in one order, so that none waits in a circle.

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::{DeleteConfigRequest, DeletePlanRequest, Plan, UpdatePlanRequest};
use orchid_tests::eventually::holds;
use orchid_tests::{ScriptedExecutor, Tenant, TestStack, eventually};
use serde_json::json;
use tonic::Code;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, checkpoint};

/// A change that locks several schedules.
#[derive(Clone, Copy, Debug)]
enum Change {
    UpdatePlan,
    DeletePlan,
    DeleteConfig,
}

/// Sets the configs that the plan `single` runs for.
async fn set_configs(tenant: &Tenant, configs: [&str; 2]) {
    let configs = configs.into_iter().filter(|key| !key.is_empty()).map(str::to_owned).collect();
    let plan = Plan { key: "single".to_owned(), configs, ..Plan::default() };
    let mask = prost_types::FieldMask { paths: vec!["configs".to_owned()] };
    let update = UpdatePlanRequest { plan: Some(plan), update_mask: Some(mask) };
    tenant.plans().update_plan(tenant.request(update)).await.expect("a plan");
}

/// Makes the change, and checks that executions that have not ended refuse a deletion.
async fn make(tenant: &Tenant, change: Change) {
    let deleted = match change {
        Change::UpdatePlan => return set_configs(tenant, ["main", "other"]).await,
        Change::DeletePlan => {
            let delete = DeletePlanRequest { key: "single".to_owned(), ..DeletePlanRequest::default() };
            tenant.plans().delete_plan(tenant.request(delete)).await.map(|_| ())
        }
        Change::DeleteConfig => {
            let delete = DeleteConfigRequest {
                integration: "shop".to_owned(),
                key: "main".to_owned(),
                ..DeleteConfigRequest::default()
            };
            tenant.configs().delete_config(tenant.request(delete)).await.map(|_| ())
        }
    };
    // Whether the executions have ended by then is a race that both may win.
    if let Err(refused) = deleted {
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    }
}

/// Completes all executions in one call, so that one transaction locks all of their schedules.
async fn complete_all(executor: &ScriptedExecutor, grants: &[fleet::LeaseGrant]) {
    let items = grants.iter().map(|grant| fleet::CompleteItem {
        checkpoint: Some(checkpoint(grant, 9, b"{}")),
        outcome: fleet::ExecutionOutcome::Succeeded.into(),
        ..fleet::CompleteItem::default()
    });
    let request = executor.request(fleet::CompleteRequest { items: items.collect(), acquire: None });
    let ended = executor.client().complete(request).await.expect("a response").into_inner();
    assert!(ended.results.iter().all(|result| result.status() == fleet::LeaseStatus::Ok), "{ended:?}");
}

/// Waits until at least this many connections wait for locks.
async fn lock_waits(stack: &TestStack, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the transactions wait for locks", async || {
        let found = stack.database.number(waiting);
        holds(found >= count, found)
    })
    .await;
}

/// Counts the deadlocks of the database. A connection reports its own when it ends.
fn deadlocks(stack: &TestStack) -> i64 {
    stack.database.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    stack.database.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
}

/// Ends executions while a change locks their schedules.
async fn ends_beside(change: Change, placement_groups: u32) {
    let (stack, tenant) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    tenant.config("other", &json!({"base_url": "http://127.0.0.1:1"})).await;
    tenant.plan("second", &plans::single()).await;
    // The schedule of the oldest plan and config is the youngest one, so that the order of the
    // schedules' ids is not that of their keys.
    set_configs(&tenant, ["other", ""]).await;
    set_configs(&tenant, ["other", "main"]).await;
    let executor = stack.scripted_executor().await;
    let mut grants = Vec::new();
    for (seq, (plan, config)) in (1..).zip([("single", "main"), ("single", "other"), ("second", "main")]) {
        tenant.trigger(plan, config).await;
        grants.push(acquire_one(&executor, seq).await);
    }

    let youngest = "SELECT 1 FROM schedules ORDER BY id DESC LIMIT 1 FOR UPDATE";
    let holder = stack.database.hold_open(youngest).await;
    let change_behind = async {
        lock_waits(&stack, 1).await;
        tokio::join!(make(&tenant, change), async {
            lock_waits(&stack, 2).await;
            drop(holder);
        });
    };
    tokio::join!(complete_all(&executor, &grants), change_behind);
    assert_eq!(deadlocks(&stack), 0, "{change:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_and_an_update_of_their_plan_do_not_deadlock() {
    ends_beside(Change::UpdatePlan, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_and_the_deletion_of_their_plan_do_not_deadlock() {
    ends_beside(Change::DeletePlan, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_and_the_deletion_of_their_config_do_not_deadlock() {
    ends_beside(Change::DeleteConfig, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_and_an_update_of_their_plan_do_not_deadlock_with_eight_groups() {
    ends_beside(Change::UpdatePlan, 8).await;
}
