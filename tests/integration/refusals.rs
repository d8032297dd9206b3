//! Invalid plans and values are refused with location, position and suggestion.

use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::{StackOptions, TestStack};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::plans;

struct Case {
    what: &'static str,
    change: fn(&mut Value),
    pointer: &'static str,
    position: Option<i32>,
    /// A part of the expected suggestion.
    suggestion: &'static str,
    code: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            what: "an unknown field of a step",
            change: |plan| plan["step"]["iterate_ovr"] = json!("response.body"),
            pointer: "/definition/step/iterate_ovr",
            position: None,
            suggestion: "iterate_over",
            code: None,
        },
        Case {
            what: "a first name that is not in scope",
            change: |plan| plan["step"]["iterate_over"] = json!("respnse.body.items"),
            pointer: "/definition/step/iterate_over",
            position: Some(0),
            suggestion: "response",
            code: None,
        },
        Case {
            what: "an unknown function in a template",
            change: |plan| plan["step"]["url"] = json!("{{ config.base_url }}/{{ uper(config.key) }}"),
            pointer: "/definition/step/url",
            position: Some(25),
            suggestion: "upper",
            code: None,
        },
        Case {
            what: "an expression that does not parse",
            change: |plan| plan["step"]["break_when"] = json!("response.body.items[?"),
            pointer: "/definition/step/break_when",
            position: Some(21),
            suggestion: "",
            code: None,
        },
        Case {
            what: "a bare true",
            change: |plan| plan["step"]["while"] = json!("response.body.more == true"),
            pointer: "/definition/step/while",
            position: Some(22),
            suggestion: "`true`",
            code: None,
        },
        Case {
            what: "a field of the contract that is not served yet",
            change: |plan| plan["step"]["auth_flow"] = json!("main"),
            pointer: "/definition/step/auth_flow",
            position: None,
            suggestion: "",
            code: Some("UNSUPPORTED"),
        },
        Case {
            what: "a step without a url",
            change: |plan| {
                plan["step"].as_object_mut().expect("an object").remove("url");
            },
            pointer: "/definition/step",
            position: None,
            suggestion: "url",
            code: None,
        },
    ]
}

fn plan(definition: &Value) -> v1::Plan {
    v1::Plan {
        key: "bad".to_owned(),
        integration: "shop".to_owned(),
        definition: Some(structure(definition)),
        ..v1::Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_plan_is_refused_with_location_and_fix() {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    for case in cases() {
        let mut definition = plans::orders();
        (case.change)(&mut definition);
        let validate = v1::ValidatePlanRequest { plan: Some(plan(&definition)) };
        let answer =
            tenant.plans().validate_plan(tenant.request(validate)).await.expect("a response").into_inner();
        let fault =
            answer.diagnostics.iter().find(|fault| fault.pointer == case.pointer).unwrap_or_else(|| {
                panic!("{}: no fault at {}: {:#?}", case.what, case.pointer, answer.diagnostics)
            });
        if case.position.is_some() {
            assert_eq!(fault.position, case.position, "{}: {fault:#?}", case.what);
        }
        let said = format!("{} {}", fault.message, fault.suggestion);
        assert!(said.contains(case.suggestion), "{}: {fault:#?}", case.what);
        assert!(case.code.is_none_or(|code| code == fault.code), "{}: {fault:#?}", case.what);

        let refused = tenant.create_plan(plan(&definition)).await.expect_err(case.what);
        assert_eq!(refused.code(), Code::InvalidArgument, "{}", case.what);
        let details = refused.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("{}: no ErrorInfo", case.what));
        assert_eq!(info.domain, "orchid");
        let violations = &details.bad_request().expect("BadRequest").field_violations;
        assert!(violations.iter().any(|one| one.field == case.pointer), "{}: {violations:#?}", case.what);
    }
    let list = v1::ListPlansRequest::default();
    let saved = tenant.plans().list_plans(tenant.request(list)).await.expect("plans").into_inner();
    assert!(saved.plans.is_empty(), "nothing was saved: {:?}", saved.plans);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_diagnostics_are_reported_together() {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    let mut definition = plans::orders();
    for case in cases().iter().take(5) {
        (case.change)(&mut definition);
    }
    let validate = v1::ValidatePlanRequest { plan: Some(plan(&definition)) };
    let answer =
        tenant.plans().validate_plan(tenant.request(validate)).await.expect("a response").into_inner();
    for case in cases().iter().take(5) {
        assert!(
            answer.diagnostics.iter().any(|fault| fault.pointer == case.pointer),
            "{} is not among {:#?}",
            case.what,
            answer.diagnostics
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspicious_plan_gives_a_warning() {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    let mut definition = plans::orders();
    definition["step"]["ignore_on"] = json!([204]);
    let validate = v1::ValidatePlanRequest { plan: Some(plan(&definition)) };
    let answer =
        tenant.plans().validate_plan(tenant.request(validate)).await.expect("a response").into_inner();
    assert!(answer.diagnostics.is_empty(), "{:#?}", answer.diagnostics);
    let found: Vec<_> = answer.warnings.iter().map(|one| (one.code.as_str(), one.pointer.as_str())).collect();
    assert_eq!(found, [("IGNORES_SUCCESS", "/definition/step/ignore_on/0")]);
    let saved = tenant.create_plan(plan(&definition)).await.expect("a plan");
    assert_eq!(saved.warnings, answer.warnings, "those who save a plan see the same warnings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_values_are_validated_and_secrets_masked() {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    let schema = json!({
        "type": "object",
        "required": ["base_url", "token"],
        "properties": {
            "base_url": {"type": "string"},
            "token": {"type": "string", "writeOnly": true},
            "size": {"type": "integer", "minimum": 1}
        }
    });
    let integration = v1::CreateIntegrationRequest {
        key: "shop".to_owned(),
        config_schema: Some(structure(&schema)),
        ..v1::CreateIntegrationRequest::default()
    };
    tenant.integrations().create_integration(tenant.request(integration)).await.expect("an integration");
    let config = |values: Value| v1::Config {
        integration: "shop".to_owned(),
        key: "main".to_owned(),
        values: Some(structure(&values)),
        ..v1::Config::default()
    };
    let validate = v1::ValidateConfigRequest { config: Some(config(json!({"base_url": 7, "size": 0}))) };
    let answer = tenant.configs().validate_config(tenant.request(validate)).await.expect("OK").into_inner();
    let mut pointers: Vec<&str> = answer.diagnostics.iter().map(|fault| fault.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/values/base_url", "/values/size", "/values/token"], "{:#?}", answer.diagnostics);

    const SECRET: &str = "kept-under-lock-and-key";
    let good = config(json!({"base_url": "http://127.0.0.1:1", "token": SECRET}));
    let create = v1::CreateConfigRequest { config: Some(good), request_id: String::new() };
    let created =
        tenant.configs().create_config(tenant.request(create)).await.expect("a config").into_inner();
    let read = created.values.expect("values").fields.remove("token").expect("a token");
    assert_eq!(read.kind, Some(prost_types::value::Kind::StringValue("[SECRET]".to_owned())));
    let rows = stack.database.execute("SELECT configs::text FROM configs");
    assert!(!rows.contains(SECRET) && !rows.contains(&hex::encode(SECRET)), "{rows}");

    let mut definition = plans::orders();
    definition["step"]["extract"] = json!({"who": "config.token"});
    let refused = tenant.create_plan(plan(&definition)).await.expect_err("a plan that keeps a secret");
    let details = refused.get_error_details();
    let violations = &details.bad_request().expect("BadRequest").field_violations;
    let fields: Vec<&str> = violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["/definition/step/extract/who"], "{violations:#?}");
}
