//! The command line tool shows warnings and the words of responses, where people look for them.

use std::fs;
use std::path::PathBuf;

use orchid_tests::{FakeUpstream, StackOptions, Tenant, TestStack, UpstreamReply, environment};
use serde_json::{Value, json};

/// Runs the tool for a tenant and returns what it printed: results, then notices.
async fn orchid(stack: &TestStack, tenant: &Tenant, arguments: &[&str]) -> String {
    let mut command = environment::command(environment::binary("orchid"));
    command.args(arguments).args(["--endpoint", &format!("http://{}", stack.address(0))]);
    command.args(["--tenant", &tenant.id.to_string()]).env("NO_COLOR", "1");
    let output = tokio::task::spawn_blocking(move || command.output().expect("orchid runs")).await;
    let output = output.expect("it was run");
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

fn plan_file(name: &str, step: &Value) -> PathBuf {
    let plan = json!({"kind": "plan", "key": name, "integration": "shop", "definition": {"step": step}});
    let file = environment::run_folder().join(format!("{name}.json"));
    fs::write(&file, format!("{plan:#}")).expect("a file");
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_shows_the_warnings_of_the_plans_that_it_writes() {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    // All surveys would share one cursor, and lose answers.
    let step = json!({
        "url": "{{ config.base_url }}/surveys",
        "iterate_over": "response.body",
        "sub_steps": [{
            "id": "answers",
            "url": "{{ config.base_url }}/surveys/{{ item.id }}/answers",
            "iterate_over": "response.body",
            "emit": "page",
            "cursor": {"value": "max_of(response.body[*].t)", "type": "number", "param": "since"},
        }],
    });
    let file = plan_file("surveys", &step);
    let apply = ["apply", "-f", file.to_str().expect("a name")];
    let dry_run = [apply.as_slice(), &["--dry-run"]].concat();
    let warning = "= CURSOR_SHARED_BY_ITEMS at /definition/step/sub_steps/0/cursor";
    for (arguments, outcome, warned) in [
        (dry_run.as_slice(), "plan        surveys  created", true),
        (apply.as_slice(), "plan        surveys  created", true),
        (apply.as_slice(), "plan        surveys  unchanged", false),
        (dry_run.as_slice(), "plan        surveys  unchanged", true),
    ] {
        let said = orchid(&stack, &tenant, arguments).await;
        assert!(said.contains(outcome) && said.contains(warning) == warned, "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failure_shows_what_the_api_said() {
    let refusal = || UpstreamReply::Json(400, json!({"message": "limit must be at most 50"}));
    let upstream = FakeUpstream::start(move |_| refusal()).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let step =
        json!({"url": "{{ config.base_url }}/", "params": {"limit": 100}, "iterate_over": "response.body"});
    tenant.plan("limits", &json!({"step": step})).await;
    let watched = orchid(&stack, &tenant, &["plan", "trigger", "limits", "--watch"]).await;
    let execution = tenant.all_executions("limits").await.remove(0).id;
    let get = orchid(&stack, &tenant, &["executions", "get", &execution]).await;
    let explained = orchid(&stack, &tenant, &["executions", "explain", &execution]).await;
    for said in [watched, get, explained] {
        assert!(said.contains(r#"{"message":"limit must be at most 50"}"#), "{said}");
    }
    let unknown = orchid(&stack, &tenant, &["plan", "trigger", "limits", "--config", "mian"]).await;
    assert!(
        unknown.contains("config \"mian\" does not exist for plan \"limits\", which has main"),
        "{unknown}"
    );
    stack.end().await;
}
