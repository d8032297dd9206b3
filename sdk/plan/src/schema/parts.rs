//! The objects inside a step.

use serde_json::{Value, json};

use super::build::{
    at_least, boolean, choice, described, expr, integer, list, matching, names, object, param, reference,
    span, templates, text, with,
};
use crate::document::level::Scopes;
use crate::document::window as slices;
use crate::document::{
    async_job as job, cursor as read_up_to, paginate as pages, response as body, retry as again,
};

pub(super) fn matcher() -> Value {
    json!({
        "description": "A status, a class of statuses, or an error code",
        "anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": "^([1-5]xx|[A-Z][A-Z0-9_]*)$"},
        ],
    })
}

pub(super) fn retry() -> Value {
    let delay = |words: &str, default: u64| with(integer(words, 0, 86_400_000), "default", default);
    object("When and how a failed try is made again", again::FIELDS, &[], |name| match name {
        "max_retries" => with(at_least("Tries after the first", 0), "default", 3),
        "backoff" => with(choice("How the delay grows", names(again::BACKOFFS)), "default", "fibonacci"),
        "initial_delay_ms" => delay("Milliseconds before the first retry", 1000),
        "max_delay_ms" => delay("No delay is longer, other than a Retry-After", 60_000),
        "jitter" => {
            let words = "How the delay is spread: anywhere between nothing and the whole of it, or not";
            with(choice(words, ["full", "none"]), "default", "full")
        }
        "on" => {
            let words = "Further statuses and codes that are tried again";
            with(list(words, &reference("matcher")), "uniqueItems", true)
        }
        _ => json!({}),
    })
}

pub(super) fn paginate(scopes: &Scopes) -> Value {
    let kinds = pages::TYPES.iter().map(|kind| {
        let counts = matches!(*kind, "page" | "offset");
        let required: &[&str] = match *kind {
            "offset" => &["type", "size"],
            "cursor" | "next_url" => &["type", "value"],
            _ => &["type"],
        };
        let words = match *kind {
            "page" => "By page numbers; ends at an empty page",
            "offset" => "By offsets; ends at an empty page",
            "cursor" => {
                "By a pointer in the answer, sent in param or as page.cursor; ends where there is none"
            }
            "next_url" => "By a url in the answer; ends where there is none",
            _ => "By the Link header's rel=next; ends where there is none",
        };
        object(words, pages::fields_of(kind), required, |name| match name {
            "type" => described("The kind of loop", json!({"const": kind})),
            "param" if counts => with(param("The parameter that carries it"), "default", *kind),
            "param" => param("The parameter that carries it"),
            "start" => with(integer("The number of the first page", 0, 1_000_000_000), "default", 1),
            "size_param" => param("The parameter of the page size"),
            "size" => integer("Rows asked for", 1, 1_000_000),
            "value" => expr(
                "What leads to the next page; null, an empty text and false end the loop",
                &scopes.within,
            ),
            "stop_on" => {
                let words = "Further ends: a page without rows, a page with fewer rows than were asked for";
                list(words, &json!({"enum": ["empty", "short"]}))
            }
            _ => {
                let words = "What the same request, or the same pointer, twice means";
                with(choice(words, ["fail", "stop", "allow"]), "default", "fail")
            }
        })
    });
    json!({"description": "The usual loops, said shortly", "oneOf": kinds.collect::<Vec<_>>()})
}

pub(super) fn window(scopes: &Scopes) -> Value {
    let words = "A time range, walked in slices around the loop; window.from and window.to are in scope";
    object(words, slices::FIELDS, &["step"], |name| match name {
        "from" => expr("Where the range begins; the cursor where it is not there", &scopes.before),
        "to" => expr("Where it ends, exclusive; meta.started_at where it is not there", &scopes.before),
        "step" => span("Length of a slice"),
        "format" => json!({
            "description": "How the ends are spelled: a name, or a strftime pattern",
            "anyOf": [{"enum": slices::FORMATS}, {"type": "string", "pattern": "%", "maxLength": 128}],
            "default": "rfc3339",
        }),
        "from_param" => param("The parameter of a slice's beginning"),
        _ => param("The parameter of a slice's end"),
    })
}

pub(super) fn cursor(scopes: &Scopes) -> Value {
    let words = "What was read up to, kept from run to run; in scope as cursor";
    object(words, read_up_to::FIELDS, &["value"], |name| match name {
        "value" => expr("Asked after each pass; null leaves the cursor as it is", &scopes.within),
        "type" => {
            with(choice("How two values are compared", names(read_up_to::TYPES)), "default", "timestamp")
        }
        "start" => templates(
            "What a first run begins with",
            json!({"type": ["string", "number", "null"]}),
            &scopes.item,
        ),
        "lookback" => json!({
            "description": "How far before the stored value a run begins: a length of time, or a number for numbers",
            "anyOf": [span("Of a time"), {"type": "number", "exclusiveMinimum": 0}],
        }),
        "param" => param("The parameter that carries it"),
        "ordered" => boolean("The API answers oldest first: saved with every page or slice", false),
        _ => expr("One cursor for each value of this, in a fan-out", &scopes.item),
    })
}

pub(super) fn async_job() -> Value {
    let scopes = Scopes::widest(true);
    let words = "A job that the upstream does in its own time";
    let required = ["submit", "poll", "done_when", "download"];
    object(words, job::FIELDS, &required, |name| match name {
        "submit" => described("Asks for the job, once; seen as steps.submit", reference("job_request")),
        "poll" => described("Asks how it goes; seen as steps.poll", reference("job_request")),
        "done_when" => {
            expr("Asked after each poll, with response the poll's: the job is done", &scopes.within)
        }
        "failed_when" => expr("Asked before done_when: the job failed", &scopes.within),
        "download" => {
            let words = "Run in order once it is done; the last one emits, a page where it says nothing, and only that one";
            with(list(words, &reference("sub_step")), "minItems", 1)
        }
        "cancel" => json!({
            "description": "Tells the upstream that nobody waits any more",
            "anyOf": [reference("job_request")],
        }),
        "poll_wait" => with(span("Between polls"), "default", "10s"),
        _ => with(span("From the submit's answer on; longer fails the step"), "default", "2h"),
    })
}

pub(super) fn response() -> Value {
    object("How the body of an answer is read", body::FIELDS, &[], |name| match name {
        "format" => {
            let words = "What a body is taken for; auto: what the content type says";
            with(choice(words, names(body::FORMATS)), "default", "auto")
        }
        "max_bytes" => {
            with(at_least("Bytes of a body at most, as it came and unpacked", 1), "default", 10 * 1024 * 1024)
        }
        "charset" => text("The encoding of text, by a label of the Encoding standard"),
        "decompress" => {
            let words =
                "What is unpacked; auto: by Content-Encoding, then gzip where the body begins like it";
            with(choice(words, names(body::DECOMPRESS)), "default", "auto")
        }
        "stream" => boolean("Take the rows of a JSON body one by one, never the whole body", false),
        "csv" => csv(),
        _ => object("How XML is read", body::XML_FIELDS, &[], |_| {
            named("Elements that are lists also where there is one of them")
        }),
    })
}

fn csv() -> Value {
    let byte = |words: &str, pattern: &str, default: &str| with(matching(words, pattern), "default", default);
    object("How CSV is written", body::CSV_FIELDS, &[], |name| match name {
        "delimiter" => byte("Between fields", "^[^\\r\\n\\u0000\\u0080-\\uffff]$", ","),
        "quote" => {
            byte("Around fields; empty: quotes mean nothing", "^[^\\r\\n\\u0000\\u0080-\\uffff]?$", "\"")
        }
        _ => json!({
            "description": "Where the names are: in the first line, nowhere, or here",
            "anyOf": [{"type": "boolean"}, named("The names")],
            "default": true,
        }),
    })
}

/// A list of different names.
fn named(words: &str) -> Value {
    let names = list(words, &json!({"type": "string", "minLength": 1}));
    with(with(with(names, "minItems", 1), "maxItems", 2000), "uniqueItems", true)
}
