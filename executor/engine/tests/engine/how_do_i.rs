//! Runs every plan of `docs/how-do-i.md` against the responses of `tests/recipes/<key>.json`. The
//! block below a plan on that page lists the requests, the rows and the end of the execution, and
//! must match. `ORCHID_BLESS=1` rewrites these blocks; review the difference before you commit it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{
    ArchiveFile, ExecutionEnd, ExecutionFinish, Machine, Message, Request, Response, SavedCheckpoint, Topic,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{
    AttemptEnd, EXECUTION, Reply, TestClock, TestSetup, TraceEvent, apply, apply_cursors, attempt, saved,
};

/// The url that `config.base_url` has in every recipe; the traces leave it out.
const BASE_URL: &str = "https://api.example.com";

/// The responses of an API to one recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeScript {
    /// Values of the config beside `base_url`.
    #[serde(default)]
    config: BTreeMap<String, Value>,
    /// Pointers to the secret values of the config.
    #[serde(default)]
    secrets: Vec<String>,
    /// Hosts of the config's transport.
    #[serde(default)]
    allowed_hosts: Vec<String>,
    /// Request headers that the trace shows.
    #[serde(default)]
    shown_headers: Vec<String>,
    /// The responses to each of a series of executions, in order.
    executions: Vec<Vec<ScriptedResponse>>,
}

/// A response, with a JSON body or one of lines of text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptedResponse {
    #[serde(default = "ok")]
    status: u16,
    /// By default `content-type: application/json`.
    headers: Option<BTreeMap<String, String>>,
    json: Option<Box<RawValue>>,
    #[serde(default)]
    lines: Vec<String>,
    /// Names and texts of an archive's files, instead of a body.
    #[serde(default)]
    files: Vec<(String, String)>,
}

fn ok() -> u16 {
    200
}

impl ScriptedResponse {
    fn response(self, request: &Request) -> Response {
        let mut headers = self.headers.unwrap_or_default();
        if self.json.is_some() {
            headers.entry("content-type".to_owned()).or_insert_with(|| "application/json".to_owned());
        }
        let lines = self.lines.iter().map(|line| format!("{line}\n"));
        let text = || lines.chain(self.files.iter().map(|(_, text)| text.clone())).collect();
        let body = self.json.as_ref().map_or_else(text, |json| json.get().to_owned());
        let files =
            self.files.iter().map(|(name, text)| ArchiveFile { name: name.clone(), bytes: text.len() });
        Response {
            status: self.status,
            headers: headers.into_iter().collect(),
            body: Bytes::from(body),
            url: request.url.to_string(),
            files: files.collect(),
        }
    }
}

/// A plan of the page, and the trace that is written below it.
struct Recipe<'a> {
    plan: &'a str,
    trace: &'a str,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the recipes of a page: each JSON block with a `definition` and the text block after it.
fn recipes(page: &str) -> Vec<Recipe<'_>> {
    let mut recipes = Vec::new();
    for section in page.split("\n### ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let mut rest = section;
        while let Some((plan, after)) = block(rest, "```json\n") {
            rest = after;
            let document: Value =
                serde_json::from_str(plan).unwrap_or_else(|error| panic!("{title}: {error}: {plan}"));
            if document.get("definition").is_some() {
                let (trace, after) =
                    block(rest, "```text\n").unwrap_or_else(|| panic!("{title}: no trace below the plan"));
                recipes.push(Recipe { plan, trace });
                rest = after;
            }
        }
    }
    recipes
}

/// Returns the first block that begins with this fence, and what follows it.
fn block<'a>(text: &'a str, fence: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(fence).and_then(|(_, rest)| rest.split_once("```"))
}

#[test]
fn every_recipe_gives_the_trace_below_it() {
    let file = repository().join("docs/how-do-i.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let bless = std::env::var_os("ORCHID_BLESS").is_some();
    let mut blessed = page.clone();
    let mut keys = BTreeSet::new();
    let mut failures = Vec::new();
    for recipe in recipes(&page) {
        let document: Value = serde_json::from_str(recipe.plan).unwrap();
        let key = document["key"].as_str().unwrap_or_default().to_owned();
        match run(&key, &document) {
            Ok(trace) if trace == recipe.trace => {}
            Ok(trace) if bless => {
                let blocks = |trace: &str| format!("{}```\n\n```text\n{trace}```", recipe.plan);
                blessed = blessed.replacen(&blocks(recipe.trace), &blocks(&trace), 1);
            }
            Ok(trace) => failures.push(format!("{key}: the trace is\n{trace}")),
            Err(problem) => failures.push(format!("{key}: {problem}")),
        }
        assert!(keys.insert(key.clone()), "two recipes have the key {key}");
    }
    assert!(keys.len() >= 20, "{} recipes", keys.len());
    if bless {
        std::fs::write(&file, blessed).unwrap();
    }
    assert!(failures.is_empty(), "{} recipes differ\n{}", failures.len(), failures.join("\n"));
    let scripts: BTreeSet<String> = std::fs::read_dir(repository().join("tests/recipes"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(scripts, keys, "every script of tests/recipes belongs to a recipe");
}

#[test]
fn every_recipe_is_in_the_list_of_contents() {
    let page = std::fs::read_to_string(repository().join("docs/how-do-i.md")).unwrap();
    for title in page.lines().filter_map(|line| line.strip_prefix("### ")) {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = title.to_lowercase().chars().filter(kept).collect();
        let link = format!("(#{})", anchor.replace(' ', "-"));
        assert!(page.contains(&link), "{title}: the contents have no link {link}");
    }
}

/// Runs a recipe's executions one after the other and returns their trace.
fn run(key: &str, document: &Value) -> Result<String, String> {
    let file = repository().join(format!("tests/recipes/{key}.json"));
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let script: RecipeScript = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let plan = orchid_plan::check(document, &orchid_plan::ServerLimits::default())
        .map_err(|diagnostics| format!("the plan is refused: {diagnostics}"))?;
    let warnings = plan.definition.warnings();
    if !warnings.is_empty() {
        return Err(format!("the plan has warnings: {warnings:?}"));
    }
    let mut setup = TestSetup::new(plan.definition);
    setup.config = json!({"base_url": BASE_URL});
    for (name, value) in &script.config {
        setup.config[name] = value.clone();
    }
    setup.secrets.clone_from(&script.secrets);
    setup.allowed_hosts.clone_from(&script.allowed_hosts);
    let (mut trace, mut checkpoint) = (String::new(), None);
    for (number, responses) in script.executions.into_iter().enumerate() {
        if number > 0 {
            trace.push_str("\nthe next execution:\n\n");
        }
        let responses = VecDeque::from(responses);
        checkpoint = execute(&mut setup, number, responses, checkpoint, &script.shown_headers, &mut trace)?;
    }
    Ok(trace)
}

/// Runs one execution, through all its attempts, and saves its context and cursors in the setup.
/// Each execution begins a day after the one before it. Returns the checkpoint of an execution that
/// reached a limit: the next one continues there.
fn execute(
    setup: &mut TestSetup,
    number: usize,
    mut responses: VecDeque<ScriptedResponse>,
    mut resume: Option<SavedCheckpoint>,
    shown_headers: &[String],
    trace: &mut String,
) -> Result<Option<SavedCheckpoint>, String> {
    let later = Duration::from_secs(24 * 60 * 60) * number as u32;
    let (mut clock, mut at_limit) = (TestClock { elapsed: later }, false);
    for attempt_number in 1.. {
        let mut spec = setup.job(attempt_number, EXECUTION + number as u128, resume.clone());
        spec.identity.scheduled_at += later;
        spec.identity.started_at += later;
        let mut machine = Machine::new(spec).map_err(|error| error.to_string())?;
        let (mut events, mut statuses) = (Vec::new(), VecDeque::new());
        let mut reply = |request: &Request| {
            let response = responses.pop_front().unwrap_or_else(|| panic!("no response to {}", request.url));
            statuses.push_back(response.status);
            Reply::Response { result: Ok(response.response(request)), duration: Duration::from_millis(50) }
        };
        let end = attempt(&mut machine, &mut clock, &mut reply, &mut events);
        events.iter().for_each(|event| push_event(trace, event, shown_headers, &mut statuses));
        let checkpoint = machine.checkpoint();
        if let Some(checkpoint) = &checkpoint {
            apply(&mut setup.context, checkpoint);
            apply_cursors(&mut setup.cursors, checkpoint);
            resume = Some(saved(checkpoint, resume.as_ref()));
        }
        match end {
            AttemptEnd::Parked(not_before) => {
                let wait = (not_before - clock.now().wall).to_std().unwrap_or_default();
                writeln!(trace, "    parks for {} s", wait.as_secs_f64().round()).unwrap();
                clock.elapsed += wait;
            }
            AttemptEnd::Finished(ExecutionFinish::Released) => return Err("it was released".to_owned()),
            AttemptEnd::Finished(ExecutionFinish::Ended(end)) => {
                let warnings = checkpoint.map(|checkpoint| checkpoint.progress.warnings).unwrap_or_default();
                at_limit = warnings.iter().any(|warning| warning.code == "LIMIT_REACHED");
                push_end(trace, &end, warnings.iter().map(|warning| warning.code.as_str()));
                break;
            }
        }
    }
    if responses.is_empty() {
        Ok(resume.filter(|_| at_limit))
    } else {
        Err(format!("{} responses are left\n{trace}", responses.len()))
    }
}

fn push_event(
    trace: &mut String,
    event: &TraceEvent,
    shown_headers: &[String],
    statuses: &mut VecDeque<u16>,
) {
    match event {
        TraceEvent::Fetch(request) => {
            let url = request.url.as_str();
            let url = url.strip_prefix(BASE_URL).unwrap_or(url);
            let body = request.body.as_ref().map(|body| format!(" {}", String::from_utf8_lossy(body)));
            writeln!(trace, "{} {url}{}", request.method, body.unwrap_or_default()).unwrap();
            for (name, value) in request.headers.iter().filter(|(name, _)| shown_headers.contains(name)) {
                writeln!(trace, "    {name}: {value}").unwrap();
            }
            match statuses.pop_front() {
                Some(200) | None => {}
                Some(status) => writeln!(trace, "    responds with {status}").unwrap(),
            }
        }
        TraceEvent::Message(message) => push_message(trace, message),
        TraceEvent::Wait(delay) => writeln!(trace, "    waits {} s", delay.as_secs_f64()).unwrap(),
        // Shown with the wait that the clock jumps over, and with the end.
        TraceEvent::Park { .. } | TraceEvent::Finished(_) => {}
    }
}

/// Prints the elements of a message, each in one line and as the bytes that are sent.
fn push_message(trace: &mut String, message: &Message) {
    #[derive(Deserialize)]
    struct Payload<'a> {
        step_path: Option<String>,
        #[serde(borrow)]
        response_body: Option<Vec<&'a RawValue>>,
        extracted_data: Option<Value>,
        error: Option<Value>,
    }
    let payload: Payload<'_> = serde_json::from_slice(&message.payload).expect("a message");
    match message.topic {
        Topic::Responses => {
            for row in payload.response_body.into_iter().flatten() {
                writeln!(trace, "    {}", row.get().replace('\n', " ")).unwrap();
            }
            if let Some(extracted) = payload.extracted_data.filter(|data| *data != json!({})) {
                writeln!(trace, "    extracted {extracted}").unwrap();
            }
        }
        Topic::Errors => {
            let error = payload.error.unwrap_or_default();
            let ignored = if error["ignored"] == true { ", ignored" } else { "" };
            let (code, path) = (&error["code"], payload.step_path.unwrap_or_default());
            writeln!(trace, "    error {}{ignored} at {path}", code.as_str().unwrap_or_default()).unwrap();
        }
        Topic::Events => {}
    }
}

fn push_end<'a>(trace: &mut String, end: &ExecutionEnd, warnings: impl Iterator<Item = &'a str>) {
    let status = format!("{:?}", end.status).to_lowercase();
    let partial = if end.partial { ", partial" } else { "" };
    let complete = if end.complete { ", complete" } else { ", not complete" };
    write!(trace, "{status}{partial}{complete}").unwrap();
    let codes: BTreeSet<&str> = warnings.collect();
    for code in codes {
        write!(trace, ", warning {code}").unwrap();
    }
    trace.push('\n');
}
