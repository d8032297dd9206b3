//! The secrets of an execution are nowhere in the clear: not in any table of the database, not in
//! Redis, not in Kafka outside of response bodies, and not in a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use orchid_proto::v1::{self, ExecutionState};
use orchid_tests::client::structure;
use orchid_tests::{FakeUpstream, StackOptions, Tenant, TestStack, UpstreamReply, eventually};
use serde_json::{Value, json};

/// The secrets by name; the name is the place where the plan puts them.
const SECRETS: [(&str, &str); 6] = [
    ("header", "t0ken/with+signs=1"),
    ("basic", "pass word 4711"),
    ("query", "K3Y-secret"),
    ("body", "pin-4711-x"),
    ("host", "h0st-secret"),
    ("path", "p4th-secret"),
];

fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == name).expect("a secret").1
}

/// Creates the integration `shop` with a config of secrets. Its host exists only for the proxy.
async fn create_shop(tenant: &Tenant, upstream: &FakeUpstream) {
    let members =
        SECRETS.iter().map(|(name, _)| ((*name).to_owned(), json!({"type": "string", "writeOnly": true})));
    let schema = json!({"type": "object", "properties": members.collect::<serde_json::Map<String, Value>>()});
    let integration = v1::CreateIntegrationRequest {
        key: "shop".to_owned(),
        config_schema: Some(structure(&schema)),
        ..v1::CreateIntegrationRequest::default()
    };
    tenant.integrations().create_integration(tenant.request(integration)).await.expect("an integration");
    let values: serde_json::Map<String, Value> =
        SECRETS.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let config = v1::Config {
        integration: "shop".to_owned(),
        key: "main".to_owned(),
        values: Some(structure(&Value::Object(values))),
        transport: Some(v1::Transport { proxy: upstream.url(), ..v1::Transport::default() }),
        ..v1::Config::default()
    };
    let create = v1::CreateConfigRequest { config: Some(config), ..v1::CreateConfigRequest::default() };
    tenant.configs().create_config(tenant.request(create)).await.expect("a config");
}

fn definition() -> Value {
    json!({"step": {
        "id": "orders",
        "method": "POST",
        "url": "http://{{ config.host }}.example.com/orders/{{ config.path }}",
        "headers": {
            "x-plain": "{{ config.header }}",
            "x-basic": "{{ base64_encode(join(':', ['me', config.basic])) }}"
        },
        "params": {"apiKey": "{{ config.query }}"},
        "body": {"pin": "{{ config.body }}"},
        "retry": {"max_retries": 100},
        "iterate_over": "response.body.rows",
        // The second page's URL is built by the plan, the third one's by the API.
        "paginate": {
            "type": "next_url",
            "value": "response.body.whole || (response.body.next && join('', [response.body.next, '&apiKey=', config.query]))"
        }
    }})
}

/// An API that asks for a wait before each page beyond `open_page`, and fails at the third page
/// with an echo of everything it was sent.
async fn waiting_upstream(open_page: Arc<AtomicU64>) -> FakeUpstream {
    FakeUpstream::start(move |request| {
        let next = |page: u32| {
            format!("http://{}.example.com/orders/{}?page={page}", secret("host"), secret("path"))
        };
        let headers = |name: &'static str, value: String| {
            vec![("content-type", "application/json".to_owned()), (name, value)]
        };
        let link = format!("<{}&api%5Fkey={}>; rel=\"next\"", next(9), secret("query"));
        let page: u64 = request.query.get("page").map_or(1, |page| page.parse().expect("a page"));
        if page > open_page.load(Ordering::Relaxed) {
            return UpstreamReply::Raw(429, vec![("retry-after", "2".to_owned())], "{}".into());
        }
        match page {
            1 => {
                let body = json!({"rows": [1], "next": next(2)}).to_string();
                UpstreamReply::Raw(200, headers("link", link), body.into())
            }
            2 => {
                let whole = format!("{}&apiKey={}", next(3), secret("query"));
                let body = json!({"rows": [2], "whole": whole}).to_string();
                UpstreamReply::Raw(
                    200,
                    headers("content-location", format!("/orders/{}", secret("path"))),
                    body.into(),
                )
            }
            _ => {
                let echo = SECRETS.map(|(_, value)| value).join(" | ");
                let body = json!({"error": echo, "url": request.raw_query}).to_string();
                UpstreamReply::Raw(400, headers("location", next(1)), body.into())
            }
        }
    })
    .await
}

/// Returns the forms in which a secret could be found in a text, or in the hexadecimal digits that
/// stand for bytes.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![secret.to_owned(), percent.clone(), percent.replace('+', "%20")];
    for offset in 0..3 {
        let bytes = [&vec![0; offset], secret.as_bytes()].concat();
        let (start, end) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
        forms.push(STANDARD_NO_PAD.encode(&bytes)[start..end].to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&bytes)[start..end].to_owned());
    }
    let in_bytes: Vec<String> = forms.iter().map(hex::encode).collect();
    forms.extend(in_bytes);
    forms
}

/// Returns the secrets that a text contains in any form.
fn found(text: &str) -> Vec<&'static str> {
    let is_found = |secret: &str| forms(secret).iter().any(|form| text.contains(form.as_str()));
    SECRETS.iter().filter(|(_, value)| is_found(value)).map(|(name, _)| *name).collect()
}

/// Returns all rows of all tables as text, each with its table.
fn all_tables(stack: &TestStack) -> Vec<(String, String)> {
    let tables = stack.database.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    );
    // One statement for all: a process per table would take as long as the wait of the upstream.
    let rows: Vec<String> =
        tables.lines().map(|table| format!("SELECT '{table}' || E'\\t' || t::text FROM {table} t")).collect();
    let rows = stack.database.execute(&rows.join(" UNION ALL "));
    rows.lines()
        .filter_map(|row| row.split_once('\t'))
        .map(|(table, row)| (table.to_owned(), row.to_owned()))
        .collect()
}

/// Checks that no table, no log and nothing in Redis contains a secret.
async fn assert_hidden(stack: &TestStack, when: &str) {
    let tables = all_tables(stack);
    for (table, rows) in &tables {
        assert_eq!(found(rows), Vec::<&str>::new(), "{when}, in {table}: {rows}");
    }
    let checkpoint = tables.iter().find(|(table, _)| table.ends_with(".checkpoints")).expect("a table");
    // The counts beside the sealed parts show that bytes are searched.
    assert!(checkpoint.1.contains(&hex::encode("orders")), "{when}: {checkpoint:?}");
    assert_eq!(found(&stack.logs()), Vec::<&str>::new(), "{when}, in a log");
    let redis = stack.redis_content().await;
    assert_eq!(found(&redis), Vec::<&str>::new(), "{when}, in Redis: {redis}");
}

async fn parked(tenant: &Tenant, id: &str, pages: i64) {
    eventually("the execution parks", async || {
        let now = tenant.execution(id).await;
        let reached = now.counts.is_some_and(|counts| counts.pages == pages);
        if now.state() == ExecutionState::Parked && reached { Ok(()) } else { Err(now) }
    })
    .await;
}

fn options() -> StackOptions {
    StackOptions {
        own_redis: true,
        control_plane_settings: vec![("ORCHID_RUNS_PARK_AFTER_SECONDS", "1".to_owned())],
        ..StackOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_nowhere_in_the_clear() {
    for (_, secret) in SECRETS {
        assert!(!found(&format!("x {secret}")).is_empty() && !found(&hex::encode(secret)).is_empty());
        assert!(!found(&STANDARD.encode(format!("me:{secret}!"))).is_empty());
    }
    let open_page = Arc::new(AtomicU64::new(1));
    let upstream = waiting_upstream(Arc::clone(&open_page)).await;
    let stack = TestStack::start(options()).await;
    let tenant = stack.tenant().await;
    create_shop(&tenant, &upstream).await;
    tenant.plan("orders", &definition()).await;
    let run = tenant.trigger("orders", "main").await;
    parked(&tenant, &run.id, 1).await;
    assert_hidden(&stack, "parked at a URL of the plan").await;
    open_page.store(2, Ordering::Relaxed);
    parked(&tenant, &run.id, 2).await;
    assert_hidden(&stack, "parked at a URL of the API").await;
    open_page.store(3, Ordering::Relaxed);
    let ended = tenant.end_of(&run.id).await;
    let error = ended.error.clone().expect("an error");
    assert_eq!((error.code.as_str(), error.status_code), ("HTTP_STATUS", Some(400)), "{error:?}");
    assert!(error.response_excerpt.starts_with(r#"{"error":"[REDACTED] | "#), "{error:?}");
    assert_hidden(&stack, "failed").await;
    let explain = v1::ExplainExecutionRequest { id: run.id.clone() };
    let explained =
        tenant.executions().explain_execution(tenant.request(explain)).await.expect("OK").into_inner();
    assert!(
        explained.summary.contains(&format!("The response said: {}", error.response_excerpt)),
        "{explained:?}"
    );
    assert_eq!(found(&format!("{explained:?} {ended:?}")), Vec::<&str>::new());

    let mut reader = stack.reader();
    let messages = reader
        .until("the end", |all| all.iter().any(|message| message.kind() == "execution.completed"))
        .await;
    let mut echoed = 0;
    for message in &messages {
        let mut payload = message.json();
        let body = payload.as_object_mut().expect("an object").remove("response_body").unwrap_or_default();
        echoed += usize::from(found(&body.to_string()).len() == SECRETS.len());
        let text = format!("{} {:?} {payload}", message.key, message.headers);
        assert_eq!(found(&text), Vec::<&str>::new(), "{text}");
    }
    assert_eq!(echoed, 1, "the body of the error is unaltered");

    // The requests contained them all.
    let sent = upstream.requests();
    assert!(sent.len() >= 5, "{sent:#?}");
    for request in &sent {
        assert_eq!(request.headers["x-plain"], secret("header"));
        assert!(request.headers["host"].starts_with(secret("host")), "{request:?}");
        assert!(String::from_utf8_lossy(&request.body).contains(secret("body")), "{request:?}");
        assert_eq!(request.query["apiKey"], secret("query"));
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoint_survives_the_rotation_of_the_master_key() {
    let open_page = Arc::new(AtomicU64::new(1));
    let upstream = waiting_upstream(Arc::clone(&open_page)).await;
    let mut stack = TestStack::start(options()).await;
    let tenant = stack.tenant().await;
    create_shop(&tenant, &upstream).await;
    tenant.plan("orders", &definition()).await;
    let run = tenant.trigger("orders", "main").await;
    parked(&tenant, &run.id, 1).await;
    stack.kill_control_plane(0);
    stack.rotate_master_key(0);
    stack.restart_control_plane(0).await;
    open_page.store(3, Ordering::Relaxed);
    let ended = tenant.end_of(&run.id).await;
    assert_eq!(ended.counts.expect("counts").pages, 2, "it went on behind the first page: {ended:?}");
    stack.end().await;
}
