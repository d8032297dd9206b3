//! Schemas of the objects inside a step.

use serde_json::{Value, json};

use super::build::{
    at_least, boolean, choice, described, duration, expr, integer, list, matching, names, object, param,
    reference, templates, text, with,
};
use crate::document::step_position::StepScopes;
use crate::document::window as slices;
use crate::document::{
    async_job, cursor as cursor_fields, paginate as pagination, response as body, retry as retries,
};

pub(super) fn matcher() -> Value {
    json!({
        "description": "A status, a status class or an error code",
        "anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": "^([1-5]xx|[A-Z][A-Z0-9_]*)$"},
        ],
    })
}

pub(super) fn retry() -> Value {
    let scopes = StepScopes::widest(true);
    let delay = |words: &str, default: u64| with(integer(words, 0, 86_400_000), "default", default);
    object("When and how failed requests are retried", retries::FIELDS, &[], |name| match name {
        "max_retries" => with(at_least("Maximum number of retries", 0), "default", 3),
        "backoff" => with(choice("Growth of the delay", names(retries::BACKOFFS)), "default", "fibonacci"),
        "initial_delay_ms" => delay("Milliseconds before the first retry", 1000),
        "max_delay_ms" => delay("Maximum delay in milliseconds; a Retry-After may be longer", 60_000),
        "jitter" => {
            let words = "Randomization of the delay: full is anywhere between zero and the delay, none is exactly the delay";
            with(choice(words, ["full", "none"]), "default", "full")
        }
        "on" => {
            let words = "Statuses and codes that are retried in addition to the usual ones";
            with(list(words, &reference("matcher")), "uniqueItems", true)
        }
        _ => expr(
            "Wait that the failed response asks for: seconds or a time, instead of Retry-After; null leaves it to that",
            &scopes.in_page,
        ),
    })
}

pub(super) fn paginate(scopes: &StepScopes) -> Value {
    let kinds = pagination::TYPES.iter().map(|kind| {
        let counts = matches!(*kind, "page" | "offset");
        let required: &[&str] = match *kind {
            "offset" => &["type", "size"],
            "cursor" | "next_url" => &["type", "value"],
            _ => &["type"],
        };
        let words = match *kind {
            "page" => "Page numbers; ends at an empty page",
            "offset" => "Row offsets; ends at an empty page",
            "cursor" => {
                "A cursor from the response, sent in param or by a template with page.cursor; ends when there is none"
            }
            "next_url" => "A URL from the response; ends when there is none",
            _ => "The link with rel=next in the Link header; ends when there is none",
        };
        object(words, pagination::fields_of(kind), required, |name| match name {
            "type" => described("Type of pagination", json!({"const": kind})),
            "param" if counts => {
                let words = "Name of the parameter; null sends none, for plans that place page.number or page.offset themselves";
                with(param(words), "default", *kind)
            }
            "param" => param("Name of the parameter"),
            "start" if *kind == "offset" => {
                with(integer("Offset of the first page", 0, 1_000_000_000), "default", 0)
            }
            "start" => with(integer("Number of the first page", 0, 1_000_000_000), "default", 1),
            "size_param" => param("Name of the parameter with the page size"),
            "size" => integer("Number of rows requested per page", 1, 1_000_000),
            "value" => expr(
                "Cursor or URL of the next page. Null, an empty text and false end the loop",
                &scopes.in_page,
            ),
            "stop_on" => {
                let words = "Further conditions that end the loop: empty is a page without rows, short a page with fewer rows than requested";
                list(words, &json!({"enum": ["empty", "short"]}))
            }
            "keep_params" => {
                let words = "Parameters of the step that are added to next URLs of the same origin that lack them";
                with(list(words, &json!({"type": "string", "minLength": 1})), "uniqueItems", true)
            }
            _ => {
                let words = "Reaction to the same request, cursor or answer twice: fail the execution, stop the loop, or allow it";
                with(choice(words, ["fail", "stop", "allow"]), "default", "fail")
            }
        })
    });
    json!({"description": "Pagination of a common kind", "oneOf": kinds.collect::<Vec<_>>()})
}

pub(super) fn window(scopes: &StepScopes) -> Value {
    let words = "A time range that is read slice by slice; window.from and window.to are in scope";
    object(words, slices::FIELDS, &["step"], |name| match name {
        "from" => expr("Start of the range; the cursor by default", &scopes.before_first_page),
        "to" => expr("End of the range, exclusive; meta.started_at by default", &scopes.before_first_page),
        "step" => json!({
            "description": "Length of a slice, such as 6h, 1d, 1mo or 1y",
            "anyOf": [duration("A duration"), matching("Months and years", "^([0-9]+(mo|y))+$")],
        }),
        "timezone" => text("IANA name of the timezone of days, months and dates; UTC by default"),
        "inclusive_end" => boolean(
            "The end that is sent belongs to the slice: it is the last day, second or millisecond before the slice's end",
            false,
        ),
        "format" => json!({
            "description": "Format of the times: a name, or a strftime pattern",
            "anyOf": [{"enum": slices::FORMATS}, {"type": "string", "pattern": "%", "maxLength": 128}],
            "default": "rfc3339",
        }),
        "from_param" => param("Name of the parameter with the start of a slice"),
        _ => param("Name of the parameter with the end of a slice"),
    })
}

pub(super) fn cursor(scopes: &StepScopes) -> Value {
    let words = "How far the step has read, kept from one execution to the next; in scope as cursor";
    object(words, cursor_fields::FIELDS, &["value"], |name| match name {
        "value" => {
            expr("New value, evaluated after each page. Null leaves the cursor unchanged", &scopes.in_page)
        }
        "type" => with(
            choice("Type of the values, which defines their order", names(cursor_fields::TYPES)),
            "default",
            "timestamp",
        ),
        "start" => templates(
            "Value of the first execution",
            json!({"type": ["string", "number", "null"]}),
            &scopes.with_item,
        ),
        "lookback" => json!({
            "description": "Distance before the stored value at which an execution starts: a duration, or a number for cursors of numbers",
            "anyOf": [duration("Duration, for cursors of times"), {"type": "number", "exclusiveMinimum": 0}],
        }),
        "param" => param("Name of the parameter"),
        "ordered" => boolean(
            "The API returns the oldest rows first, so the cursor is saved with every page or slice",
            false,
        ),
        _ => expr("Keeps one cursor for each value of this expression, in a fan-out", &scopes.with_item),
    })
}

pub(super) fn async_job() -> Value {
    let scopes = StepScopes::widest(true);
    let words = "A job that the upstream runs in the background";
    let required = ["submit", "poll", "done_when"];
    let mut schema = object(words, async_job::FIELDS, &required, |name| match name {
        "submit" => described("Starts the job; in scope as steps.submit", reference("job_request")),
        "poll" => described(
            "Asks for the state of the job repeatedly; in scope as steps.poll",
            reference("job_poll"),
        ),
        "done_when" => expr(
            "Condition for the end of the job, evaluated after each poll with its response in scope",
            &scopes.in_page,
        ),
        "result" => {
            let words = "Source of the result: the download steps, or the response to the last poll";
            with(choice(words, names(async_job::RESULTS)), "default", "download")
        }
        "failed_when" => expr("Condition for a failed job, evaluated before done_when", &scopes.in_page),
        "download" => {
            let words = "Steps that run in order once the job is done. Only the last one emits, by default one message per page";
            list(words, &reference("sub_step"))
        }
        "cancel" => json!({
            "description": "Asks the upstream to stop when the execution is cancelled or times out",
            "anyOf": [reference("job_request")],
        }),
        "poll_wait" => with(duration("Time between polls"), "default", "10s"),
        _ => with(
            duration(
                "Maximum time from the response to submit until the job is done, after which the step fails",
            ),
            "default",
            "2h",
        ),
    });
    schema["if"] = json!({"required": ["result"], "properties": {"result": {"const": "poll"}}});
    schema["then"] = json!({"properties": {"download": {"maxItems": 0}}});
    schema["else"] = json!({
        "required": ["download"],
        "properties": {"download": {"minItems": 1}, "poll": reference("job_request")},
    });
    schema
}

pub(super) fn response() -> Value {
    object("How response bodies are read", body::FIELDS, &[], |name| match name {
        "format" => {
            let words = "Format of the body; auto takes it from the content type";
            with(choice(words, names(body::FORMATS)), "default", "auto")
        }
        "max_bytes" => with(
            at_least("Maximum size of a body in bytes, both before and after decompression", 1),
            "default",
            10 * 1024 * 1024,
        ),
        "charset" => text("Text encoding, as a label of the Encoding standard"),
        "decompress" => {
            let words = "Decompression; auto goes by Content-Encoding, and by the first bytes for gzip";
            with(choice(words, names(body::DECOMPRESS)), "default", "auto")
        }
        "files" => json!({
            "description": "Files of a zip archive whose rows are read in order: a pattern such as *.csv",
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
        }),
        "file_member" => json!({
            "description": "Member with the file's name, added to each row that is an object",
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
        }),
        "stream" => boolean("Reads the rows of a JSON body one by one and never holds the whole body", false),
        "csv" => csv(),
        _ => xml(),
    })
}

fn xml() -> Value {
    object("How XML is converted to JSON", body::XML_FIELDS, &[], |name| match name {
        "arrays" => named("Names of elements that always become lists, even if there is only one"),
        _ => {
            let words = "Namespace prefixes of elements and attributes: dropped, or kept as written";
            with(choice(words, names(body::PREFIXES)), "default", "drop")
        }
    })
}

fn csv() -> Value {
    let lines = |words: &str| with(integer(words, 0, body::MAX_SKIPPED), "default", 0);
    let byte = |words: &str, pattern: &str, default: &str| with(matching(words, pattern), "default", default);
    object("CSV dialect", body::CSV_FIELDS, &[], |name| match name {
        "delimiter" => byte("Character between fields", "^[^\\r\\n\\u0000\\u0080-\\uffff]$", ","),
        "quote" => byte(
            "Character around quoted fields; empty if quotes have no meaning",
            "^[^\\r\\n\\u0000\\u0080-\\uffff]?$",
            "\"",
        ),
        "escape" | "comment" => {
            let words = match name {
                "escape" => "Character that makes a following quote, delimiter or line end part of the field",
                _ => "Character at the beginning of lines that are skipped",
            };
            matching(words, "^[^\\r\\n\\u0000\\u0080-\\uffff]$")
        }
        "skip_rows" => lines("Number of lines above the header"),
        "skip_footer" => lines("Number of lines below the rows"),
        "ragged" => {
            let words = "Rows with more or fewer fields than the header: an error, or filled with empty fields, with further ones in _extra";
            with(choice(words, names(body::RAGGED)), "default", "error")
        }
        _ => json!({
            "description": "Field names: true takes them from the first line, false makes rows lists, a list gives the names",
            "anyOf": [{"type": "boolean"}, named("Field names")],
            "default": true,
        }),
    })
}

/// Returns the schema of a list of distinct names.
fn named(words: &str) -> Value {
    let names = list(words, &json!({"type": "string", "minLength": 1}));
    with(with(with(names, "minItems", 1), "maxItems", 2000), "uniqueItems", true)
}
