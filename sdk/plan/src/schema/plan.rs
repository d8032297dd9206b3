//! The outer fields, the definition, and its rate limits.

use serde_json::{Value, json};

use super::build::{
    at_least, boolean, choice, described, expr, integer, key, list, matching, names, object, optional,
    reference, text, with,
};
use super::{parts, step};
use crate::document::{definition, plan, rate_limits};
use crate::header::PlanHeader;

pub(super) fn schema() -> Value {
    let fields: Vec<&str> = ["$schema", "kind"].into_iter().chain(plan::fields()).collect();
    let words =
        "A plan: how to get data out of one HTTP API. A field that is null counts as one that is not there";
    let mut schema = object(words, &fields, &["key", "integration", "definition"], field);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Orchid plan");
    schema["$defs"] = json!({
        "definition": definition_schema(),
        "rate_limit": rate_limit(),
        "root_step": step::step(&step::Kind::Root),
        "sub_step": step::step(&step::Kind::Sub),
        "job_request": step::step(&step::Kind::JobRequest),
        "async_job": parts::async_job(),
        "matcher": parts::matcher(),
        "retry": parts::retry(),
        "response": parts::response(),
    });
    schema
}

fn field(name: &str) -> Value {
    match name {
        "$schema" => text("Schema that an editor checks this file against; not a part of the plan"),
        "kind" => described("Kind of this file; not a part of the plan", json!({"enum": ["plan"]})),
        "definition" => described(
            "Steps of an execution and its limits; a change creates a new revision",
            reference("definition"),
        ),
        _ => PlanHeader::field_schema(name),
    }
}

fn definition_schema() -> Value {
    let mut schema = object("What a run does", definition::FIELDS, &[], |name| match name {
        "step" => optional("The only root step", "root_step"),
        "steps" => {
            let words = "Root steps, run in order; each sees the earlier ones in steps.<id>";
            with(list(words, &reference("root_step")), "minItems", 1)
        }
        "rate_limits" => {
            let words =
                "Limits of this plan beside the integration's, or lower ones. Not served by this version";
            with(list(words, &reference("rate_limit")), "maxItems", 50)
        }
        "max_execution_seconds" => {
            with(at_least("Seconds of one run; parked time does not count", 1), "default", 300)
        }
        "max_loops" => with(at_least("Passes of one loop in one place", 1), "default", 1000),
        "max_requests" => at_least("Tries of one run", 1),
        "max_nesting_depth" => with(at_least("Levels of steps below each other", 1), "default", 5),
        "on_limit" => {
            let words = "A run that reaches max_loops, max_requests or max_execution_seconds: fails, or ends well and \
                         partial, and the next one goes on from there";
            with(choice(words, ["fail", "continue"]), "default", "fail")
        }
        _ => json!({}),
    });
    let there = |name: &str| json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}});
    schema["oneOf"] = json!([there("step"), there("steps")]);
    schema
}

fn rate_limit() -> Value {
    let words = "A limit of the plan's own; or, with name and requests alone, fewer requests for a limit of the integration";
    object(words, rate_limits::FIELDS, &["name"], |name| match name {
        "name" => key("Unique in the plan"),
        "endpoint" => text("A regular expression: the urls that it is about"),
        "requests" => integer("Requests that start in any window", 1, 1_000_000_000),
        "window_seconds" => integer("Seconds of a window", 1, 31 * 86_400),
        "scope" => {
            with(choice("What has a bucket of its own", names(rate_limits::SCOPES)), "default", "global")
        }
        "max_concurrent" => integer("Requests in flight at once", 1, 100_000),
        "cost" => expr(
            "What a request takes out of the bucket; 1 where it is not there",
            &rate_limits::cost_scope(),
        ),
        "dynamic" => dynamic(),
        "adaptive" => boolean("Slow down before the upstream refuses", false),
        "strict" => boolean("Stay closed for a window when the count was lost", false),
        _ => json!({}),
    })
}

fn dynamic() -> Value {
    let words = "Where an answer says what is left; the fields RateLimit and RateLimit-Policy need no naming";
    object(words, rate_limits::DYNAMIC_FIELDS, &[], |name| {
        let words = match name {
            "remaining" => "Requests that are left",
            "reset" => "When the window begins anew",
            _ => "Requests of a window",
        };
        let told = expr("The number, from the answer", &rate_limits::answer_scope());
        let header = matching("A header's name", "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");
        json!({
            "description": format!("{words}: a header's name, or an expression"),
            "anyOf": [header, object("An expression", &["expr"], &["expr"], |_| told.clone())],
        })
    })
}
