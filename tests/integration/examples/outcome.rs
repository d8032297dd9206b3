//! Compares the outcome of an execution with the expected one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::api::ExpectedOutcome;

/// A message, read from Kafka or taken from the engine.
#[derive(Debug, Clone)]
pub(super) struct EmittedMessage {
    /// The header `type`: `api.response`, `api.error`, …
    pub(super) kind: String,
    /// The header `orchid-position`.
    pub(super) position: String,
    /// The header `orchid-fence`.
    pub(super) fence: i64,
    /// The payload.
    pub(super) payload: Value,
}

/// An execution that has ended.
#[derive(Debug, Clone)]
pub(super) struct ExecutionOutcome {
    /// The final status.
    pub(super) status: String,
    /// Whether the execution is partial.
    pub(super) partial: bool,
    /// All its messages, in order.
    pub(super) said: Vec<EmittedMessage>,
}

impl ExecutionOutcome {
    /// Returns the differences from the expected outcome; `None` if there are none. With `repeats`,
    /// rows may occur more than once.
    pub(super) fn differs(&self, expected: &ExpectedOutcome, repeats: bool) -> Option<String> {
        let found = self.found(repeats);
        let wanted = sorted(expected.clone(), repeats);
        if found == wanted {
            return None;
        }
        let mut words = Vec::new();
        if (found.status, found.partial) != (wanted.status, wanted.partial) {
            let ended = |one: &ExpectedOutcome| {
                format!("{}{}", one.status, if one.partial { ", partial" } else { "" })
            };
            words.push(format!("it ended {}, and not {}", ended(&found), ended(&wanted)));
        }
        if found.errors != wanted.errors {
            words.push(format!("it reports {:?}, and not {:?}", found.errors, wanted.errors));
        }
        let steps = found.rows.keys().chain(wanted.rows.keys());
        let steps: std::collections::BTreeSet<&String> = steps.collect();
        for step in steps {
            let rows = |one: &ExpectedOutcome| one.rows.get(step).cloned().unwrap_or_default();
            words.extend(rows_differ(step, &rows(&found), &rows(&wanted)));
        }
        for said in self.said.iter().filter(|said| said.kind == "api.error").take(3) {
            words.push(format!("reported: {} {}", said.payload["step_path"], said.payload["error"]));
            words.push(format!("  of {} {}", said.payload["request_url"], said.payload["response_body"]));
        }
        Some(words.join("\n    "))
    }

    /// Returns where a secret appears, if it does.
    pub(super) fn shows(&self, secret: &str) -> Option<String> {
        let shown = self.said.iter().find(|said| said.payload.to_string().contains(secret));
        shown.map(|said| format!("a secret appears in {}: {}", said.kind, said.payload))
    }

    fn found(&self, repeats: bool) -> ExpectedOutcome {
        let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for said in self.responses() {
            let step = said.payload["step"].as_str().unwrap_or_default().to_owned();
            let body = said.payload["response_body"].as_array().cloned().unwrap_or_default();
            rows.entry(step).or_default().extend(body);
        }
        let errors = self.newest("api.error").into_values();
        let errors = errors.map(|said| code(said.payload["error"]["code"].as_str().unwrap_or_default()));
        let status =
            STATUSES.iter().find(|known| **known == self.status).copied().unwrap_or("something else");
        sorted(ExpectedOutcome { status, partial: self.partial, rows, errors: errors.collect() }, repeats)
    }

    /// Returns the message with the highest fence at each position.
    fn newest(&self, kind: &str) -> BTreeMap<&str, &EmittedMessage> {
        let mut places: BTreeMap<&str, &EmittedMessage> = BTreeMap::new();
        for said in self.said.iter().filter(|said| said.kind == kind) {
            let place = places.entry(&said.position).or_insert(said);
            if said.fence >= place.fence {
                *place = said;
            }
        }
        places
    }

    /// Returns the newest version of each page. Chunks beyond the last one of the newest attempt
    /// are void.
    fn responses(&self) -> Vec<&EmittedMessage> {
        let places = self.newest("api.response");
        let chunk = |said: &EmittedMessage| said.payload["chunk"].as_u64().unwrap_or_default();
        let mut last: BTreeMap<String, (i64, u64)> = BTreeMap::new();
        for said in places.values().filter(|said| said.payload["last_chunk"] == true) {
            let end = last.entry(said.payload["step_path"].to_string()).or_insert((said.fence, chunk(said)));
            *end = (*end).max((said.fence, chunk(said)));
        }
        let is_valid = |said: &&EmittedMessage| {
            last.get(&said.payload["step_path"].to_string()).is_none_or(|(_, last)| chunk(said) <= *last)
        };
        places.into_values().filter(is_valid).collect()
    }
}

const STATUSES: [&str; 4] = ["succeeded", "failed", "aborted", "cancelled"];

/// The error codes that examples expect.
const CODES: [&str; 5] = ["ABORT_WHEN", "HTTP_STATUS", "IGNORED", "JOB_FAILED", "JOB_TIMEOUT"];

fn code(code: &str) -> &'static str {
    CODES.iter().find(|known| **known == code).copied().unwrap_or("another code")
}

fn sorted(mut expected: ExpectedOutcome, without_repeats: bool) -> ExpectedOutcome {
    expected.errors.sort_unstable();
    for rows in expected.rows.values_mut() {
        rows.sort_by_cached_key(Value::to_string);
        if without_repeats {
            rows.dedup();
        }
    }
    expected.rows.retain(|_, rows| !rows.is_empty());
    expected
}

fn rows_differ(step: &str, found: &[Value], wanted: &[Value]) -> Vec<String> {
    let missing: Vec<&Value> = wanted.iter().filter(|row| !found.contains(row)).collect();
    let foreign: Vec<&Value> = found.iter().filter(|row| !wanted.contains(row)).collect();
    let mut words = Vec::new();
    if found.len() != wanted.len() {
        words.push(format!("{step}: {} rows, and not {}", found.len(), wanted.len()));
    }
    let short = |row: &Value| row.to_string().chars().take(300).collect::<String>();
    if let Some(row) = missing.first() {
        words.push(format!("{step}: {} are missing, the first is {}", missing.len(), short(row)));
    }
    if let Some(row) = foreign.first() {
        words.push(format!("{step}: {} do not belong there, the first is {}", foreign.len(), short(row)));
    }
    words
}
