//! The management API: idempotent creates, updates with etags, pagination, deletes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::eventually::{eventually, holds};
use orchid_tests::{SlowProxy, StackOptions, Tenant, TestStack};
use prost_types::FieldMask;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;
use url::Url;
use uuid::Uuid;

use crate::plans;
use crate::scripted_executor::{self, acquire_one, checkpoint, complete};

const NOWHERE: &str = "http://127.0.0.1:1";

async fn two_replicas() -> (TestStack, Tenant) {
    let options = StackOptions { control_planes: 2, executors: 0, ..StackOptions::default() };
    let stack = TestStack::start(options).await;
    let tenant = stack.tenant().await;
    (stack, tenant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_request_takes_effect_once_on_any_replica() {
    let (stack, tenant) = two_replicas().await;
    let elsewhere = tenant.through(stack.channel(1));
    tenant.shop(NOWHERE).await;
    tenant.plan("orders", &plans::orders()).await;
    let trigger = v1::TriggerPlanRequest {
        key: "orders".to_owned(),
        config: "main".to_owned(),
        request_id: Uuid::now_v7().to_string(),
        ..v1::TriggerPlanRequest::default()
    };
    let first =
        tenant.plans().trigger_plan(tenant.request(trigger.clone())).await.expect("a run").into_inner();
    let second = elsewhere
        .plans()
        .trigger_plan(elsewhere.request(trigger.clone()))
        .await
        .expect("the same run")
        .into_inner();
    assert_eq!(first.id, second.id);
    assert_eq!(tenant.all_executions("orders").await.len(), 1);

    let other =
        v1::TriggerPlanRequest { persist_context: true, context_override_json: "{}".to_owned(), ..trigger };
    let refused = tenant.plans().trigger_plan(tenant.request(other)).await.expect_err("another body");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_with_a_stale_etag_is_refused() {
    let (_stack, tenant) = two_replicas().await;
    tenant.shop(NOWHERE).await;
    let plan = tenant.plan("orders", &plans::orders()).await;
    let update = |etag: &str, name: &str| v1::UpdatePlanRequest {
        plan: Some(v1::Plan {
            key: "orders".to_owned(),
            name: name.to_owned(),
            etag: etag.to_owned(),
            ..v1::Plan::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["name".to_owned()] }),
    };
    let mut client = tenant.plans();
    let changed =
        client.update_plan(tenant.request(update(&plan.etag, "one"))).await.expect("a change").into_inner();
    assert_ne!(changed.etag, plan.etag);
    assert_eq!((changed.name.as_str(), changed.revision), ("one", 1), "only the definition makes a revision");
    let refused =
        client.update_plan(tenant.request(update(&plan.etag, "two"))).await.expect_err("an old etag");
    assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    let read = client.get_plan(tenant.request(v1::GetPlanRequest { key: "orders".to_owned() })).await;
    assert_eq!(read.expect("the plan").into_inner().name, "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definition_change_creates_a_revision_and_rollback_works() {
    let (_stack, tenant) = two_replicas().await;
    tenant.shop(NOWHERE).await;
    tenant.plan("plan", &plans::orders()).await;
    let update = v1::UpdatePlanRequest {
        plan: Some(v1::Plan {
            key: "plan".to_owned(),
            definition: Some(structure(&plans::single())),
            ..v1::Plan::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["definition".to_owned()] }),
    };
    let mut client = tenant.plans();
    let second = client.update_plan(tenant.request(update.clone())).await.expect("a change").into_inner();
    assert_eq!(second.revision, 2);
    let same = client.update_plan(tenant.request(update)).await.expect("no change").into_inner();
    assert_eq!(same.revision, 2, "the same definition is no new revision");
    let rollback =
        v1::RollbackPlanRequest { key: "plan".to_owned(), revision: 1, ..v1::RollbackPlanRequest::default() };
    let third = client.rollback_plan(tenant.request(rollback)).await.expect("a rollback").into_inner();
    assert_eq!((third.revision, third.definition), (3, Some(structure(&plans::orders()))));
    let get = v1::GetPlanRevisionRequest { plan: "plan".to_owned(), revision: 2 };
    let kept = client.get_plan_revision(tenant.request(get)).await.expect("a revision").into_inner();
    assert_eq!(kept.definition, Some(structure(&plans::single())));
    let list =
        v1::ListPlanRevisionsRequest { plan: "plan".to_owned(), ..v1::ListPlanRevisionsRequest::default() };
    let all =
        client.list_plan_revisions(tenant.request(list)).await.expect("revisions").into_inner().revisions;
    assert_eq!(all.iter().map(|one| one.revision).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(all[0].definition_hash, all[2].definition_hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_keeps_its_initial_definition() {
    let (stack, tenant) = scripted_executor::stack(1, 30_000, &[]).await;
    let executor = stack.scripted_executor().await;
    tenant.trigger("single", "main").await;
    let first = acquire_one(&executor, 1).await;
    let update = v1::UpdatePlanRequest {
        plan: Some(v1::Plan {
            key: "single".to_owned(),
            definition: Some(structure(&plans::orders())),
            ..v1::Plan::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["definition".to_owned()] }),
    };
    tenant.plans().update_plan(tenant.request(update)).await.expect("a change");
    let drained = fleet::ReleaseItem {
        checkpoint: Some(checkpoint(&first, 3, b"{}")),
        reason: fleet::ReleaseReason::Drained.into(),
        error: None,
    };
    let request = executor.request(fleet::ReleaseRequest { items: vec![drained] });
    executor.client().release(request).await.expect("a response");

    let second = acquire_one(&executor, 2).await;
    assert_eq!((second.attempt, second.plan_revision), (2, 1));
    assert_eq!(second.definition_hash, first.definition_hash);
    complete(&executor, &second, fleet::ExecutionOutcome::Succeeded).await;
    tenant.trigger("single", "main").await;
    let next = acquire_one(&executor, 3).await;
    assert_eq!(next.plan_revision, 2);
    assert_ne!(next.definition_hash, first.definition_hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_keys_are_unique_per_tenant() {
    let (stack, tenant) = two_replicas().await;
    tenant.shop(NOWHERE).await;
    tenant.plan("orders", &plans::orders()).await;
    let again = v1::Plan {
        key: "orders".to_owned(),
        integration: "shop".to_owned(),
        definition: Some(structure(&plans::single())),
        ..v1::Plan::default()
    };
    let refused = tenant.create_plan(again).await.expect_err("the key is taken");
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    let neighbour = stack.tenant().await;
    neighbour.shop(NOWHERE).await;
    neighbour.plan("orders", &plans::orders()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_runs_only_for_its_named_configs() {
    let (_stack, tenant) = two_replicas().await;
    tenant.shop(NOWHERE).await;
    tenant.config("second", &json!({"base_url": NOWHERE})).await;
    let plan = |key: &str, configs: &[&str]| v1::Plan {
        key: key.to_owned(),
        integration: "shop".to_owned(),
        configs: configs.iter().map(|config| (*config).to_owned()).collect(),
        enabled: Some(true),
        definition: Some(structure(&plans::single())),
        ..v1::Plan::default()
    };
    tenant.create_plan(plan("all", &[])).await.expect("a plan");
    tenant.create_plan(plan("one", &["second"])).await.expect("a plan");
    let refused = tenant.create_plan(plan("none", &["secnd"])).await.expect_err("no such config");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let scheduled = async |plan: &str, config: &str| {
        let get = v1::GetScheduleRequest { plan: plan.to_owned(), config: config.to_owned() };
        match tenant.schedules().get_schedule(tenant.request(get)).await {
            Ok(_) => true,
            Err(status) => {
                assert_eq!(status.code(), Code::NotFound, "{status:?}");
                false
            }
        }
    };
    assert!(scheduled("all", "main").await && scheduled("all", "second").await);
    assert!(scheduled("one", "second").await && !scheduled("one", "main").await);
    assert_eq!(tenant.trigger("one", "").await.config, "second", "the only one");
    let other = v1::TriggerPlanRequest {
        key: "one".to_owned(),
        config: "main".to_owned(),
        ..v1::TriggerPlanRequest::default()
    };
    let refused = tenant.plans().trigger_plan(tenant.request(other)).await.expect_err("not its config");
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pagination_lists_everything_once() {
    let (stack, tenant) = two_replicas().await;
    tenant.shop(NOWHERE).await;
    for number in 0..7 {
        tenant.config(&format!("c{number}"), &json!({"base_url": NOWHERE})).await;
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    let mut pages = 0;
    loop {
        // Every replica can continue another one's pagination.
        let caller = tenant.through(stack.channel(pages % 2));
        let list = v1::ListConfigsRequest { page_size: 3, page_token: token, integration: String::new() };
        let page = caller.configs().list_configs(caller.request(list)).await.expect("a page").into_inner();
        seen.extend(page.configs.into_iter().map(|config| config.key));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 8), "{seen:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 8);
    assert_eq!((seen[0].as_str(), seen[7].as_str()), ("c6", "main"), "newest first");
    for (page_size, page_token) in [(-1, ""), (3, "made up")] {
        let list = v1::ListConfigsRequest {
            page_size,
            page_token: page_token.to_owned(),
            integration: String::new(),
        };
        let refused = tenant.configs().list_configs(tenant.request(list)).await.expect_err("a wrong page");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn used_resources_are_kept_and_disabled_ones_do_not_run() {
    let (_stack, tenant) = two_replicas().await;
    tenant.shop(NOWHERE).await;
    tenant.plan("orders", &plans::orders()).await;
    let delete = v1::DeleteIntegrationRequest { key: "shop".to_owned(), etag: String::new() };
    let refused = tenant.integrations().delete_integration(tenant.request(delete)).await.expect_err("in use");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(
        refused.message().contains("orders")
            || format!("{:?}", refused.get_error_details()).contains("orders")
    );

    tenant.trigger("orders", "main").await;
    let delete = v1::DeletePlanRequest { key: "orders".to_owned(), etag: String::new() };
    let refused = tenant.plans().delete_plan(tenant.request(delete)).await.expect_err("a run is going");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");

    tenant.config("second", &json!({"base_url": NOWHERE})).await;
    let trigger = |config: &str| v1::TriggerPlanRequest {
        key: "orders".to_owned(),
        config: config.to_owned(),
        ..v1::TriggerPlanRequest::default()
    };
    let reason = |status: &tonic::Status| {
        status.get_error_details().error_info().map_or_else(String::new, |info| info.reason.clone())
    };
    let refused = tenant.plans().trigger_plan(tenant.request(trigger(""))).await.expect_err("which config");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "CONFIG_REQUIRED"));
    assert!(refused.message().contains("main") && refused.message().contains("second"), "{refused:?}");
    let unknown =
        tenant.plans().trigger_plan(tenant.request(trigger("secund"))).await.expect_err("no config");
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "CONFIG_NOT_FOUND"));
    assert_eq!(
        unknown.message(),
        "config \"secund\" does not exist for plan \"orders\", which has main, second; did you mean second"
    );

    let off = v1::UpdateConfigRequest {
        config: Some(v1::Config {
            integration: "shop".to_owned(),
            key: "second".to_owned(),
            enabled: Some(false),
            ..v1::Config::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["enabled".to_owned()] }),
    };
    tenant.configs().update_config(tenant.request(off)).await.expect("a change");
    let refused = tenant
        .plans()
        .trigger_plan(tenant.request(trigger("second")))
        .await
        .expect_err("a config that is off");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "CONFIG_DISABLED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_writes_are_checked_against_the_newest_schema() {
    let (_stack, tenant) = two_replicas().await;
    let without = tenant.shop(NOWHERE).await;
    assert_eq!(without.config_schema_version, 0);
    tenant.plan("orders", &plans::orders()).await;
    let require = async |fields: &[&str]| {
        let schema = structure(&json!({"type": "object", "required": fields}));
        let create = v1::CreateConfigSchemaRequest {
            integration: "shop".to_owned(),
            schema: Some(schema),
            ..v1::CreateConfigSchemaRequest::default()
        };
        let made = tenant.integrations().create_config_schema(tenant.request(create)).await;
        made.expect("a schema").into_inner().version
    };
    let update = async |change: v1::Config| {
        let config = v1::Config { integration: "shop".to_owned(), key: "main".to_owned(), ..change };
        let update = v1::UpdateConfigRequest { config: Some(config), update_mask: None };
        let updated = tenant.configs().update_config(tenant.request(update)).await;
        updated.map(|config| config.into_inner().config_schema_version).map_err(|refused| {
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
            let details = refused.get_error_details();
            let violations = &details.bad_request().expect("BadRequest").field_violations;
            violations.iter().map(|violation| violation.field.clone()).collect::<Vec<_>>()
        })
    };
    let values = |json| v1::Config { values: Some(structure(&json)), ..v1::Config::default() };
    let renamed = || v1::Config { display_name: "renamed".to_owned(), ..v1::Config::default() };
    let first = json!({"base_url": NOWHERE, "region": "eu"});
    let second = json!({"base_url": NOWHERE, "site": 7});

    assert_eq!(require(&["region"]).await, 1);
    assert_eq!(update(renamed()).await, Ok(0), "the values were not written");
    assert_eq!(update(values(json!({"base_url": NOWHERE}))).await, Err(vec!["/values/region".to_owned()]));
    assert_eq!(update(values(first.clone())).await, Ok(1));
    assert_eq!(require(&["site"]).await, 2);
    assert_eq!(update(renamed()).await, Ok(1), "these passed the schema before");
    assert_eq!(update(values(first)).await, Err(vec!["/values/site".to_owned()]));
    tenant.trigger("orders", "main").await;
    assert_eq!(update(values(second.clone())).await, Ok(2));
    assert_eq!(tenant.config("other", &second).await.config_schema_version, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_calls_leave_no_open_transaction() {
    let mut stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop(NOWHERE).await;
    // Far from its database, a control plane spends long enough between the statements for
    // callers to leave there.
    let mut url = Url::parse(&stack.database.url("orchid_app")).expect("a url");
    let server = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
    let proxy = SlowProxy::start(server, Duration::from_millis(5)).await;
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.port())).expect("a port");
    stack.kill_control_plane(0);
    stack.set_control_plane(0, "ORCHID_POSTGRES_APP_URL", url.as_str());
    stack.restart_control_plane(0).await;
    let mut given_up = 0;
    for round in 0..20_u64 {
        let calls = (0..8_u64).map(|number| {
            let mut request = tenant.request(v1::ListConfigsRequest::default());
            request.set_timeout(Duration::from_micros(1000 + 2000 * number + 100 * round));
            let mut client = tenant.configs();
            async move { client.list_configs(request).await.is_err() }
        });
        given_up += join_all(calls).await.into_iter().filter(|failed| *failed).count();
    }
    assert!(given_up > 20, "only {given_up} calls were given up: the test tried nothing");
    // A connection that returns to the pool with an open transaction keeps it until its next use.
    eventually("every transaction has ended", async || {
        let open = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state LIKE 'idle in transaction%'",
            stack.database.name
        );
        let open = stack.database.number(&open);
        holds(open == 0, open)
    })
    .await;
    stack.end().await;
}
