//! Compares the schema with the readers, on every plan of the documentation and of the test cases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::conformance::violations;
use super::plan_schema;
use crate::{ServerLimits, check};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Collects every `plan.json` below a folder.
fn plans_below(folder: &Path, found: &mut Vec<(PathBuf, Value)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            plans_below(&path, found);
        } else if path.file_name().is_some_and(|name| name == "plan.json") {
            let plan = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            found.push((path, plan));
        }
    }
}

#[test]
fn published_schema_is_up_to_date() {
    let path = root().join("docs/plan.schema.json");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = format!("{}\n", serde_json::to_string_pretty(&plan_schema()).unwrap());
    assert!(
        written == expected,
        "docs/plan.schema.json is stale: write it by `orchid plan schema > docs/plan.schema.json`"
    );
}

#[test]
fn every_plan_of_the_repository_is_valid() {
    let mut plans = Vec::new();
    for folder in ["docs/examples", "tests/cases"] {
        plans_below(&root().join(folder), &mut plans);
    }
    assert!(plans.len() > 100, "{} plans", plans.len());
    for (path, plan) in plans {
        let diagnostics = violations(&plan);
        assert!(diagnostics.is_empty(), "{}: {diagnostics:#?}", path.display());
    }
}

/// Returns a plan that uses every field, supported or not.
fn whole() -> Value {
    serde_json::from_str(include_str!("whole.json")).unwrap()
}

/// Collects the names of all members at any depth.
fn members(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, member) in object {
                names.insert(name.clone());
                members(member, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| members(item, names)),
        _ => {}
    }
}

#[test]
fn every_field_is_described_and_used() {
    assert_eq!(violations(&whole()), [""; 0]);
    let mut used = BTreeSet::new();
    members(&whole(), &mut used);
    let mut bare = Vec::new();
    each_property(&plan_schema(), &mut |name, property| {
        if property["description"].as_str().is_none_or(str::is_empty) {
            bare.push(name.to_owned());
        }
        assert!(used.contains(name), "{name} is used by no test");
    });
    assert_eq!(bare, [""; 0], "these have no description");
    // The readers accept it except for unsupported fields, once the fields that exclude each other
    // and those of files alone are removed.
    let mut document = whole();
    for name in ["$schema", "kind", "wait_seconds"] {
        document.as_object_mut().unwrap().remove(name);
    }
    let refused = check(&document, &ServerLimits::default()).unwrap_err();
    assert!(
        refused.0.iter().all(|diagnostic| diagnostic.code == crate::DiagnosticCode::Unsupported),
        "{refused}"
    );
}

/// Visits every property of every object of the schema.
fn each_property(schema: &Value, see: &mut impl FnMut(&str, &Value)) {
    match schema {
        Value::Object(object) => {
            // The properties below `then` are restrictions and not fields.
            let properties = object
                .get("properties")
                .and_then(Value::as_object)
                .filter(|_| object.contains_key("additionalProperties"));
            properties.into_iter().flatten().for_each(|(name, property)| see(name, property));
            object.values().for_each(|inner| each_property(inner, see));
        }
        Value::Array(items) => items.iter().for_each(|item| each_property(item, see)),
        _ => {}
    }
}

#[test]
fn schema_refuses_wrong_forms_like_the_readers() {
    let plan = |fields: Value| {
        let mut step = json!({"url": "https://a.example.com"});
        fields.as_object().unwrap().iter().for_each(|(name, value)| step[name] = value.clone());
        json!({"key": "a", "integration": "b", "definition": {"step": step}})
    };
    for fields in [
        json!({"metod": "GET"}),
        json!({"method": "get"}),
        json!({"url": null, "async_job": {"submit": {"url": "x"}, "poll": {"url": "x"}, "done_when": "a", "download": []}}),
        json!({"async_job": {"submit": {"url": "x"}, "poll": {"url": "x"}, "done_when": "a", "download": [{"url": "x"}]}}),
        json!({"while": true}),
        json!({"while": ""}),
        json!({"timeout_seconds": 0}),
        json!({"abort_on": ["404"]}),
        json!({"ignore_on": [404, 404]}),
        json!({"concurrency": 1001}),
        json!({"paginate": {"type": "link"}}),
        json!({"paginate": {"type": "next_url"}}),
        json!({"paginate": {"type": "link_header", "param": "p"}}),
        json!({"window": {"from": "context.a"}}),
        json!({"window": {"from": "context.a", "step": "1 day"}}),
        json!({"cursor": {"type": "number"}}),
        json!({"cursor": {"value": "response.body.a", "start": true}}),
        json!({"response": {"csv": {"delimiter": ";;"}}}),
        json!({"response": {"format": "jsn"}}),
        json!({"params": {"": 1}}),
        json!({"headers": {"a": ["b"]}}),
        json!({"sub_steps": [{}]}),
        json!({"id": "1a"}),
    ] {
        assert_ne!(violations(&plan(fields.clone())), [""; 0], "{fields}");
        assert!(check(&plan(fields.clone()), &ServerLimits::default()).is_err(), "{fields}");
    }
    let outer = json!({"key": "A", "integration": "b", "definition": {"step": {"url": "x"}, "steps": []}});
    assert!(violations(&outer).len() >= 2, "{:#?}", violations(&outer));
}

#[test]
fn every_expression_lists_its_scope() {
    let schema = plan_schema();
    let scope = |pointer: &str| {
        let names = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        names["x-orchid-scope"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let root = "/$defs/root_step/properties";
    assert_eq!(scope(&format!("{root}/for_each")), "config context meta steps");
    assert_eq!(
        scope(&format!("{root}/execute_if")),
        "config context cursor item item_index items meta steps"
    );
    let within = "config context cursor item item_index items meta page prev response steps window";
    assert_eq!(scope(&format!("{root}/url")), within);
    assert_eq!(scope(&format!("{root}/extract/additionalProperties")), within);
    let below = "config context cursor item item_index items meta page parent prev response steps window";
    assert_eq!(scope("/$defs/sub_step/properties/while"), below);
    assert_eq!(scope("/$defs/job_request/properties/url"), below);
}
