//! Steps: at the root, below another one, and as one request of an async job.

use serde_json::{Value, json};

use super::build::{
    at_least, boolean, choice, described, expr, exprs, integer, list, matching, optional, reference,
    templates, text, with,
};
use super::{build, parts};
use crate::document::async_job::BESIDE;
use crate::document::level::Scopes;
use crate::document::step::{FIELDS, NOT_IN_ONE_REQUEST};

/// Where a step stands.
pub(super) enum Kind {
    Root,
    Sub,
    JobRequest,
}

pub(super) fn step(kind: &Kind) -> Value {
    let scopes = Scopes::widest(!matches!(kind, Kind::Root));
    match kind {
        Kind::Root | Kind::Sub => {
            let words = if matches!(kind, Kind::Root) {
                "One request, the loop around it, and what is taken from its answers"
            } else {
                "A step below another one, or a download of an async job"
            };
            let emit = if matches!(kind, Kind::Root) { "page" } else { "none" };
            let mut schema = build::object(words, FIELDS, &[], |name| field(name, emit, &scopes));
            schema["if"] =
                json!({"required": ["async_job"], "properties": {"async_job": {"not": {"type": "null"}}}});
            let others = FIELDS.iter().filter(|field| !BESIDE.contains(field));
            let none: serde_json::Map<String, Value> =
                others.map(|field| ((*field).to_owned(), json!({"type": "null"}))).collect();
            schema["then"] = json!({"properties": none});
            schema["else"] = json!({"required": ["url"]});
            schema
        }
        Kind::JobRequest => {
            let words = "One request of an async job; its id is the name that it stands under";
            let fields: Vec<&str> =
                FIELDS.iter().copied().filter(|field| !NOT_IN_ONE_REQUEST.contains(field)).collect();
            build::object(words, &fields, &["url"], |name| match name {
                "emit" => described("It emits nothing", json!({"enum": ["none"]})),
                _ => field(name, "none", &scopes),
            })
        }
    }
}

fn field(name: &str, emit: &str, scopes: &Scopes) -> Value {
    match name {
        "id" => matching(
            "Unique in the definition; step_1, step_2 and so on where it is not there",
            "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        ),
        "url" | "method" | "headers" | "params" | "body" | "auth_flow" | "timeout_seconds" => {
            request(name, scopes)
        }
        "retry" | "abort_on" | "ignore_on" | "accept_on" | "abort_when" | "ignore_when" | "retry_when" => {
            outcome(name, scopes)
        }
        "execute_if" => expr(
            "Asked once before the first pass, of each item under for_each; false: the step is skipped",
            &scopes.before,
        ),
        "for_each" => expr("The list for each of whose elements the whole step is repeated", &scopes.around),
        "while" => expr("Another pass follows only while this is true", &scopes.within),
        "break_when" => expr("No other pass follows once this is true", &scopes.within),
        "paginate" => parts::paginate(scopes),
        "window" => parts::window(scopes),
        "cursor" => parts::cursor(scopes),
        "conditional" => {
            boolean("Revalidate by ETag and Last-Modified of the last run; a 304 emits nothing", false)
        }
        "set_context" => exprs(
            "Names of the context and what they become after each pass; null removes one",
            &scopes.within,
        ),
        "extract" => exprs("The message's extracted_data", &scopes.within),
        "iterate_over" => expr(
            "The rows of the answer. Null is no rows, anything else that is no list an error",
            &scopes.within,
        ),
        "sub_steps" => list(
            "Steps that run in order for each row, or once per pass without rows",
            &reference("sub_step"),
        ),
        "concurrency" => with(integer("Rows, or elements of for_each, in flight", 1, 1000), "default", 50),
        "stop_on_error" => {
            boolean("Whether the first row or element that fails ends the others and fails the step", false)
        }
        "emit" => {
            let words = "One message per page, one per row, or none";
            with(choice(words, ["page", "record", "none"]), "default", emit)
        }
        "response" => optional("How the body of an answer is read", "response"),
        "async_job" => optional("Submit, poll and download as one step, instead of a url", "async_job"),
        _ => json!({}),
    }
}

fn request(name: &str, scopes: &Scopes) -> Value {
    let scope = &scopes.within;
    // Numbers, booleans and null are sent as they are spelled.
    let scalar = || json!({"type": ["string", "number", "boolean", "null"]});
    match name {
        "url" => templates("Absolute, http or https", text(""), scope),
        "method" => {
            let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
            with(choice("The method", methods), "default", "GET")
        }
        "headers" => {
            let values = json!({"type": "object", "additionalProperties": scalar()});
            templates("Headers", values, scope)
        }
        "params" => {
            let value = json!({"type": ["string", "number", "boolean", "null", "array"], "items": scalar()});
            let named = build::object("A parameter", &["name", "value"], &["name"], |name| match name {
                "name" => build::param("Its name"),
                _ => described("Its value; a list repeats the name", value.clone()),
            });
            let either = json!({"anyOf": [
                {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": value},
                {"type": "array", "items": named},
            ]});
            templates(
                "Parameters after the url's own query, in the order of their names, or of the list",
                either,
                scope,
            )
        }
        "body" => {
            let words = "JSON whose texts may be templates, or one text. An object is a form where the content-type says so";
            templates(words, json!({}), scope)
        }
        "auth_flow" => build::key(
            "Key of the flow whose credentials are sent, or none; else that of the step around it, else the config's. Only \
             none is served by this version",
        ),
        _ => with(at_least("Seconds of one try, from connecting to the last byte", 1), "default", 30),
    }
}

fn outcome(name: &str, scopes: &Scopes) -> Value {
    let matchers = |words: &str| with(list(words, &reference("matcher")), "uniqueItems", true);
    match name {
        "abort_on" => matchers("Answers that end the run as aborted"),
        "ignore_on" => matchers("Answers that are reported and passed over; the run is partial"),
        "accept_on" => matchers("Answers that are a success whatever their status"),
        "abort_when" => expr("The run ends as aborted where this is true", &scopes.within),
        "ignore_when" => expr("The answer is reported and passed over where this is true", &scopes.within),
        "retry_when" => expr("The request is tried again where this is true", &scopes.within),
        _ => optional("When and how a failed try is made again", "retry"),
    }
}
