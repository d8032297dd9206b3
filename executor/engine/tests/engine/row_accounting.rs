//! No row is lost silently: over random plans and random upstreams, an execution that says that it
//! is complete has delivered every row that the upstream has, apart from those that the plan drops
//! by an explicit rule.
//!
//! The upstream returns bodies of every kind: right ones under wrong content types, errors with
//! status 200, empty ones, cut and late ones, and rows that are hard to read or too large.

use std::collections::{BTreeMap, BTreeSet};

use orchid_engine::{FetchError, FetchErrorKind, Message, Request, Response, Topic};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chaos::{self, ExecutionRecord, Interleaving, Reply, Upstream, succeeded};
use crate::support::TestSetup;

/// Size of a message in these tests, above which a row cannot be delivered.
const MESSAGE_MAX: usize = 16 * 1024;

/// The kind of answer that an upstream gives to the request of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerKind {
    /// The page, as its content type says.
    Page,
    /// The page under another content type.
    Mislabelled(&'static str),
    /// A page of HTML with status 200.
    Html,
    /// A JSON error with status 200.
    ErrorBody,
    /// No body, with this status.
    Empty(u16),
    /// An error status.
    Status(u16),
    /// The page, cut off in the middle, by the connection or by the upstream itself.
    Cut { connection: bool },
    /// A fetch error instead of a response.
    Error(FetchErrorKind),
}

impl AnswerKind {
    /// Returns whether a plan without special rules reads the whole page from it.
    fn is_whole(self) -> bool {
        matches!(self, Self::Page | Self::Mislabelled(_))
    }
}

/// The content of one row beside its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowContent {
    Plain,
    /// Marked, so that a filter in `iterate_over` drops it.
    Marked,
    /// Half a surrogate pair, a number beyond a double, 30 digits: all of them JSON.
    Awkward,
    /// Nested deeper than any body may be.
    TooDeep,
    /// Larger than a message.
    TooLarge,
}

impl RowContent {
    /// Returns the row's members behind the id.
    fn members(self) -> String {
        match self {
            Self::Plain => r#""n":"a""#.to_owned(),
            Self::Marked => r#""n":"a","marked":true"#.to_owned(),
            Self::Awkward => {
                r#""n":"cut \ud83d","big":1e400,"digits":123456789012345678901234567890"#.to_owned()
            }
            Self::TooDeep => format!(r#""n":{}{}"#, "[".repeat(1200), "]".repeat(1200)),
            Self::TooLarge => format!(r#""n":"{}""#, "x".repeat(MESSAGE_MAX)),
        }
    }
}

/// One page of the upstream: its rows, and its answers; the last one is given from then on.
#[derive(Debug, Clone)]
struct UpstreamPage {
    rows: Vec<RowContent>,
    answers: Vec<AnswerKind>,
}

/// The way in which the upstream writes its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageFormat {
    /// An object with the rows and a pointer to the next page.
    Object,
    /// A list; the `Link` header names the next page.
    List,
    /// JSON lines, with a `Link` header.
    Lines,
    /// CSV, with a `Link` header.
    Csv,
}

impl PageFormat {
    fn content_type(self) -> &'static str {
        match self {
            Self::Object | Self::List => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }

    /// Returns whether the rows of this format can have any content.
    fn is_json(self) -> bool {
        self != Self::Csv
    }
}

/// A plan and an upstream.
#[derive(Debug, Clone)]
struct Scenario {
    format: PageFormat,
    pages: Vec<UpstreamPage>,
    /// Numbers of the rows whose sub-step fails with this status.
    failing_child: Option<(usize, u16)>,
    /// Whether a filter drops the marked rows.
    filters: bool,
    fields: Value,
}

impl Scenario {
    fn definition(&self) -> Value {
        let mut step = json!({
            "id": "list", "url": "https://api.example.com/list", "retry": {"max_retries": 1, "jitter": "none"},
        });
        let (rows, paginate) = match self.format {
            PageFormat::Object => (
                "response.body.items",
                json!({"type": "cursor", "value": "response.body.next", "param": "at"}),
            ),
            PageFormat::List | PageFormat::Lines | PageFormat::Csv => {
                ("response.body", json!({"type": "link_header"}))
            }
        };
        let filter = if self.filters { "[?!(marked)]" } else { "" };
        step["iterate_over"] = json!(format!("{rows}{filter}"));
        step["paginate"] = paginate;
        for (name, value) in self.fields.as_object().into_iter().flatten() {
            step[name] = value.clone();
        }
        if self.fields["sub_steps"].is_array() {
            step["sub_steps"] = json!([{
                "id": "child", "url": "https://api.example.com/child/{{ item.id }}",
                "iterate_over": "response.body.items", "retry": {"max_retries": 0},
            }]);
        }
        json!({"step": step})
    }

    /// Returns the ids of all rows that the upstream has and the plan wants, and of their children.
    fn ids(&self) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for (number, page) in self.pages.iter().enumerate() {
            let dropped = |content: &RowContent| self.filters && *content == RowContent::Marked;
            for (row, _) in page.rows.iter().enumerate().filter(|(_, content)| !dropped(content)) {
                ids.insert(format!("p{number}r{row}"));
                if self.fields["sub_steps"].is_array() {
                    ids.insert(format!("p{number}r{row}c"));
                }
            }
        }
        ids
    }

    /// Returns whether `accept_on` of the plan says that an answer of the upstream means "none".
    fn accepts_none(&self) -> bool {
        let accepted = self.fields["accept_on"].as_array().into_iter().flatten();
        let statuses: Vec<u16> = accepted
            .flat_map(|entry| match entry.as_str() {
                Some("5xx") => vec![500, 503],
                Some(_) => Vec::new(),
                None => entry.as_u64().and_then(|status| u16::try_from(status).ok()).into_iter().collect(),
            })
            .collect();
        self.pages.iter().flat_map(|page| &page.answers).any(|answer| match answer {
            AnswerKind::Empty(status) | AnswerKind::Status(status) => statuses.contains(status),
            _ => false,
        })
    }

    /// Returns whether a plan without special rules reads everything.
    fn is_clean(&self) -> bool {
        let readable =
            |row: &RowContent| matches!(row, RowContent::Plain | RowContent::Marked | RowContent::Awkward);
        // Lines without a row are no body at all, which does not say that there are none.
        let is_empty = |page: &UpstreamPage| page.rows.is_empty() && self.format == PageFormat::Lines;
        self.failing_child.is_none()
            && !self.pages.iter().any(is_empty)
            && self.pages.iter().all(|page| {
                page.rows.iter().all(readable) && page.answers.iter().all(|answer| answer.is_whole())
            })
    }
}

/// The upstream of a scenario.
struct ScenarioUpstream<'a> {
    scenario: &'a Scenario,
    /// Number of answers that each page has given.
    given: BTreeMap<usize, usize>,
}

impl Upstream for ScenarioUpstream<'_> {
    fn reply(&mut self, request: &Request) -> Reply {
        let path = request.url.path().to_owned();
        if let Some(id) = path.strip_prefix("/child/") {
            return self.child(request, id);
        }
        let at =
            request.url.query_pairs().find(|(name, _)| name == "at").map(|(_, value)| value.into_owned());
        let number: usize = at.and_then(|at| at.parse().ok()).unwrap_or_default();
        let page = &self.scenario.pages[number];
        let given = self.given.entry(number).or_default();
        let answer = page.answers[(*given).min(page.answers.len() - 1)];
        *given += 1;
        self.answer(request, number, answer)
    }
}

impl ScenarioUpstream<'_> {
    fn child(&self, request: &Request, id: &str) -> Reply {
        let number = id.rsplit_once('r').and_then(|(_, row)| row.parse::<usize>().ok());
        match self.scenario.failing_child {
            Some((row, status)) if Some(row) == number => {
                Reply::json(request, status, &json!({"error": "x"}))
            }
            Some(_) | None => Reply::json(request, 200, &json!({"items": [{"id": format!("{id}c")}]})),
        }
    }

    fn answer(&self, request: &Request, number: usize, answer: AnswerKind) -> Reply {
        let format = self.scenario.format;
        let body = self.body(number);
        match answer {
            AnswerKind::Page => self.respond(request, number, 200, format.content_type(), body),
            AnswerKind::Mislabelled(content_type) => self.respond(request, number, 200, content_type, body),
            AnswerKind::Html => {
                let body = "<html><body>down for maintenance</body></html>".to_owned();
                self.respond(request, number, 200, "text/html", body)
            }
            AnswerKind::ErrorBody => {
                let body = r#"{"success": false, "error": {"code": 101}}"#.to_owned();
                self.respond(request, number, 200, "application/json", body)
            }
            AnswerKind::Empty(status) => {
                self.respond(request, number, status, format.content_type(), String::new())
            }
            AnswerKind::Status(status) => Reply::json(request, status, &json!({"error": status})),
            AnswerKind::Cut { connection } => {
                let half = body.len() / 2;
                if connection {
                    let reply = self.respond(request, number, 200, format.content_type(), body);
                    Reply { break_after: Some(half), ..reply }
                } else {
                    self.respond(request, number, 200, format.content_type(), body[..half].to_owned())
                }
            }
            AnswerKind::Error(kind) => {
                let error =
                    FetchError { kind, message: "it failed".to_owned(), status: None, received: None };
                Reply { result: Err(error), break_after: None }
            }
        }
    }

    /// Returns the body of a page. All of its text is ASCII, so that it can be cut anywhere.
    fn body(&self, number: usize) -> String {
        let pages = &self.scenario.pages;
        let ids = (0..pages[number].rows.len()).map(|row| format!("p{number}r{row}"));
        if self.scenario.format == PageFormat::Csv {
            return ids.fold("id,n\n".to_owned(), |csv, id| csv + &id + ",a\n");
        }
        let rows: Vec<String> = ids
            .zip(&pages[number].rows)
            .map(|(id, content)| format!(r#"{{"id":"{id}",{}}}"#, content.members()))
            .collect();
        let next = if number + 1 < pages.len() { format!("\"{}\"", number + 1) } else { "null".to_owned() };
        match self.scenario.format {
            PageFormat::Object => format!(r#"{{"items":[{}],"next":{next}}}"#, rows.join(",")),
            PageFormat::List => format!("[{}]", rows.join(",")),
            PageFormat::Lines | PageFormat::Csv => {
                rows.iter().fold(String::new(), |all, row| all + row + "\n")
            }
        }
    }

    fn respond(
        &self,
        request: &Request,
        number: usize,
        status: u16,
        content_type: &str,
        body: String,
    ) -> Reply {
        let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
        if self.scenario.format != PageFormat::Object && number + 1 < self.scenario.pages.len() {
            headers.push(("link".to_owned(), format!("<?at={}>; rel=\"next\"", number + 1)));
        }
        let response =
            Response { status, headers, body: body.into(), url: request.url.to_string(), files: Vec::new() };
        Reply { result: Ok(response), break_after: None }
    }
}

fn answer() -> impl Strategy<Value = AnswerKind> {
    prop_oneof![
        12 => Just(AnswerKind::Page),
        1 => Just(AnswerKind::Html),
        1 => Just(AnswerKind::ErrorBody),
        1 => prop::sample::select(vec![200, 202]).prop_map(AnswerKind::Empty),
        1 => prop::sample::select(vec![404, 410, 500, 503]).prop_map(AnswerKind::Status),
        2 => prop::bool::ANY.prop_map(|connection| AnswerKind::Cut { connection }),
        1 => prop::sample::select(vec![
            FetchErrorKind::Timeout, FetchErrorKind::Broken, FetchErrorKind::TooLarge, FetchErrorKind::Decode,
        ]).prop_map(AnswerKind::Error),
    ]
}

fn page(format: PageFormat) -> impl Strategy<Value = UpstreamPage> {
    let content = prop_oneof![
        12 => Just(RowContent::Plain),
        2 => Just(RowContent::Awkward),
        2 => Just(RowContent::Marked),
        1 => Just(RowContent::TooDeep),
        1 => Just(RowContent::TooLarge),
    ];
    let labels = vec!["text/plain", "application/octet-stream", "application/json, application/json", "??"];
    let answers = prop::collection::vec(answer(), 1..3);
    (prop::collection::vec(content, 0..6), answers, prop::option::weighted(0.2, prop::sample::select(labels)))
        .prop_map(move |(mut rows, mut answers, label)| {
            if matches!(format, PageFormat::Lines | PageFormat::Csv) {
                // A file of lines that ends early, without a broken connection, is a shorter file.
                for answer in &mut answers {
                    if let AnswerKind::Cut { connection } = answer {
                        *connection = true;
                    }
                }
            }
            if !format.is_json() {
                rows.iter_mut().for_each(|row| *row = RowContent::Plain);
            }
            // Lines and CSV are recognized by their content type alone.
            if let (Some(label), PageFormat::Object | PageFormat::List) = (label, format) {
                for answer in answers.iter_mut().filter(|answer| **answer == AnswerKind::Page) {
                    *answer = AnswerKind::Mislabelled(label);
                }
            }
            UpstreamPage { rows, answers }
        })
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let formats = vec![PageFormat::Object, PageFormat::List, PageFormat::Lines, PageFormat::Csv];
    let codes = vec![
        json!(404),
        json!("5xx"),
        json!(202),
        json!("TIMEOUT"),
        json!("BROKEN"),
        json!("DECODE"),
        json!("TOO_LARGE"),
        json!("MESSAGE_TOO_LARGE"),
    ];
    let lists = (prop::sample::subsequence(codes.clone(), 0..3), prop::sample::subsequence(codes, 0..3));
    let options = (
        prop::bool::ANY,
        prop::bool::ANY,
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.3),
    );
    prop::sample::select(formats).prop_flat_map(move |format| {
        let child = prop::option::weighted(0.3, (0_usize..4, prop::sample::select(vec![404_u16, 500])));
        (prop::collection::vec(page(format), 1..4), child, lists.clone(), options).prop_map(
            move |(pages, child, (ignored, accepted), (record, stream, sub_steps, extract, filters))| {
                let mut fields = json!({"ignore_on": ignored, "accept_on": accepted});
                if record {
                    fields["emit"] = json!("record");
                }
                if stream && matches!(format, PageFormat::Object | PageFormat::List) {
                    fields["response"] = json!({"stream": true});
                    if format == PageFormat::Object {
                        // A streamed body has no members to read a pointer from.
                        fields.as_object_mut().unwrap().remove("response");
                    }
                }
                if sub_steps {
                    fields["sub_steps"] = json!([]);
                }
                if extract && format == PageFormat::Object {
                    fields["extract"] = json!({"first": "response.body.items[0].n"});
                }
                let failing_child = child.filter(|_| sub_steps);
                Scenario {
                    format,
                    pages,
                    failing_child,
                    filters: filters && format == PageFormat::Object,
                    fields,
                }
            },
        )
    })
}

/// Returns the ids of all delivered rows and of the rows of their sub-steps, sorted, with
/// repetitions of the same row of the same place taken once.
fn delivered(messages: &[Message]) -> Vec<String> {
    let mut rows = BTreeSet::new();
    for message in messages.iter().filter(|message| message.topic == Topic::Responses) {
        // Awkward rows are passed on as they came, and not every reader can read them.
        let text = String::from_utf8_lossy(&message.payload);
        let text = text.replace(r"\ud83d", "").replace("1e400", "1");
        let payload: Value = serde_json::from_str(&text).expect("a message is JSON");
        let path = payload["step_path"].as_str().unwrap().to_owned();
        for row in payload["response_body"].as_array().unwrap() {
            let children = row["_steps"]["child"].as_array().into_iter().flatten();
            for id in [row].into_iter().chain(children).filter_map(|row| row["id"].as_str()) {
                rows.insert((path.clone(), id.to_owned()));
            }
        }
    }
    let mut ids: Vec<String> = rows.into_iter().map(|(_, id)| id).collect();
    ids.sort();
    ids
}

fn setup(scenario: &Scenario) -> TestSetup {
    TestSetup { message_max_bytes: MESSAGE_MAX, ..chaos::setup(&scenario.definition()) }
}

fn run(scenario: &Scenario, interleaving: &Interleaving) -> ExecutionRecord {
    let setup = setup(scenario);
    let mut upstream = ScenarioUpstream { scenario, given: BTreeMap::new() };
    chaos::run(&setup, &mut upstream, ExecutionRecord::fresh(&setup), usize::MAX, interleaving)
}

fn check(scenario: &Scenario, record: &ExecutionRecord) -> Result<(), TestCaseError> {
    let end = record.end.as_ref().expect("the execution has ended");
    let found = delivered(&record.messages);
    let unique: BTreeSet<String> = found.iter().cloned().collect();
    let all = scenario.ids();
    prop_assert!(unique.is_subset(&all), "rows from nowhere: {found:?}");
    if end.complete && !scenario.accepts_none() {
        prop_assert!(succeeded(record), "complete, but not succeeded: {end:?}");
        prop_assert_eq!(&unique, &all, "complete, but these are not the rows of the upstream");
    }
    if scenario.is_clean() {
        let warnings = record.checkpoint.as_ref().map(|saved| saved.progress.warnings.clone());
        prop_assert!(end.complete, "nothing was missing, but it is not complete: {end:?} {warnings:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn complete_execution_has_delivered_every_row(
        scenario in scenarios(),
        interleaving in Interleaving::any(),
    ) {
        check(&scenario, &run(&scenario, &interleaving))?;
    }
}
