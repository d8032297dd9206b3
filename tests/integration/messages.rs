//! The exact messages in Kafka that follow from a trigger.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use bytes::Bytes;
use chrono::DateTime;
use orchid_proto::v1::{Config, Execution, ExecutionState};
use orchid_tests::eventually::{eventually, reached};
use orchid_tests::upstream::order_page;
use orchid_tests::{
    BrokerKind, FakeUpstream, Message, StackOptions, Tenant, TestStack, UpstreamReply, names,
};
use serde_json::{Value, json};

use crate::plans;

fn of_kind<'a>(messages: &'a [Message], kind: &str) -> Vec<&'a Message> {
    messages.iter().filter(|message| message.kind() == kind).collect()
}

/// Checks the headers of a message; of `traceparent` only the presence.
fn headers(message: &Message, tenant: &Tenant, execution: &Execution) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = message.headers.iter().cloned().collect();
    assert_eq!(found.len(), message.headers.len(), "a header occurs twice: {:?}", message.headers);
    let expected = [
        ("tenant_id", tenant.id.to_string()),
        ("integration", "shop".to_owned()),
        ("plan_key", execution.plan.clone()),
        ("config_key", "main".to_owned()),
        ("execution_id", execution.id.clone()),
        ("orchid-schema", "1".to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    for (name, value) in expected {
        assert_eq!(found.remove(name), Some(value), "{name} of {message:?}");
    }
    if let Some(traceparent) = found.remove("traceparent") {
        assert!(traceparent.starts_with("00-") && traceparent.len() == 55, "{traceparent}");
    }
    found.remove("tracestate");
    found
}

fn assert_page(
    message: &Message,
    page: u64,
    tenant: &Tenant,
    config: &Config,
    execution: &Execution,
    url: &str,
) {
    let mut rest = headers(message, tenant, execution);
    let step_path = format!("orders#{page}");
    let fence: i64 = rest.remove("orchid-fence").expect("a fence").parse().expect("a number");
    assert!(fence > 0);
    assert_eq!(
        rest,
        BTreeMap::from([
            ("orchid-attempt".to_owned(), "1".to_owned()),
            ("orchid-message-id".to_owned(), names::message_id(&message.payload)),
            ("orchid-position".to_owned(), names::position(&execution.id, "api.response", &step_path, 0)),
            ("type".to_owned(), "api.response".to_owned()),
        ])
    );
    assert_eq!(message.key, format!("{}:orders:{}", tenant.id, config.id));

    let mut body = message.json();
    let members = body.as_object_mut().expect("an object");
    let timestamp = members.remove("timestamp").expect("a timestamp");
    DateTime::parse_from_rfc3339(timestamp.as_str().expect("text")).expect("RFC 3339");
    assert!(members.remove("duration_ms").is_some_and(|value| value.is_u64()));
    assert!(members.remove("request_headers").is_some_and(|value| value.is_object()));
    let response_headers = members.remove("response_headers").expect("headers");
    assert_eq!(response_headers["content-type"], "application/json");
    // Null if the execution is not traced.
    assert!(members.remove("trace_id").is_some() && members.remove("span_id").is_some());
    let answer = order_page(page, 3, 4);
    let cursor = if page == 0 { String::new() } else { format!("?cursor={page}") };
    assert_eq!(
        body,
        json!({
            "tenant_id": tenant.id.to_string(), "integration": "shop", "plan_key": "orders", "plan_revision": 1,
            "config_id": config.id, "config_key": "main", "execution_id": execution.id, "attempt": 1,
            "step": "orders", "step_path": step_path, "page": page, "chunk": 0, "last_chunk": true,
            "request_url": format!("{url}/orders{cursor}"), "response_url": null, "request_method": "GET",
            "request_body": null, "status_code": 200, "response_size": answer.to_string().len(),
            "body_kind": "rows", "response_body": answer["items"], "extracted_data": {"next": answer["next"]},
        })
    );
}

fn assert_completed(message: &Message, tenant: &Tenant, config: &Config, execution: &Execution) {
    assert_eq!(message.key, format!("{}:orders:{}", tenant.id, config.id));
    headers(message, tenant, execution);
    let mut body = message.json();
    let members = body.as_object_mut().expect("an object");
    for name in ["timestamp", "scheduled_at"] {
        let time = members.remove(name).unwrap_or_else(|| panic!("no {name}"));
        DateTime::parse_from_rfc3339(time.as_str().expect("text")).expect("RFC 3339");
    }
    let bytes: usize = (0..3).map(|page| order_page(page, 3, 4).to_string().len()).sum();
    assert_eq!(
        body,
        json!({
            "type": "execution.completed", "tenant_id": tenant.id.to_string(), "integration": "shop",
            "plan_key": "orders", "plan_revision": 1, "config_id": config.id, "config_key": "main",
            "execution_id": execution.id, "attempt": 1, "status": "succeeded", "partial": false, "complete": true,
            "counts": {"requests": 3, "retries": 0, "pages": 3, "rows": 12, "messages": 3, "bytes": bytes, "errors": 0},
            "positions": {"orders": 3}, "error": null,
        })
    );
}

pub(crate) async fn trigger_ends_in_its_messages(broker: BrokerKind) {
    let upstream = FakeUpstream::orders(3, 4, false).await;
    let stack = TestStack::start(StackOptions { broker, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    let config = tenant.shop(&upstream.url()).await;
    let mut plan = plans::orders();
    plan["step"]["extract"] = json!({"next": "response.body.next"});
    tenant.plan("orders", &plan).await;

    let execution = tenant.trigger("orders", "main").await;
    assert!(matches!(execution.state(), ExecutionState::Queued | ExecutionState::Pending), "{execution:?}");
    let done = tenant.success_of(&execution.id).await;
    assert!(done.complete && !done.partial && done.attempt == 1, "{done:#?}");
    let counts = done.counts.expect("counts");
    assert_eq!((counts.requests, counts.pages, counts.rows, counts.messages), (3, 3, 12, 3));

    let mut reader = stack.reader();
    let messages =
        reader.until("both ends are announced", |all| of_kind(all, "execution.completed").len() == 2).await;
    let pages = of_kind(&messages, "api.response");
    assert_eq!(pages.len(), 3);
    for (page, message) in pages.iter().enumerate() {
        assert_page(message, page as u64, &tenant, &config, &execution, &upstream.url());
    }
    let started = of_kind(&messages, "execution.started");
    assert_eq!(started.len(), 1);
    assert_eq!(
        (started[0].topic.as_str(), started[0].json()["status"].clone()),
        (stack.topics.events.as_str(), json!("running"))
    );

    let completed = of_kind(&messages, "execution.completed");
    let topics: Vec<&str> = completed.iter().map(|message| message.topic.as_str()).collect();
    assert!(
        topics.contains(&stack.topics.events.as_str()) && topics.contains(&stack.topics.responses.as_str())
    );
    for message in completed {
        assert_completed(message, &tenant, &config, &execution);
    }
    // On the responses' topic the end follows all pages, in the same partition.
    let responses: Vec<&Message> =
        messages.iter().filter(|message| message.topic == stack.topics.responses).collect();
    assert!(responses.iter().all(|message| message.partition == responses[0].partition));
    assert_eq!(responses.last().expect("messages").kind(), "execution.completed");
    assert_eq!(messages.len(), 3 + 1 + 2, "nothing else was sent");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trigger_produces_exactly_its_messages() {
    trigger_ends_in_its_messages(BrokerKind::Mock).await;
}

pub(crate) async fn bytes_pass_through(broker: BrokerKind) {
    const BODY: &str = r#"{"items": [ {"id": 12345678901234567890, "price": 1.10, "name": "\u00e9\u0000" } , 1.0E+2],"next":null}"#;
    const ROWS: &str = r#"[{"id": 12345678901234567890, "price": 1.10, "name": "\u00e9\u0000" },1.0E+2]"#;
    let upstream = FakeUpstream::start(|_| {
        UpstreamReply::Raw(
            200,
            vec![("content-type", "application/json".to_owned())],
            Bytes::from_static(BODY.as_bytes()),
        )
    })
    .await;
    let stack = TestStack::start(StackOptions { broker, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("rows", &plans::orders()).await;
    tenant.plan("whole", &plans::single()).await;
    let rows = tenant.trigger("rows", "main").await;
    let whole = tenant.trigger("whole", "main").await;
    tenant.success_of(&rows.id).await;
    tenant.success_of(&whole.id).await;

    let mut reader = stack.reader();
    let messages = reader.until("two pages", |all| of_kind(all, "api.response").len() == 2).await;
    for (execution, expected) in [(&rows, ROWS.to_owned()), (&whole, format!("[{BODY}]"))] {
        let page = messages
            .iter()
            .find(|message| {
                message.kind() == "api.response" && message.header("execution_id") == execution.id
            })
            .expect("a page");
        let text = std::str::from_utf8(&page.payload).expect("text");
        assert!(text.contains(&format!("\"response_body\":{expected}")), "{text}");
        assert_eq!(page.header("orchid-message-id"), names::message_id(&page.payload));
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_bytes_pass_through_unchanged() {
    bytes_pass_through(BrokerKind::Mock).await;
}

pub(crate) async fn flaky_and_broken_upstreams(broker: BrokerKind) {
    let upstream = FakeUpstream::start(|request| match (request.path.as_str(), request.number) {
        ("/orders", 0) => UpstreamReply::Json(503, json!({"error": "busy"})),
        ("/orders", 1) => UpstreamReply::Break,
        ("/orders", _) => UpstreamReply::ok(order_page(0, 1, 2)),
        _ => UpstreamReply::Json(422, json!({"error": "no such thing"})),
    })
    .await;
    let stack = TestStack::start(StackOptions { broker, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    tenant.plan("single", &plans::single()).await;
    let flaky = tenant.trigger("orders", "main").await;
    let flaky = tenant.success_of(&flaky.id).await;
    let counts = flaky.counts.expect("counts");
    assert_eq!((counts.requests, counts.retries, counts.pages, counts.errors), (3, 2, 1, 0));

    let broken = tenant.trigger("single", "main").await;
    let broken = tenant.end_of(&broken.id).await;
    assert_eq!(broken.state(), ExecutionState::Failed, "{broken:#?}");
    let fault = broken.error.expect("an error");
    assert_eq!(
        (fault.class.as_str(), fault.code.as_str(), fault.status_code),
        ("permanent", "HTTP_STATUS", Some(422))
    );
    assert_eq!((fault.pointer.as_str(), fault.step_path.as_str()), ("/definition/step", "one#0"));

    let mut reader = stack.reader();
    let messages =
        reader.until("both ends are announced", |all| of_kind(all, "execution.completed").len() == 4).await;
    let errors = of_kind(&messages, "api.error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors[0];
    assert_eq!(error.topic, stack.topics.errors);
    assert_eq!(error.header("orchid-position"), names::position(&broken.id, "api.error", "one#0", 0));
    assert_eq!(error.header("orchid-message-id"), names::message_id(&error.payload));
    let body = error.json();
    assert_eq!(body["response_body"], json!([{"error": "no such thing"}]));
    assert_eq!(body["error"]["code"], "HTTP_STATUS");
    assert_eq!(body["error"]["ignored"], Value::Bool(false));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flaky_upstream_is_retried_and_broken_one_reports_an_error() {
    flaky_and_broken_upstreams(BrokerKind::Mock).await;
}

pub(crate) async fn kcat_sees_the_same(broker: BrokerKind) {
    let upstream = FakeUpstream::orders(2, 2, false).await;
    let stack = TestStack::start(StackOptions { broker, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    let execution = tenant.trigger("orders", "main").await;
    tenant.success_of(&execution.id).await;
    let mut reader = stack.reader();
    let messages =
        reader.until("both ends are announced", |all| of_kind(all, "execution.completed").len() == 2).await;

    let kcat = Command::new("kcat")
        .args([
            "-C",
            "-e",
            "-q",
            "-b",
            stack.kafka().brokers(),
            "-t",
            &stack.topics.responses,
            "-o",
            "beginning",
        ])
        .args(["-f", "%k\t%h\t%s\n"])
        .output()
        .expect("kcat runs: install the package kcat");
    assert!(kcat.status.success(), "{}", String::from_utf8_lossy(&kcat.stderr));
    let seen = String::from_utf8(kcat.stdout).expect("text");
    let expected: Vec<String> = messages
        .iter()
        .filter(|message| message.topic == stack.topics.responses)
        .map(|message| {
            let headers: Vec<String> =
                message.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let payload = std::str::from_utf8(&message.payload).expect("text");
            format!("{}\t{}\t{payload}", message.key, headers.join(","))
        })
        .collect();
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_reads_the_same_messages() {
    kcat_sees_the_same(BrokerKind::Mock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_execution_stops_and_announces_its_end() {
    let upstream = FakeUpstream::orders(5, 1, true).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    upstream.open(0);
    let execution = tenant.trigger("orders", "main").await;
    eventually("the second page is asked for", async || reached(upstream.count(), 2)).await;
    // An execution that has not started is cancelled at once.
    let waiting = tenant.trigger("orders", "main").await;
    assert_eq!(waiting.state(), ExecutionState::Pending);
    for id in [&waiting.id, &execution.id] {
        let cancel = orchid_proto::v1::CancelExecutionRequest { id: id.clone(), reason: "a test".to_owned() };
        tenant.executions().cancel_execution(tenant.request(cancel)).await.expect("cancel");
        let ended = tenant.end_of(id).await;
        assert_eq!(ended.state(), ExecutionState::Cancelled, "{ended:#?}");
    }
    assert_eq!(upstream.count(), 2, "a cancelled run asks for nothing more");
    let mut reader = stack.reader();
    let messages =
        reader.until("both ends are announced", |all| of_kind(all, "execution.completed").len() == 4).await;
    assert!(of_kind(&messages, "execution.completed").iter().all(|end| end.json()["status"] == "cancelled"));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_and_aborted_executions_announce_counts_and_reason() {
    let upstream = FakeUpstream::start(|request| match request.query.get("cursor") {
        None => UpstreamReply::ok(order_page(0, 3, 4)),
        Some(_) => UpstreamReply::Json(422, json!({"error": "no such page"})),
    })
    .await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    let config = tenant.shop(&upstream.url()).await;
    let mut aborts = plans::orders();
    aborts["step"]["abort_on"] = json!([422]);
    tenant.plan("failed", &plans::orders()).await;
    tenant.plan("aborted", &aborts).await;
    let bytes = order_page(0, 3, 4).to_string().len() + json!({"error": "no such page"}).to_string().len();
    let cases = [
        ("failed", ExecutionState::Failed, "permanent", "HTTP_STATUS", "/definition/step"),
        ("aborted", ExecutionState::Aborted, "aborted", "ABORT_ON", "/definition/step/abort_on"),
    ];
    let mut reader = stack.reader();
    for (status, state, class, code, pointer) in cases {
        let execution = tenant.trigger(status, "main").await;
        let done = tenant.end_of(&execution.id).await;
        assert_eq!((done.state(), done.complete), (state, false), "{done:#?}");
        let messages = reader
            .until("both ends are announced", |all| {
                let ends = of_kind(all, "execution.completed");
                ends.iter().filter(|end| end.header("execution_id") == execution.id).count() == 2
            })
            .await;
        let key = format!("{}:{status}:{}", tenant.id, config.id);
        let of_run: Vec<&Message> = messages.iter().filter(|message| message.key == key).collect();
        let ends: Vec<&Message> =
            of_run.iter().copied().filter(|message| message.kind() == "execution.completed").collect();
        let topics: BTreeSet<&str> = ends.iter().map(|end| end.topic.as_str()).collect();
        assert_eq!(topics, BTreeSet::from([stack.topics.events.as_str(), stack.topics.responses.as_str()]));
        for end in &ends {
            headers(end, &tenant, &execution);
            let mut body = end.json();
            for name in ["timestamp", "scheduled_at"] {
                body.as_object_mut().expect("an object").remove(name).unwrap_or_else(|| panic!("no {name}"));
            }
            let message = body["error"]["message"].take();
            assert!(message.as_str().is_some_and(|words| words.contains("422")), "{message}");
            assert_eq!(
                body,
                json!({
                    "type": "execution.completed", "tenant_id": tenant.id.to_string(), "integration": "shop",
                    "plan_key": status, "plan_revision": 1, "config_id": config.id, "config_key": "main",
                    "execution_id": execution.id, "attempt": 1, "status": status, "partial": false, "complete": false,
                    "counts": {"requests": 2, "retries": 0, "pages": 1, "rows": 4, "messages": 1, "bytes": bytes, "errors": 1},
                    "positions": {"orders": 1},
                    "error": {
                        "class": class, "code": code, "message": null, "pointer": pointer, "step_path": "orders#1",
                        "status_code": 422, "response_excerpt": json!({"error": "no such page"}).to_string(),
                    },
                })
            );
        }
        let responses: Vec<&str> = of_run
            .iter()
            .filter(|message| message.topic == stack.topics.responses)
            .map(|message| message.kind())
            .collect();
        assert_eq!(responses, ["api.response", "execution.completed"], "{status}: the end follows the pages");
    }
    stack.end().await;
}
