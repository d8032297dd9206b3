//! The cost of one more expression or template on a large body, beside parsing that body once. No
//! process and no socket.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use chrono::DateTime;
use orchid_plan::{Definition, EvalEnv, PathSelection, ReadSegment, Scope, ScopeName, ServerLimits, Value};
use serde_json::json;

use crate::report::{ReportSection, median, micros};
use crate::size::BenchSize;

const BODY_BYTES: usize = 1 << 20;
/// The evaluations of one sample; a single one is shorter than the clock's resolution.
const BATCH: u32 = 2_000;

/// Typical expressions of a plan: the first kind reads one value, the second reads every row.
const AT_A_PLACE: [&str; 5] = [
    "response.body.next",
    "response.body.meta.more == `true`",
    "compare(response.body.meta.total, `100`) > `0`",
    "if(response.body.next, response.body.next, 'none')",
    "response.body.items[-1].updated_at",
];
const OVER_ALL_ROWS: [&str; 2] =
    ["max_of(response.body.items[*].updated_at)", "length(response.body.items[?status == 'open'])"];
const TEMPLATES: [&str; 2] =
    ["{{ response.body.next }}", "page {{ response.body.meta.page }} of {{ response.body.meta.pages }}"];

fn body() -> Vec<u8> {
    let mut text = String::from(
        r#"{"next":"0000000042","meta":{"page":7,"pages":99,"total":5000,"more":true},"items":["#,
    );
    for id in 0.. {
        if text.len() > BODY_BYTES - 256 {
            break;
        }
        let comma = if id == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"{comma}{{"id":{id},"number":"SO-{id:06}","status":"{}","total":{}.25,"customer":{{"id":{},"name":"Ada Lovelace"}},"tags":["a","b"],"updated_at":"2025-01-06T08:{:02}:50Z"}}"#,
            if id % 9 == 0 { "open" } else { "delivered" },
            id * 7 % 900,
            id * 31 % 500,
            id % 60,
        );
    }
    text.push_str("]}");
    text.into_bytes()
}

/// Compiles a definition whose only step has these context expressions and params.
fn compiled(expressions: &[&str], templates: &[&str]) -> Definition {
    let context: serde_json::Map<String, serde_json::Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, text)| (format!("value_{number}"), json!(text)))
        .collect();
    let params: serde_json::Map<String, serde_json::Value> =
        templates.iter().enumerate().map(|(number, text)| (format!("param_{number}"), json!(text))).collect();
    let definition =
        json!({"step": {"url": "https://example.com/rows", "params": params, "set_context": context}});
    orchid_plan::compile(&definition, &ServerLimits::default()).expect("a valid definition")
}

/// Returns the time of one turn, in microseconds.
fn time(turns: u32, mut turn: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..turns {
        turn();
    }
    micros(began.elapsed()) / f64::from(turns)
}

pub(crate) fn measure(size: BenchSize) -> ReportSection {
    let rounds = size.of(7, 21);
    let body = body();
    let whole = Value::parse(&body).expect("JSON");
    let response = Value::object([("status_code", Value::from(200_u64)), ("body", whole)]);
    let scope = Scope::new().with(ScopeName::Response, response);
    let env = EvalEnv::new(DateTime::from_timestamp(1_760_000_000, 0).expect("a time"), 7);
    let mut section = ReportSection::new(
        "One more expression or template",
        format!(
            "On a body of {} KiB, beside parsing that body once, in one thread; {rounds} rounds in turn, medians. Goal: less than \
             1 % each. Expressions over every row are shown for comparison: their cost grows with the rows.",
            body.len() / 1024
        ),
        &["what", "µs", "% of parsing all of it"],
    );
    let expressions: Vec<&str> = AT_A_PLACE.iter().chain(&OVER_ALL_ROWS).copied().collect();
    let plan = compiled(&expressions, &[]);
    let renders: Vec<Definition> = [&[] as &[&str], &TEMPLATES[..1], &TEMPLATES[1..]]
        .iter()
        .map(|templates| compiled(&[], templates))
        .collect();
    let mut parse = Vec::new();
    let mut scan = Vec::new();
    let mut evals = vec![Vec::new(); expressions.len()];
    let mut rendered = vec![Vec::new(); renders.len()];
    for _ in 0..rounds {
        parse.push(time(3, || drop(black_box(Value::parse(black_box(&body))))));
        let next = PathSelection::of([&[ReadSegment::Member("next".to_owned())][..]]);
        scan.push(time(3, || drop(black_box(Value::parse_selected(black_box(&body), &next)))));
        for ((_, expression), into) in plan.steps[0].set_context.iter().zip(&mut evals) {
            let turns = if OVER_ALL_ROWS.contains(&expression.text()) { 5 } else { BATCH };
            into.push(time(turns, || drop(black_box(expression.eval(&scope, &env)).expect("a value"))));
        }
        for (definition, into) in renders.iter().zip(&mut rendered) {
            let request = definition.steps[0].request().expect("a request");
            into.push(time(BATCH, || drop(black_box(request.render(&scope, &env)).expect("a request"))));
        }
    }
    let all = median(&parse);
    let mut row = |what: String, took: f64| {
        section.row([what, format!("{took:.3}"), format!("{:.3}", took / all * 100.0)]);
    };
    row("parsing all of it".to_owned(), all);
    row("parsing only what a plan reads (`response.body.next`)".to_owned(), median(&scan));
    for (expression, took) in expressions.iter().zip(&evals) {
        let kind = if OVER_ALL_ROWS.contains(expression) { "every row: " } else { "" };
        row(format!("{kind}`{}`", expression.replace('|', "\\|")), median(took));
    }
    for (template, took) in TEMPLATES.iter().zip(&rendered[1..]) {
        row(format!("template `{template}`"), median(took) - median(&rendered[0]));
    }
    section
}
