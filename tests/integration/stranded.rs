//! Executions whose schedule, plan or config goes away while they wait: none waits for ever.

use std::time::Duration;

use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::{
    DeleteConfigRequest, DeletePlanRequest, ExecutionState, Plan, TriggerPlanRequest, UpdatePlanRequest,
};
use orchid_tests::{Tenant, TestStack};
use serde_json::json;
use tonic::Code;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, complete};

/// Sets the configs that the plan `single` runs for.
async fn set_configs(tenant: &Tenant, configs: &[&str]) {
    let plan = Plan {
        key: "single".to_owned(),
        configs: configs.iter().map(|key| (*key).to_owned()).collect(),
        ..Plan::default()
    };
    let mask = prost_types::FieldMask { paths: vec!["configs".to_owned()] };
    let update = UpdatePlanRequest { plan: Some(plan), update_mask: Some(mask) };
    tenant.plans().update_plan(tenant.request(update)).await.expect("a plan");
}

async fn taken_out(placement_groups: u32) {
    let (stack, tenant) = scripted_executor::stack(placement_groups, 30_000, &[]).await;
    tenant.config("other", &json!({"base_url": "http://127.0.0.1:1"})).await;
    let executor = stack.scripted_executor().await;
    let going = tenant.trigger("single", "main").await.id;
    let behind = tenant.trigger("single", "main").await.id;
    let last = tenant.trigger("single", "main").await.id;
    let grant = acquire_one(&executor, 1).await;
    assert_eq!(grant.execution_id, going);
    set_configs(&tenant, &["other"]).await;
    let trigger = TriggerPlanRequest {
        key: "single".to_owned(),
        config: "main".to_owned(),
        ..TriggerPlanRequest::default()
    };
    let refused = tenant.plans().trigger_plan(tenant.request(trigger)).await.expect_err("not its config");
    assert_eq!(refused.code(), Code::NotFound);
    complete(&executor, &grant, fleet::ExecutionOutcome::Succeeded).await;
    assert_eq!(tenant.end_of(&going).await.state(), ExecutionState::Succeeded);
    for id in [&behind, &last] {
        let ended = tenant.end_of(id).await;
        assert_eq!(ended.state(), ExecutionState::Cancelled, "{ended:#?}");
    }
    let open = "SELECT count(*) FROM plan_executions WHERE ended_at IS NULL";
    assert_eq!(stack.database.number(open), 0);
    // The config comes back, and its runs are as before.
    set_configs(&tenant, &["other", "main"]).await;
    let again = tenant.trigger("single", "main").await.id;
    assert_eq!(acquire_one(&executor, 2).await.execution_id, again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_execution_of_a_removed_config_ends() {
    taken_out(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_execution_of_a_removed_config_ends_with_eight_groups() {
    taken_out(8).await;
}

/// Triggers a plan while its deletion, or that of its config, waits for locks.
async fn race(stack: &TestStack, tenant: &Tenant, number: u32, deletes_plan: bool, saves: bool) {
    let (plan, config) = (format!("p{number}"), format!("c{number}"));
    tenant.config(&config, &json!({"base_url": "http://127.0.0.1:1"})).await;
    tenant.plan(&plan, &plans::single()).await;
    // Both wait for the schedule or the plan, the deletion first, so that it commits first.
    let held = format!(
        "SELECT 1 FROM plans WHERE key = '{plan}' FOR UPDATE; SELECT 1 FROM configs WHERE key = '{config}' FOR UPDATE"
    );
    let holder = stack.database.hold(&held, 2).await;
    let delete = async {
        if deletes_plan {
            let delete = DeletePlanRequest { key: plan.clone(), ..DeletePlanRequest::default() };
            tenant.plans().delete_plan(tenant.request(delete)).await.map(|_| ())
        } else {
            let delete = DeleteConfigRequest {
                integration: "shop".to_owned(),
                key: config.clone(),
                ..DeleteConfigRequest::default()
            };
            tenant.configs().delete_config(tenant.request(delete)).await.map(|_| ())
        }
    };
    let trigger = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let overridden = if saves { "" } else { r#"{"since": "now"}"# };
        let trigger = TriggerPlanRequest {
            key: plan.clone(),
            config: config.clone(),
            context_override_json: overridden.to_owned(),
            ..TriggerPlanRequest::default()
        };
        tenant.plans().trigger_plan(tenant.request(trigger)).await.map(tonic::Response::into_inner)
    };
    let (deleted, triggered) = tokio::join!(delete, trigger);
    holder.join().expect("the locks are released");
    match (deleted, triggered) {
        (Ok(()), Err(refused)) => assert_eq!(refused.code(), Code::NotFound, "{refused:?}"),
        (Err(refused), Ok(_)) => assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}"),
        (deleted, triggered) => panic!("{number}: both {deleted:?} and {triggered:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trigger_and_delete_never_both_succeed() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let mut number = 0;
    for deletes_plan in [true, false] {
        for saves in [true, false] {
            number += 1;
            race(&stack, &tenant, number, deletes_plan, saves).await;
        }
    }
    let zombies = "SELECT count(*) FROM plan_executions e WHERE e.ended_at IS NULL AND (\
                   NOT EXISTS (SELECT FROM plans p WHERE p.id = e.plan_id) \
                   OR NOT EXISTS (SELECT FROM configs c WHERE c.id = e.config_id))";
    assert_eq!(stack.database.number(zombies), 0);
}
