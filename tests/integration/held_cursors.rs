//! Cursors that stay where they are because a row behind them failed.

use orchid_tests::{FakeUpstream, Message, StackOptions, TestStack, UpstreamReply};
use serde_json::{Value, json};

/// Returns an upstream with three surveys, each newer than the one before. The answers to the
/// second one fail at the first request.
async fn surveys() -> FakeUpstream {
    let failed = std::sync::atomic::AtomicBool::new(false);
    FakeUpstream::start(move |request| {
        if request.path == "/surveys" {
            let since: u64 = request.query.get("since").map_or(0, |since| since.parse().expect("a number"));
            let rows: Vec<Value> = (1..=3)
                .map(|id| json!({"id": id, "at": 10 * id}))
                .filter(|row| row["at"].as_u64() > Some(since))
                .collect();
            return UpstreamReply::ok(json!({"surveys": rows}));
        }
        let id = request.path.rsplit('/').next().unwrap_or_default();
        if id == "2" && !failed.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return UpstreamReply::Json(500, json!({"error": "boom"}));
        }
        UpstreamReply::ok(json!({"answers": [{"of": id}]}))
    })
    .await
}

fn answers(message: &Message) -> Vec<Value> {
    let rows = message.json()["response_body"].as_array().expect("rows").clone();
    rows.iter().map(|row| row["_steps"]["answers"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_execution_reads_the_failed_row_again() {
    let upstream = surveys().await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let plan = json!({"step": {
        "id": "surveys",
        "url": "{{ config.base_url }}/surveys",
        "iterate_over": "response.body.surveys",
        "cursor": {"value": "max_of(response.body.surveys[*].at)", "type": "number", "param": "since"},
        "sub_steps": [{
            "id": "answers",
            "url": "{{ config.base_url }}/answers/{{ item.id }}",
            "iterate_over": "response.body.answers",
            "retry": {"max_retries": 0},
        }],
    }});
    tenant.plan("surveys", &plan).await;
    let first = tenant.trigger("surveys", "main").await;
    let first = tenant.success_of(&first.id).await;
    assert!(first.partial && !first.complete, "{first:#?}");
    let held: Vec<_> = first.warnings.iter().filter(|warning| warning.code == "CURSOR_HELD").collect();
    assert!(matches!(held[..], [held] if held.message.contains("surveys#0[1]")), "{first:#?}");

    let second = tenant.trigger("surveys", "main").await;
    let second = tenant.success_of(&second.id).await;
    assert!(second.complete && second.warnings.is_empty(), "{second:#?}");
    let third = tenant.trigger("surveys", "main").await;
    tenant.success_of(&third.id).await;
    let asked: Vec<String> = upstream
        .requests()
        .iter()
        .filter(|request| request.path == "/surveys")
        .map(|request| request.raw_query.clone())
        .collect();
    assert_eq!(asked, ["", "", "since=30"], "the cursor moves once nothing has failed");

    let messages = stack
        .reader()
        .until("both executions have emitted", |all| {
            all.iter().filter(|message| message.kind() == "api.response").count() == 2
        })
        .await;
    let rows: Vec<Vec<Value>> =
        messages.iter().filter(|message| message.kind() == "api.response").map(answers).collect();
    let of = |id: &str| json!([{"of": id}]);
    assert_eq!(rows, [[of("1"), Value::Null, of("3")], [of("1"), of("2"), of("3")]]);
    stack.end().await;
}
