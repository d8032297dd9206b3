//! Documents made to cost more than their size suggests: each is refused or accepted in little
//! time, and while the server works on them it answers other calls.

use std::future::Future;
use std::time::{Duration, Instant};

use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::{StackOptions, Tenant, TestStack};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Time that the server may spend on a document.
const MAX_WORK: Duration = Duration::from_millis(100);
/// Multiple of the time of a harmless document of the same size that is added, for machines that
/// are slow or busy.
const SLACK: u32 = 3;
/// Tries of a call that takes too long. Another process may have had the processor meanwhile.
const TRIES: usize = 4;

async fn start() -> (TestStack, Tenant) {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    (stack, tenant)
}

async fn create_schema(tenant: &Tenant, integration: &str, schema: &Value) -> Result<(), Status> {
    let request = v1::CreateConfigSchemaRequest {
        integration: integration.to_owned(),
        schema: Some(structure(schema)),
        request_id: String::new(),
    };
    tenant.integrations().create_config_schema(tenant.request(request)).await.map(drop)
}

async fn integration(tenant: &Tenant, key: &str, schema: Option<&Value>) {
    let request = v1::CreateIntegrationRequest {
        key: key.to_owned(),
        config_schema: schema.map(structure),
        ..v1::CreateIntegrationRequest::default()
    };
    tenant.integrations().create_integration(tenant.request(request)).await.expect("an integration");
}

fn config(integration: &str, values: &Value) -> v1::Config {
    v1::Config {
        integration: integration.to_owned(),
        key: "main".to_owned(),
        values: Some(structure(values)),
        ..v1::Config::default()
    }
}

async fn validate_config(tenant: &Tenant, config: v1::Config) -> Result<Vec<v1::Diagnostic>, Status> {
    let request = v1::ValidateConfigRequest { config: Some(config) };
    let checked = tenant.configs().validate_config(tenant.request(request)).await?;
    Ok(checked.into_inner().diagnostics)
}

async fn validate_plan(tenant: &Tenant, plan: v1::Plan) -> Result<Vec<v1::Diagnostic>, Status> {
    let request = v1::ValidatePlanRequest { plan: Some(plan) };
    let checked = tenant.plans().validate_plan(tenant.request(request)).await?;
    Ok(checked.into_inner().diagnostics)
}

/// Runs a call until it takes little more time than a harmless one, and returns its result.
async fn quick<T, H>(what: &str, hostile: impl AsyncFn() -> T, harmless: impl AsyncFn() -> H) -> T {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let base = timed(harmless()).await.1;
        let (result, took) = timed(hostile()).await;
        if took <= MAX_WORK + base * SLACK {
            return result;
        }
        seen.push((took, base));
    }
    panic!("{what} took too long: {seen:?} (and a harmless document)")
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let result = work.await;
    (result, started.elapsed())
}

/// Values of 30 levels, each with the next one in its member `a`.
fn deep() -> Value {
    (0..29).fold(json!({"a": {}}), |inner, _| json!({"a": inner}))
}

/// Schemas that a walk which follows references visits for years.
fn endless_schemas() -> Vec<Value> {
    let mut doubling: Map<String, Value> = (0..40)
        .map(|level| {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            (format!("d{level}"), json!({"anyOf": [next, next]}))
        })
        .collect();
    doubling.insert("d40".to_owned(), json!({}));
    vec![
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"$ref": "#/$defs/d0", "$defs": doubling}),
        json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
                         "b": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}},
               "$ref": "#/$defs/a"}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_schema_is_refused_and_delays_no_other_call() {
    let (stack, tenant) = start().await;
    integration(&tenant, "shop", None).await;
    let harmless = async || create_schema(&tenant, "shop", &json!({"type": "object"})).await;
    for schema in endless_schemas() {
        let refused =
            quick("a schema", async || create_schema(&tenant, "shop", &schema).await, harmless).await;
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "/schema", "{status}");
    }
    // More of them than the server has threads.
    let many = (0..16).map(|number| {
        let (tenant, schemas) = (tenant.clone(), endless_schemas());
        async move { create_schema(&tenant, "shop", &schemas[number % schemas.len()]).await }
    });
    let other = async {
        let get = || tenant.request(v1::GetIntegrationRequest { key: "shop".to_owned() });
        quick(
            "another call",
            async || tenant.integrations().get_integration(get()).await,
            async || tenant.integrations().get_integration(get()).await,
        )
        .await
    };
    let (refused, other) = tokio::join!(futures_util::future::join_all(many), other);
    assert!(refused.iter().all(Result::is_err));
    other.expect("an integration");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_a_schema_multiplies_are_refused_quickly() {
    let (stack, tenant) = start().await;
    let twice = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
    let words = |count: usize| json!({"list": vec!["word"; count]});
    let patterns: Map<String, Value> = (0..99).map(|n| (format!("(?=(x+x+)+y){n}"), json!(true))).collect();
    let names: Map<String, Value> = (0..9000).map(|n| (format!("x{n}"), json!(1))).collect();
    let branches: Vec<Value> = (0..2000).map(|number| json!({"minLength": number})).collect();
    let cases = [
        ("properties", json!({"properties": {"a": twice}}), deep(), true),
        (
            "unevaluated",
            json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}], "unevaluatedProperties": false}),
            deep(),
            true,
        ),
        ("branches", json!({"properties": {"list": {"items": {"anyOf": branches}}}}), words(20_000), true),
        ("patterns", json!({"patternProperties": patterns}), Value::Object(names.clone()), true),
        (
            "enum",
            json!({"properties": {"list": {"items": {"enum": (0..9000).collect::<Vec<_>>()}}}}),
            words(20_000),
            true,
        ),
        (
            "backtracking",
            json!({"properties": {"a": {"pattern": "^(?=(x+x+)+y)"}}}),
            json!({"a": "x".repeat(5000)}),
            true,
        ),
        (
            "unknown",
            json!({"properties": {"abcdefgh": {}}, "additionalProperties": false}),
            Value::Object(names),
            true,
        ),
        ("recursion", json!({"properties": {"a": {"$ref": "#"}, "b": {"writeOnly": true}}}), deep(), false),
    ];
    integration(&tenant, "plain", None).await;
    for (name, schema, values, is_refused) in cases {
        integration(&tenant, name, Some(&schema)).await;
        let problems = quick(
            name,
            async || validate_config(&tenant, config(name, &values)).await,
            async || validate_config(&tenant, config("plain", &values)).await,
        )
        .await
        .expect("a result");
        assert_eq!(!problems.is_empty(), is_refused, "{name}: {problems:?}");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_plan_is_refused_quickly() {
    let (stack, tenant) = start().await;
    let secrets = json!({"properties": {
        "a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"$ref": "#"}, "key": {"writeOnly": true}}});
    integration(&tenant, "shop", Some(&secrets)).await;
    let plan = |definition: &Value| v1::Plan {
        key: "p".to_owned(),
        integration: "shop".to_owned(),
        definition: Some(structure(definition)),
        ..v1::Plan::default()
    };
    let step = |name: &str, value: Value| {
        let mut definition = json!({"step": {"url": "https://a.example.com"}});
        definition["step"][name] = value;
        definition
    };
    let members = |count: usize, value: Value| -> Map<String, Value> {
        (0..count).map(|n| (format!("m{n:06}"), value.clone())).collect()
    };
    let harmless = plan(&step("headers", Value::Object(members(8000, json!("a value of a header")))));
    let many_names = |count| (0..count).map(|n| format!("name{n:05}")).collect::<Vec<_>>();
    let mut keep = step("params", Value::Object(members(8000, json!("x"))));
    keep["step"]["paginate"] =
        json!({"type": "next_url", "value": "response.body.next", "keep_params": many_names(10_000)});
    let mut unknown = step("headers", json!({}));
    unknown["step"].as_object_mut().unwrap().extend(members(20_000, json!(1)));
    let cases = [
        ("unknown fields", plan(&unknown)),
        ("unknown parameters", plan(&keep)),
        ("unknown functions", plan(&step("url", json!("{{ uper(a) }}".repeat(18_000))))),
        ("unknown names", plan(&step("url", json!("{{ respnse }}".repeat(18_000))))),
        ("secrets", plan(&step("extract", Value::Object(members(8000, json!("config")))))),
        ("long name", plan(&step(&"x".repeat(1000), json!(1)))),
        ("large text", plan(&step("body", json!("x".repeat(3_000_000))))),
        ("unknown configs", v1::Plan { configs: many_names(900), ..harmless.clone() }),
    ];
    for (name, hostile) in cases {
        let checked = quick(
            name,
            async || validate_plan(&tenant, hostile.clone()).await,
            async || validate_plan(&tenant, harmless.clone()).await,
        )
        .await;
        if name == "large text" {
            assert_eq!(checked.expect_err("too large to be read").code(), Code::InvalidArgument);
            continue;
        }
        let problems = checked.expect("a result");
        assert!(!problems.is_empty() && problems.len() <= 1100, "{name}: {}", problems.len());
    }
    assert_eq!(validate_plan(&tenant, harmless).await.expect("a result"), []);
    stack.end().await;
}
