//! Schemas of the plan document, the definition and its rate limits.

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
    let words = "A plan: how to poll one HTTP API. A null field counts as absent";
    let mut schema = object(words, &fields, &["key", "integration", "definition"], field);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Orchid plan");
    schema["$defs"] = json!({
        "definition": definition_schema(),
        "rate_limit": rate_limit(),
        "root_step": step::step(&step::StepKind::Root),
        "sub_step": step::step(&step::StepKind::Sub),
        "job_request": step::step(&step::StepKind::JobRequest),
        "job_poll": step::step(&step::StepKind::JobPoll),
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
    let mut schema = object(
        "Steps of an execution and its limits",
        definition::FIELDS,
        &[],
        |name| match name {
            "step" => optional("The only root step", "root_step"),
            "steps" => {
                let words = "Root steps, which run in order. Each sees the earlier ones as steps.<id>";
                with(list(words, &reference("root_step")), "minItems", 1)
            }
            "rate_limits" => {
                let words = "Rate limits of this plan in addition to the integration's, or lower ones. Not supported by this version";
                with(list(words, &reference("rate_limit")), "maxItems", 50)
            }
            "max_execution_seconds" => with(
                at_least("Maximum running time of an execution in seconds; parked time does not count", 1),
                "default",
                300,
            ),
            "max_loops" => with(
                at_least("Maximum number of pages of one loop, counted for each item or row apart", 1),
                "default",
                1000,
            ),
            "max_requests" => at_least("Maximum number of requests of an execution, retries included", 1),
            "max_nesting_depth" => with(at_least("Maximum depth of nested steps", 1), "default", 5),
            "on_limit" => {
                let words = "What to do when an execution reaches max_loops, max_requests or max_execution_seconds: fail it, or \
                         end it as a partial success that the next one continues";
                with(choice(words, ["fail", "continue"]), "default", "fail")
            }
            _ => json!({}),
        },
    );
    let there = |name: &str| json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}});
    schema["oneOf"] = json!([there("step"), there("steps")]);
    schema
}

fn rate_limit() -> Value {
    let words = "A rate limit of the plan; or, with only name and requests, a lower number for a limit of the integration";
    object(words, rate_limits::FIELDS, &["name"], |name| match name {
        "name" => key("Name, unique in the plan"),
        "endpoint" => text("Regular expression for the URLs that the limit covers"),
        "requests" => integer("Maximum number of requests that start in any window", 1, 1_000_000_000),
        "window_seconds" => integer("Length of the window in seconds", 1, 31 * 86_400),
        "scope" => {
            with(choice("What the requests are counted for", names(rate_limits::SCOPES)), "default", "global")
        }
        "max_concurrent" => integer("Maximum number of requests in flight", 1, 100_000),
        "cost" => expr("Cost of a request; 1 by default", &rate_limits::cost_scope()),
        "dynamic" => dynamic(),
        "adaptive" => boolean("Slows down before the upstream refuses requests", false),
        "strict" => boolean("Waits for a whole window after the count was lost", false),
        _ => json!({}),
    })
}

fn dynamic() -> Value {
    let words = "Where a response reports the remaining quota. The headers RateLimit and RateLimit-Policy are read without being named";
    object(words, rate_limits::DYNAMIC_FIELDS, &[], |name| {
        let words = match name {
            "remaining" => "Number of requests left",
            "reset" => "Start of the next window",
            _ => "Number of requests per window",
        };
        let told = expr("The number, from the response", &rate_limits::response_scope());
        let header = matching("Name of a header", "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");
        json!({
            "description": format!("{words}: a header name, or an expression"),
            "anyOf": [header, object("An expression", &["expr"], &["expr"], |_| told.clone())],
        })
    })
}
