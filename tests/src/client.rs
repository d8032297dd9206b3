//! Clients for tests: a tenant's for the management API, and a scripted executor's for the fleet
//! API.

use std::time::Duration;

use orchid_proto::admin::v1::CreateTenantRequest;
use orchid_proto::admin::v1::tenant_service_client::TenantServiceClient;
use orchid_proto::executor::v1 as fleet;
use orchid_proto::v1::{self, ExecutionState};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Prost};
use serde_json::Value;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::eventually::eventually;

/// The time that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest message that an executor takes.
const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// Converts a JSON object to a `google.protobuf.Struct`.
pub fn structure(json: &Value) -> Struct {
    let Value::Object(members) = json else { panic!("{json} is no object") };
    Struct { fields: members.iter().map(|(name, value)| (name.clone(), prost_value(value))).collect() }
}

fn prost_value(json: &Value) -> Prost {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().expect("a double")),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.iter().map(prost_value).collect() })
        }
        Value::Object(_) => Kind::StructValue(structure(json)),
    };
    Prost { kind: Some(kind) }
}

/// Returns whether a state is final.
pub fn ended(state: ExecutionState) -> bool {
    matches!(
        state,
        ExecutionState::Succeeded
            | ExecutionState::Failed
            | ExecutionState::Aborted
            | ExecutionState::Cancelled
            | ExecutionState::DeadLettered
    )
}

/// A tenant with a connection to the control plane.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: Uuid,
    channel: Channel,
}

impl Tenant {
    /// Creates a tenant.
    pub async fn create(channel: Channel, pool: &str) -> Tenant {
        let mut request = Request::new(CreateTenantRequest {
            display_name: "a tenant".to_owned(),
            pool: pool.to_owned(),
            ..CreateTenantRequest::default()
        });
        request.metadata_mut().insert("x-orchid-role", MetadataValue::from_static("operator"));
        let created =
            TenantServiceClient::new(channel.clone()).create_tenant(request).await.expect("a tenant");
        Tenant { id: created.into_inner().id.parse().expect("a uuid"), channel }
    }

    /// Returns the same tenant over another connection.
    pub fn through(&self, channel: Channel) -> Tenant {
        Tenant { id: self.id, channel }
    }

    /// Returns a request that acts for this tenant.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-tenant-id", self.id.to_string().parse().expect("metadata"));
        request.set_timeout(CALL_TIMEOUT);
        request
    }

    /// Returns the client of the integration service.
    pub fn integrations(&self) -> v1::integration_service_client::IntegrationServiceClient<Channel> {
        v1::integration_service_client::IntegrationServiceClient::new(self.channel.clone())
    }

    /// Returns the client of the config service.
    pub fn configs(&self) -> v1::config_service_client::ConfigServiceClient<Channel> {
        v1::config_service_client::ConfigServiceClient::new(self.channel.clone())
    }

    /// Returns the client of the plan service.
    pub fn plans(&self) -> v1::plan_service_client::PlanServiceClient<Channel> {
        v1::plan_service_client::PlanServiceClient::new(self.channel.clone())
    }

    /// Returns the client of the schedule service.
    pub fn schedules(&self) -> v1::schedule_service_client::ScheduleServiceClient<Channel> {
        v1::schedule_service_client::ScheduleServiceClient::new(self.channel.clone())
    }

    /// Returns the client of the execution service.
    pub fn executions(&self) -> v1::execution_service_client::ExecutionServiceClient<Channel> {
        v1::execution_service_client::ExecutionServiceClient::new(self.channel.clone())
    }

    /// Creates the integration `shop` with a config `main` that holds a base URL.
    pub async fn shop(&self, base_url: &str) -> v1::Config {
        let integration = v1::CreateIntegrationRequest {
            key: "shop".to_owned(),
            ..v1::CreateIntegrationRequest::default()
        };
        self.integrations().create_integration(self.request(integration)).await.expect("an integration");
        self.config("main", &serde_json::json!({"base_url": base_url})).await
    }

    /// Creates a config of the integration `shop`.
    pub async fn config(&self, key: &str, values: &Value) -> v1::Config {
        let config = v1::Config {
            integration: "shop".to_owned(),
            key: key.to_owned(),
            values: Some(structure(values)),
            ..v1::Config::default()
        };
        let create = v1::CreateConfigRequest { config: Some(config), request_id: String::new() };
        self.configs().create_config(self.request(create)).await.expect("a config").into_inner()
    }

    /// Creates a plan of the integration `shop`.
    pub async fn plan(&self, key: &str, definition: &Value) -> v1::Plan {
        let plan = v1::Plan {
            key: key.to_owned(),
            integration: "shop".to_owned(),
            definition: Some(structure(definition)),
            ..v1::Plan::default()
        };
        self.create_plan(plan).await.expect("a plan")
    }

    /// Creates a plan.
    ///
    /// # Errors
    /// When the control plane refuses it.
    pub async fn create_plan(&self, plan: v1::Plan) -> Result<v1::Plan, Status> {
        let create = v1::CreatePlanRequest { plan: Some(plan), request_id: String::new() };
        self.plans().create_plan(self.request(create)).await.map(tonic::Response::into_inner)
    }

    /// Triggers a plan for a config.
    pub async fn trigger(&self, plan: &str, config: &str) -> v1::Execution {
        let trigger = v1::TriggerPlanRequest {
            key: plan.to_owned(),
            config: config.to_owned(),
            ..v1::TriggerPlanRequest::default()
        };
        self.plans().trigger_plan(self.request(trigger)).await.expect("an execution").into_inner()
    }

    /// Returns the current state of an execution; waits while the control plane is unreachable.
    pub async fn execution(&self, id: &str) -> v1::Execution {
        eventually("a control plane responds", async || {
            let get = v1::GetExecutionRequest { id: id.to_owned() };
            match self.executions().get_execution(self.request(get)).await {
                Ok(execution) => Ok(execution.into_inner()),
                Err(status)
                    if matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown) =>
                {
                    Err(status.code())
                }
                Err(status) => panic!("execution {id}: {status}"),
            }
        })
        .await
    }

    /// Waits until an execution has ended, with any outcome.
    pub async fn end_of(&self, id: &str) -> v1::Execution {
        eventually(&format!("execution {id} ends"), async || {
            let execution = self.execution(id).await;
            if ended(execution.state()) { Ok(execution) } else { Err(execution) }
        })
        .await
    }

    /// Waits until an execution has ended, and fails unless it succeeded.
    pub async fn success_of(&self, id: &str) -> v1::Execution {
        let execution = self.end_of(id).await;
        assert_eq!(execution.state(), ExecutionState::Succeeded, "{execution:#?}");
        execution
    }

    /// Returns the attempts of an execution, oldest first.
    pub async fn attempts(&self, id: &str) -> Vec<v1::ExecutionAttempt> {
        let list = v1::ListExecutionAttemptsRequest {
            execution_id: id.to_owned(),
            ..v1::ListExecutionAttemptsRequest::default()
        };
        let response = self.executions().list_execution_attempts(self.request(list)).await;
        let mut attempts = response.expect("attempts").into_inner().attempts;
        attempts.reverse();
        attempts
    }

    /// Returns all executions of a plan, oldest first.
    pub async fn all_executions(&self, plan: &str) -> Vec<v1::Execution> {
        let mut executions = Vec::new();
        let mut token = String::new();
        loop {
            let list = v1::ListExecutionsRequest {
                plan: plan.to_owned(),
                page_size: 200,
                page_token: token,
                ..v1::ListExecutionsRequest::default()
            };
            let page =
                self.executions().list_executions(self.request(list)).await.expect("executions").into_inner();
            executions.extend(page.executions);
            token = page.next_page_token;
            if token.is_empty() {
                executions.reverse();
                return executions;
            }
        }
    }
}

/// An executor session whose calls the test makes itself.
pub struct ScriptedExecutor {
    client: fleet::executor_service_client::ExecutorServiceClient<Channel>,
    token: MetadataValue<tonic::metadata::Ascii>,
    /// The response to the registration.
    pub registered: fleet::RegisterResponse,
    beat_seq: i64,
}

impl ScriptedExecutor {
    /// Registers an executor with a pool.
    pub async fn register(channel: Channel, pool: &str, pool_token: &str) -> ScriptedExecutor {
        Self::register_with(channel, pool, pool_token, 8).await
    }

    /// Registers an executor with this many slots.
    pub async fn register_with(
        channel: Channel,
        pool: &str,
        pool_token: &str,
        slots: i32,
    ) -> ScriptedExecutor {
        let mut client = fleet::executor_service_client::ExecutorServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let mut request = Request::new(fleet::RegisterRequest {
            name: "by-hand".to_owned(),
            pool: pool.to_owned(),
            slots,
            version: "test".to_owned(),
        });
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {pool_token}").parse().expect("metadata"));
        let registered = client.register(request).await.expect("a session").into_inner();
        let token = registered.session_token.parse().expect("metadata");
        ScriptedExecutor { client, token, registered, beat_seq: 0 }
    }

    /// Returns a request of this session.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-orchid-session", self.token.clone());
        request.set_timeout(CALL_TIMEOUT);
        request
    }

    /// Returns the client of the fleet service.
    pub fn client(&self) -> fleet::executor_service_client::ExecutorServiceClient<Channel> {
        self.client.clone()
    }

    /// Requests any leases of the pool.
    pub async fn acquire(&self, seq: i64) -> Vec<fleet::LeaseGrant> {
        let ask = fleet::AcquireLeasesRequest {
            acquire_seq: seq,
            max_leases: 8,
            wait_ms: 200,
            ..fleet::AcquireLeasesRequest::default()
        };
        self.client().acquire_leases(self.request(ask)).await.expect("a response").into_inner().grants
    }

    /// One beat that lists these leases.
    pub async fn beat(
        &mut self,
        answered_acquire_seq: i64,
        leases: &[&fleet::LeaseGrant],
    ) -> fleet::HeartbeatResponse {
        self.beat_seq += 1;
        let running = |grant: &&fleet::LeaseGrant| fleet::ActiveLease {
            lease_token: grant.lease_token.clone(),
            ..fleet::ActiveLease::default()
        };
        let beat = fleet::HeartbeatRequest {
            heartbeat_seq: self.beat_seq,
            resolved_acquire_seq: answered_acquire_seq,
            leases: leases.iter().map(running).collect(),
            free_slots: 8,
            ..fleet::HeartbeatRequest::default()
        };
        self.client().heartbeat(self.request(beat)).await.expect("a response").into_inner()
    }
}
