//! Schemas of steps: at the root, below another step, and as one request of an async job.

use serde_json::{Value, json};

use super::build::{
    at_least, boolean, choice, described, expr, exprs, integer, list, matching, optional, reference,
    templates, text, with,
};
use super::{build, parts};
use crate::document::async_job::FIELDS_BESIDE_JOB;
use crate::document::step_fields::{FIELDS, NOT_IN_ONE_REQUEST, NOT_IN_RESULT_POLL};
use crate::document::step_position::StepScopes;

/// The kinds of steps, which differ in their fields, defaults and scopes.
pub(super) enum StepKind {
    Root,
    Sub,
    JobRequest,
    JobPoll,
}

pub(super) fn step(kind: &StepKind) -> Value {
    let scopes = StepScopes::widest(!matches!(kind, StepKind::Root));
    match kind {
        StepKind::Root | StepKind::Sub => {
            let words = if matches!(kind, StepKind::Root) {
                "A request or an async job, the loop around it, and what it takes from responses"
            } else {
                "A sub-step, or a download of an async job"
            };
            let emit = if matches!(kind, StepKind::Root) { "page" } else { "none" };
            let mut schema = build::object(words, FIELDS, &[], |name| field(name, emit, &scopes));
            schema["if"] =
                json!({"required": ["async_job"], "properties": {"async_job": {"not": {"type": "null"}}}});
            let others = FIELDS.iter().filter(|field| !FIELDS_BESIDE_JOB.contains(field));
            let none: serde_json::Map<String, Value> =
                others.map(|field| ((*field).to_owned(), json!({"type": "null"}))).collect();
            schema["then"] = json!({"properties": none});
            schema["else"] = json!({"required": ["url"]});
            schema
        }
        StepKind::JobRequest => {
            let words = "One request of an async job; its id is its field name";
            let fields: Vec<&str> =
                FIELDS.iter().copied().filter(|field| !NOT_IN_ONE_REQUEST.contains(field)).collect();
            build::object(words, &fields, &["url"], |name| match name {
                "emit" => described("This step emits nothing", json!({"enum": ["none"]})),
                _ => field(name, "none", &scopes),
            })
        }
        StepKind::JobPoll => {
            let words = "The poll of an async job; with result poll, its last response is emitted";
            let fields: Vec<&str> =
                FIELDS.iter().copied().filter(|field| !NOT_IN_RESULT_POLL.contains(field)).collect();
            build::object(words, &fields, &["url"], |name| field(name, "page", &scopes))
        }
    }
}

fn field(name: &str, emit: &str, scopes: &StepScopes) -> Value {
    match name {
        "id" => matching(
            "Id, unique in the definition; step_1, step_2 and so on by default",
            "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        ),
        "url" | "method" | "headers" | "params" | "body" | "auth_flow" | "timeout_seconds" => {
            request(name, scopes)
        }
        "retry" | "abort_on" | "ignore_on" | "accept_on" | "abort_when" | "ignore_when" | "retry_when" => {
            outcome(name, scopes)
        }
        "execute_if" => expr(
            "Condition, evaluated once before the first page and for each item of for_each. The step is skipped if it is false",
            &scopes.before_first_page,
        ),
        "for_each" => expr("List for whose items the whole step is repeated", &scopes.before_items),
        "while" => expr("Condition for fetching another page", &scopes.in_page),
        "break_when" => expr("Condition that ends the loop", &scopes.in_page),
        "paginate" => parts::paginate(scopes),
        "single_page" => {
            boolean("Further pages that the API offers are not wanted: no warning MORE_WAS_OFFERED", false)
        }
        "window" => parts::window(scopes),
        "cursor" => parts::cursor(scopes),
        "conditional" => boolean(
            "Revalidates the response of the last execution by ETag and Last-Modified; a 304 emits nothing",
            false,
        ),
        "set_context" => exprs(
            "Context fields with their new values after each page. Null removes a field",
            &scopes.in_page,
        ),
        "extract" => exprs("Fields of the message's extracted_data", &scopes.in_page),
        "iterate_over" => expr(
            "Rows of the response. Null means no rows; any other value that is not a list is an error",
            &scopes.in_page,
        ),
        "sub_steps" => list(
            "Steps that run in order for each row, or once per page if there is no iterate_over",
            &reference("sub_step"),
        ),
        "concurrency" => {
            with(integer("Maximum number of rows or for_each items in flight", 1, 1000), "default", 50)
        }
        "stop_on_error" => {
            boolean("Whether the first row or item that fails ends the others and fails the step", false)
        }
        "emit" => {
            let words = "Messages: one per page, one per row (record), or none";
            with(choice(words, ["page", "record", "none"]), "default", emit)
        }
        "response" => optional("How response bodies are read", "response"),
        "async_job" => optional(
            "Submits a job, polls until it is done and downloads its results, instead of a single request",
            "async_job",
        ),
        _ => json!({}),
    }
}

fn request(name: &str, scopes: &StepScopes) -> Value {
    let scope = &scopes.in_page;
    // Numbers, booleans and null are sent as written.
    let scalar = || json!({"type": ["string", "number", "boolean", "null"]});
    match name {
        "url" => templates("Absolute URL, http or https", text(""), scope),
        "method" => {
            let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
            with(choice("HTTP method", methods), "default", "GET")
        }
        "headers" => {
            let values = json!({"type": "object", "additionalProperties": scalar()});
            templates("Headers of the request", values, scope)
        }
        "params" => {
            let value = json!({"type": ["string", "number", "boolean", "null", "array"], "items": scalar()});
            let named = build::object("A parameter", &["name", "value"], &["name"], |name| match name {
                "name" => build::param("Name of the parameter"),
                _ => described("Value of the parameter; a list repeats the name", value.clone()),
            });
            let either = json!({"anyOf": [
                {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": value},
                {"type": "array", "items": named},
            ]});
            templates(
                "Query parameters, added to the query of the url: sorted by name, or in the order of the list",
                either,
                scope,
            )
        }
        "body" => {
            let words = "JSON or text. An object is sent as a form if the content-type says so";
            templates(words, json!({}), scope)
        }
        "auth_flow" => build::key(
            "Key of the auth flow whose credentials are sent, or none; by default the one of the step around it, or the \
             config's. This version supports only none",
        ),
        _ => with(
            at_least("Maximum time of one request in seconds, from connecting to the last byte", 1),
            "default",
            30,
        ),
    }
}

fn outcome(name: &str, scopes: &StepScopes) -> Value {
    let matchers = |words: &str| with(list(words, &reference("matcher")), "uniqueItems", true);
    match name {
        "abort_on" => matchers("Responses and errors that abort the execution"),
        "ignore_on" => matchers(
            "Responses and errors that are reported and skipped; the execution becomes a partial success",
        ),
        "accept_on" => matchers("Responses that count as a success despite their status"),
        "abort_when" => expr("Condition on a response that aborts the execution", &scopes.in_page),
        "ignore_when" => expr("Condition on a response that is reported and skipped", &scopes.in_page),
        "retry_when" => expr("Condition on a response after which the request is retried", &scopes.in_page),
        _ => optional("When and how failed requests are retried", "retry"),
    }
}
