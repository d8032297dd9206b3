//! The examples on a complete Orchid: created and triggered through the API, run over HTTP, read
//! from Kafka.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use orchid_kit::clock;
use orchid_proto::v1::{self, ExecutionState};
use orchid_tests::client::structure;
use orchid_tests::{FakeUpstream, StackOptions, Tenant, TestStack};
use serde_json::json;

use super::EXAMPLES;
use super::api::{ApiSetup, Example, ExampleApi};
use super::files::ExampleFiles;
use super::outcome::{EmittedMessage, ExecutionOutcome};

type SharedApi = Arc<Mutex<Option<Box<dyn ExampleApi>>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_reads_its_whole_api() {
    let stack = TestStack::start(StackOptions::default()).await;
    let wrong: Vec<String> =
        join_all(EXAMPLES.iter().map(|example| runs(&stack, example))).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stack.end().await;
}

/// Runs all executions of an example and returns the first difference from the expected outcome.
async fn runs(stack: &TestStack, example: &Example) -> Option<String> {
    let api: SharedApi = Arc::new(Mutex::new(None));
    let servers = [server(&api).await, server(&api).await];
    let ground = ApiSetup {
        now: clock::utc_now(),
        url: servers[0].url(),
        other: servers[1].url(),
        calm: false,
        patient: false,
    };
    *api.lock().unwrap() = Some((example.api)(&ground));
    let files = ExampleFiles::of(example, &ground);
    let tenant = stack.tenant().await;
    save(&tenant, &files).await;
    for run in 0.. {
        if !with(&api, |api| api.begin(run, clock::utc_now())) {
            break;
        }
        let execution = tenant.trigger(ExampleFiles::text(&files.plan, "key"), "main").await;
        let ended = tenant.end_of(&execution.id).await;
        let ran = ExecutionOutcome {
            status: status(ended.state()).to_owned(),
            partial: ended.partial,
            said: said(stack, &execution.id).await,
        };
        let started = ended.start_time.and_then(|at| DateTime::from_timestamp(at.seconds, at.nanos as u32));
        let started: DateTime<Utc> = started.expect("it began");
        let expected = with(&api, |api| api.expected(run, started));
        if let Some(words) = ran.differs(&expected, false) {
            return Some(format!("{}, run {run}:\n    {words}\n    {:?}", example.folder, ended.error));
        }
        if let Some(words) = files.secrets().into_iter().find_map(|secret| ran.shows(secret)) {
            return Some(format!("{}, run {run}: {words}", example.folder));
        }
    }
    None
}

async fn server(api: &SharedApi) -> FakeUpstream {
    let api = Arc::clone(api);
    FakeUpstream::start(move |seen| with(&api, |api| api.answer(seen, clock::utc_now()))).await
}

fn with<T>(api: &SharedApi, act: impl FnOnce(&mut dyn ExampleApi) -> T) -> T {
    act(api.lock().unwrap().as_mut().expect("an api").as_mut())
}

/// Creates integration, config and plan as `orchid apply` does.
async fn save(tenant: &Tenant, files: &ExampleFiles) {
    let text = |value, member| ExampleFiles::text(value, member).to_owned();
    let integration = v1::CreateIntegrationRequest {
        key: text(&files.integration, "key"),
        display_name: text(&files.integration, "display_name"),
        description: text(&files.integration, "description"),
        config_schema: Some(structure(&files.integration["config_schema"])),
        ..v1::CreateIntegrationRequest::default()
    };
    tenant.integrations().create_integration(tenant.request(integration)).await.expect("an integration");
    let config = v1::Config {
        integration: text(&files.integration, "key"),
        key: "main".to_owned(),
        values: Some(structure(&files.values)),
        transport: Some(v1::Transport {
            allowed_hosts: files.allowed_hosts.clone(),
            ..v1::Transport::default()
        }),
        ..v1::Config::default()
    };
    let create = v1::CreateConfigRequest { config: Some(config), request_id: String::new() };
    tenant.configs().create_config(tenant.request(create)).await.expect("a config");
    let plan = v1::Plan {
        key: text(&files.plan, "key"),
        integration: text(&files.plan, "integration"),
        name: text(&files.plan, "name"),
        description: text(&files.plan, "description"),
        definition: Some(structure(&hurried(&files.plan["definition"]))),
        ..v1::Plan::default()
    };
    tenant.create_plan(plan).await.expect("a plan");
}

/// Returns the definition with a poll wait of one second for its job.
fn hurried(definition: &serde_json::Value) -> serde_json::Value {
    let mut definition = definition.clone();
    if let Some(wait) = definition.pointer_mut("/step/async_job/poll_wait") {
        *wait = json!("1s");
    }
    definition
}

fn status(state: ExecutionState) -> &'static str {
    match state {
        ExecutionState::Succeeded => "succeeded",
        ExecutionState::Failed => "failed",
        ExecutionState::Aborted => "aborted",
        ExecutionState::Cancelled => "cancelled",
        _ => "something else",
    }
}

/// Returns all messages of an execution that has ended.
async fn said(stack: &TestStack, execution: &str) -> Vec<EmittedMessage> {
    let mut reader = stack.reader();
    let of_run = |message: &&orchid_tests::Message| message.header("execution_id") == execution;
    let all = reader
        .until("the end is announced", |all| {
            all.iter().filter(of_run).any(|message| message.kind() == "execution.completed")
        })
        .await;
    let said = |message: &orchid_tests::Message| EmittedMessage {
        kind: message.kind().to_owned(),
        position: message.header("orchid-position").to_owned(),
        fence: message.header("orchid-fence").parse().unwrap_or_default(),
        payload: message.json(),
    };
    all.iter().filter(of_run).map(said).collect()
}
