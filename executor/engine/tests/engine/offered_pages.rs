//! Pages that an API offers and a plan does not read, over the first and last answers of many APIs
//! (`tests/paging/first_pages.ndjson`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{ExecutionEnd, ExecutionFinish, Machine, Request, Response, Warning};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{AttemptEnd, EXECUTION, Reply, TestClock, TestSetup, attempt};

/// The answers of one API.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PagedApi {
    api: String,
    query: String,
    /// The expression that reads the rows.
    rows: String,
    first: Answer,
    /// The fields of a step that read all pages.
    follow: Value,
    last: Answer,
}

/// An answer, with `"@20"` in place of a list of 20 rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Box<RawValue>,
}

impl Answer {
    /// Returns the response, with the rows or without any.
    fn response(&self, request: &Request, empty: bool) -> Response {
        let mut body = String::new();
        let mut parts = self.body.get().split("\"@");
        body.push_str(parts.next().unwrap());
        for part in parts {
            match part.split_once('"').and_then(|(count, rest)| Some((count.parse().ok()?, rest))) {
                Some((count, rest)) => {
                    body.push_str(&rows(if empty { 0 } else { count }));
                    body.push_str(rest);
                }
                // A name such as `@odata.nextLink`.
                None => {
                    body.push_str("\"@");
                    body.push_str(part);
                }
            }
        }
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Response {
            status: 200,
            headers,
            body: Bytes::from(body),
            url: request.url.to_string(),
            files: Vec::new(),
        }
    }
}

/// Rows with members that would be signs outside of them.
fn rows(count: usize) -> String {
    let row = |number: usize| {
        json!({
            "id": format!("r{number}"), "next": "/rows/2", "has_more": true, "total": 12,
            "links": [{"rel": "next", "href": "/rows/3"}], "text": "a \"quoted\" text with ]} in it",
        })
        .to_string()
    };
    format!("[{}]", (0..count).map(row).collect::<Vec<_>>().join(","))
}

fn apis() -> Vec<PagedApi> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/paging/first_pages.ndjson");
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Runs a step with these fields beside its URL and rows. `answers` has one entry per request.
fn run(api: &PagedApi, fields: &Value, answers: &[(&Answer, bool)]) -> RunResult {
    let mut step = json!({"url": format!("https://api.test/list?{}", api.query), "iterate_over": api.rows});
    for (name, value) in fields.as_object().unwrap() {
        step[name] = value.clone();
    }
    let definition = orchid_plan::compile(&json!({"step": step}), &orchid_plan::ServerLimits::default())
        .unwrap_or_else(|diagnostics| panic!("{}: {diagnostics:?}", api.api));
    let setup = TestSetup::new(definition);
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let mut answers = answers.iter();
    let mut reply = |request: &Request| {
        let (answer, empty) = answers.next().unwrap_or_else(|| panic!("{}: another request", api.api));
        let result = Ok(answer.response(request, *empty));
        Reply::Response { result, duration: Duration::from_millis(50) }
    };
    let mut clock = TestClock { elapsed: Duration::ZERO };
    match attempt(&mut machine, &mut clock, &mut reply, &mut Vec::new()) {
        AttemptEnd::Finished(ExecutionFinish::Ended(ExecutionEnd { complete, .. })) => RunResult {
            complete,
            warnings: machine.checkpoint().expect("a last checkpoint").progress.warnings,
        },
        AttemptEnd::Finished(ExecutionFinish::Released) | AttemptEnd::Parked(_) => {
            panic!("{}: not ended", api.api)
        }
    }
}

/// The end of an execution.
struct RunResult {
    complete: bool,
    warnings: Vec<Warning>,
}

impl RunResult {
    fn warned(&self) -> Option<&str> {
        let warning = self.warnings.iter().find(|warning| warning.code == "MORE_WAS_OFFERED")?;
        Some(&warning.message)
    }
}

#[test]
fn first_page_of_many_apis_is_recognized() {
    let apis = apis();
    assert!(apis.len() >= 60, "only {} APIs", apis.len());
    let missed: Vec<&str> = apis
        .iter()
        .filter(|api| {
            let end = run(api, &json!({}), &[(&api.first, false)]);
            assert_eq!(end.complete, end.warned().is_none(), "{}", api.api);
            end.warned().is_none()
        })
        .map(|api| api.api.as_str())
        .collect();
    assert!(missed.len() * 20 <= apis.len(), "{} of {} missed: {missed:?}", missed.len(), apis.len());
}

#[test]
fn plan_that_reads_all_pages_is_not_warned() {
    let apis = apis();
    let mut warnings = Vec::new();
    for api in &apis {
        // Page numbers and offsets end at a page without rows.
        let counts = api.follow["paginate"]["type"] == "page" || api.follow["paginate"]["type"] == "offset";
        let asks_again =
            counts && api.follow.get("while").is_none() && api.follow["paginate"]["stop_on"].is_null();
        let mut answers = vec![(&api.first, false), (&api.last, false)];
        if asks_again {
            answers.push((&api.last, true));
        }
        let end = run(api, &api.follow, &answers);
        if let Some(message) = end.warned() {
            warnings.push(format!("{}: {message}", api.api));
        } else {
            assert!(end.complete, "{} is not complete: {:?}", api.api, end.warnings);
        }
    }
    assert!(warnings.len() <= 1, "{} of {}: {warnings:#?}", warnings.len(), apis.len());
}

#[test]
fn single_page_silences_the_warning() {
    for api in apis() {
        let end = run(&api, &json!({"single_page": true}), &[(&api.first, false)]);
        assert!(end.complete && end.warned().is_none(), "{}", api.api);
    }
}
