//! Isolation: a tenant cannot read or change another tenant's data, neither through any API method
//! nor by

use std::collections::BTreeSet;

use orchid_proto::{DESCRIPTOR_SET, Permission, permission_of, v1};
use orchid_tests::client::structure;
use orchid_tests::{FakeUpstream, StackOptions, Tenant, TestStack};
use prost::Message as _;
use serde_json::json;
use tonic::{Code, Response, Status};

use crate::plans;

/// The result of the second tenant's call of each method.
#[derive(Default)]
struct Tried {
    methods: BTreeSet<String>,
}

impl Tried {
    fn not_found<T: std::fmt::Debug>(&mut self, method: &str, answer: Result<Response<T>, Status>) {
        let refused = answer.expect_err(method);
        assert_eq!(refused.code(), Code::NotFound, "{method}: {refused:?}");
        self.methods.insert(method.to_owned());
    }

    /// Records a call that refers to another tenant's resource; it must fail like one that refers
    /// to nothing.
    fn unknown<T: std::fmt::Debug>(&mut self, method: &str, answer: Result<Response<T>, Status>) {
        let refused = answer.expect_err(method);
        assert_eq!(refused.code(), Code::InvalidArgument, "{method}: {refused:?}");
        assert!(refused.message().contains("integration \"shop\" does not exist"), "{method}: {refused:?}");
        self.methods.insert(method.to_owned());
    }

    fn empty<T>(&mut self, method: &str, answer: Result<Response<T>, Status>, count: impl Fn(&T) -> usize) {
        let answer = answer.unwrap_or_else(|status| panic!("{method}: {status}")).into_inner();
        assert_eq!(count(&answer), 0, "{method} lists what is another's");
        self.methods.insert(method.to_owned());
    }
}

/// Calls every method that acts for a tenant.
fn tenant_methods() -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTOR_SET).expect("descriptors");
    let mut methods = BTreeSet::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                if matches!(permission_of(&path), Some(Permission::TenantRead | Permission::TenantWrite)) {
                    methods.insert(method.name().to_owned());
                }
            }
        }
    }
    methods
}

async fn try_integrations(other: &Tenant, tried: &mut Tried) {
    let key = || "shop".to_owned();
    let mut client = other.integrations();
    let get = v1::GetIntegrationRequest { key: key() };
    tried.not_found("GetIntegration", client.get_integration(other.request(get)).await);
    let list = v1::ListIntegrationsRequest::default();
    tried.empty("ListIntegrations", client.list_integrations(other.request(list)).await, |page| {
        page.integrations.len()
    });
    let integration =
        v1::Integration { key: key(), display_name: "taken over".to_owned(), ..v1::Integration::default() };
    let update = v1::UpdateIntegrationRequest { integration: Some(integration), update_mask: None };
    tried.not_found("UpdateIntegration", client.update_integration(other.request(update)).await);
    let delete = v1::DeleteIntegrationRequest { key: key(), etag: String::new() };
    tried.not_found("DeleteIntegration", client.delete_integration(other.request(delete)).await);
    let schema = v1::CreateConfigSchemaRequest {
        integration: key(),
        schema: Some(structure(&json!({"type": "object"}))),
        request_id: String::new(),
    };
    tried.not_found("CreateConfigSchema", client.create_config_schema(other.request(schema)).await);
    let list = v1::ListConfigSchemasRequest { integration: key(), ..v1::ListConfigSchemasRequest::default() };
    tried.not_found("ListConfigSchemas", client.list_config_schemas(other.request(list)).await);
}

async fn try_configs(other: &Tenant, tried: &mut Tried) {
    let mut client = other.configs();
    let config = || {
        Some(v1::Config {
            integration: "shop".to_owned(),
            key: "main".to_owned(),
            values: Some(structure(&json!({}))),
            ..v1::Config::default()
        })
    };
    let create = v1::CreateConfigRequest { config: config(), request_id: String::new() };
    tried.unknown("CreateConfig", client.create_config(other.request(create)).await);
    let get = v1::GetConfigRequest { integration: "shop".to_owned(), key: "main".to_owned() };
    tried.not_found("GetConfig", client.get_config(other.request(get)).await);
    let list = v1::ListConfigsRequest::default();
    tried.empty("ListConfigs", client.list_configs(other.request(list)).await, |page| page.configs.len());
    let update = v1::UpdateConfigRequest { config: config(), update_mask: None };
    tried.not_found("UpdateConfig", client.update_config(other.request(update)).await);
    let delete = v1::DeleteConfigRequest {
        integration: "shop".to_owned(),
        key: "main".to_owned(),
        etag: String::new(),
    };
    tried.not_found("DeleteConfig", client.delete_config(other.request(delete)).await);
    let validate = v1::ValidateConfigRequest { config: config() };
    let checked = client.validate_config(other.request(validate)).await.expect("a response").into_inner();
    assert_eq!(
        checked.diagnostics.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(),
        ["/integration"]
    );
    tried.methods.insert("ValidateConfig".to_owned());
}

async fn try_plans(other: &Tenant, tried: &mut Tried) {
    let mut client = other.plans();
    let key = || "orders".to_owned();
    let plan = || {
        Some(v1::Plan {
            key: key(),
            integration: "shop".to_owned(),
            definition: Some(structure(&plans::single())),
            ..v1::Plan::default()
        })
    };
    let create = v1::CreatePlanRequest { plan: plan(), request_id: String::new() };
    tried.unknown("CreatePlan", client.create_plan(other.request(create)).await);
    tried.not_found("GetPlan", client.get_plan(other.request(v1::GetPlanRequest { key: key() })).await);
    let list = v1::ListPlansRequest::default();
    tried.empty("ListPlans", client.list_plans(other.request(list)).await, |page| page.plans.len());
    let update = v1::UpdatePlanRequest { plan: plan(), update_mask: None };
    tried.not_found("UpdatePlan", client.update_plan(other.request(update)).await);
    let delete = v1::DeletePlanRequest { key: key(), etag: String::new() };
    tried.not_found("DeletePlan", client.delete_plan(other.request(delete)).await);
    // Validating a plan reads only the plan in the request.
    let validate = v1::ValidatePlanRequest { plan: plan() };
    let _ = client.validate_plan(other.request(validate)).await;
    tried.methods.insert("ValidatePlan".to_owned());
    let trigger =
        v1::TriggerPlanRequest { key: key(), config: "main".to_owned(), ..v1::TriggerPlanRequest::default() };
    tried.not_found("TriggerPlan", client.trigger_plan(other.request(trigger)).await);
    let list = v1::ListPlanRevisionsRequest { plan: key(), ..v1::ListPlanRevisionsRequest::default() };
    tried.not_found("ListPlanRevisions", client.list_plan_revisions(other.request(list)).await);
    let get = v1::GetPlanRevisionRequest { plan: key(), revision: 1 };
    tried.not_found("GetPlanRevision", client.get_plan_revision(other.request(get)).await);
    let rollback = v1::RollbackPlanRequest { key: key(), revision: 1, ..v1::RollbackPlanRequest::default() };
    tried.not_found("RollbackPlan", client.rollback_plan(other.request(rollback)).await);
}

async fn try_schedules(other: &Tenant, tried: &mut Tried) {
    let mut client = other.schedules();
    let (plan, config) = (|| "orders".to_owned(), || "main".to_owned());
    let list = v1::ListSchedulesRequest::default();
    tried.empty("ListSchedules", client.list_schedules(other.request(list)).await, |page| {
        page.schedules.len()
    });
    let get = v1::GetScheduleRequest { plan: plan(), config: config() };
    tried.not_found("GetSchedule", client.get_schedule(other.request(get)).await);
    let pause = v1::PauseScheduleRequest { plan: plan(), config: config() };
    tried.not_found("PauseSchedule", client.pause_schedule(other.request(pause)).await);
    let resume = v1::ResumeScheduleRequest { plan: plan(), config: config() };
    tried.not_found("ResumeSchedule", client.resume_schedule(other.request(resume)).await);
    let next = v1::ListNextRunsRequest { plan: plan(), config: config(), count: 1 };
    tried.not_found("ListNextRuns", client.list_next_runs(other.request(next)).await);
}

async fn try_executions(other: &Tenant, execution: &str, tried: &mut Tried) {
    let mut client = other.executions();
    let id = || execution.to_owned();
    tried.not_found(
        "GetExecution",
        client.get_execution(other.request(v1::GetExecutionRequest { id: id() })).await,
    );
    let list = v1::ListExecutionsRequest::default();
    tried.empty("ListExecutions", client.list_executions(other.request(list)).await, |page| {
        page.executions.len()
    });
    let list = v1::ListExecutionAttemptsRequest {
        execution_id: id(),
        ..v1::ListExecutionAttemptsRequest::default()
    };
    tried.not_found("ListExecutionAttempts", client.list_execution_attempts(other.request(list)).await);
    let watch = client.watch_execution(other.request(v1::WatchExecutionRequest { id: id() })).await;
    let watched = match watch {
        Ok(stream) => stream.into_inner().message().await.map(Response::new),
        Err(status) => Err(status),
    };
    tried.not_found("WatchExecution", watched);
    let cancel = v1::CancelExecutionRequest { id: id(), reason: String::new() };
    tried.not_found("CancelExecution", client.cancel_execution(other.request(cancel)).await);
    let explain = v1::ExplainExecutionRequest { id: id() };
    tried.not_found("ExplainExecution", client.explain_execution(other.request(explain)).await);
}

/// The tables that hold tenants' rows, with the column that names the tenant.
fn tenant_tables(stack: &TestStack) -> Vec<(String, String)> {
    let query = "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
                 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
                 AND (a.attname = 'tenant_id' OR (c.relname = 'tenants' AND a.attname = 'id')) ORDER BY 1";
    let rows = stack.database.execute(query);
    rows.lines()
        .map(|row| row.split_once('|').expect("two columns"))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenant_cannot_read_or_change_another_tenants_data() {
    let upstream = FakeUpstream::orders(2, 1, false).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let owner = stack.tenant().await;
    owner.shop(&upstream.url()).await;
    owner.plan("orders", &plans::orders()).await;
    let execution = owner.trigger("orders", "main").await;
    owner.success_of(&execution.id).await;

    let other = stack.tenant().await;
    let mut tried = Tried::default();
    try_integrations(&other, &mut tried).await;
    try_configs(&other, &mut tried).await;
    try_plans(&other, &mut tried).await;
    try_schedules(&other, &mut tried).await;
    try_executions(&other, &execution.id, &mut tried).await;
    // This call finds nothing: both tenants may use the same key.
    let create =
        v1::CreateIntegrationRequest { key: "shop".to_owned(), ..v1::CreateIntegrationRequest::default() };
    other.integrations().create_integration(other.request(create)).await.expect("its own integration");
    tried.methods.insert("CreateIntegration".to_owned());
    assert_eq!(tried.methods, tenant_methods(), "every method was tried");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_under_the_tenant_role_sees_only_the_set_tenant() {
    let upstream = FakeUpstream::orders(2, 1, false).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let owner = stack.tenant().await;
    owner.shop(&upstream.url()).await;
    owner.plan("orders", &plans::orders()).await;
    let execution = owner.trigger("orders", "main").await;
    owner.success_of(&execution.id).await;
    let other = stack.tenant().await;

    let tables = tenant_tables(&stack);
    assert!(tables.len() >= 15, "{tables:?}");
    let mut full = 0;
    for (table, column) in &tables {
        let count = |tenant: Option<String>| {
            let set = tenant.map(|id| format!("SET LOCAL orchid.tenant_id = '{id}'"));
            let query = format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", owner.id);
            let begin = ["BEGIN"].into_iter().chain(set.as_deref());
            let statements: Vec<&str> = begin.chain([query.as_str(), "COMMIT"]).collect();
            stack.database.execute_each_as("orchid_app", &statements)
        };
        // A role without the privilege to select sees nothing either.
        let rows = |answer: Result<String, String>| match answer {
            Ok(count) => count.parse::<i64>().expect("a number"),
            Err(refused) => {
                assert!(refused.contains("permission denied"), "{table}: {refused}");
                0
            }
        };
        assert_eq!(rows(count(None)), 0, "{table} without a tenant");
        assert_eq!(rows(count(Some(String::new()))), 0, "{table} with an empty tenant");
        assert_eq!(rows(count(Some(other.id.to_string()))), 0, "{table} as another tenant");
        full += usize::from(rows(count(Some(owner.id.to_string()))) > 0);
        let set = format!("SET LOCAL orchid.tenant_id = '{}'", owner.id);
        let forge = format!("UPDATE {table} SET {column} = '{}'", other.id);
        let forged = stack.database.execute_each_as("orchid_app", &["BEGIN", &set, &forge, "COMMIT"]);
        let theirs =
            stack.database.number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", other.id));
        assert_eq!(
            theirs,
            i64::from(table == "tenants"),
            "{table}: a row was given to another tenant: {forged:?}"
        );
    }
    assert!(full >= 8, "the owner sees rows in {full} tables alone: the test looked at nothing");
    // Tables that the role cannot access at all.
    for table in ["executor_sessions", "loop_runs"] {
        let refused = stack.database.execute_as("orchid_app", &format!("SELECT count(*) FROM {table}"));
        assert!(refused.is_err_and(|said| said.contains("permission denied")), "{table}");
    }
    stack.end().await;
}
