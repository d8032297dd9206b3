//! Hostile bodies: whatever an upstream sends, the execution ends with a known error or success,
//! and its output stays proportional to the body.

use std::time::Duration;

use orchid_engine::{ExecutionFinish, Machine, Message, Request, Response, Topic};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{AttemptEnd, EXECUTION, Reply, TestClock, TestSetup, TraceEvent, attempt};

/// Plans that read none of a body, all of it, a part, rows as bytes, and rows as values.
fn plans() -> Vec<Value> {
    let step = |more: Value| {
        let mut step =
            json!({"id": "hostile", "url": "https://api.example.com/", "retry": {"max_retries": 0}});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"step": step})
    };
    vec![
        step(json!({})),
        step(json!({"extract": {"all": "response.body"}, "set_context": {"part": "response.body.a.b"}})),
        step(json!({"iterate_over": "response.body", "emit": "record"})),
        step(json!({"iterate_over": "response.body.a", "set_context": {"last": "response.body.a[-1]"}})),
        step(json!({"iterate_over": "response.body.a[?b].b"})),
    ]
}

const CONTENT_TYPES: [&str; 9] = [
    "",
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "text/csv; charset=utf-16",
    "text/xml",
    "text/xml; charset=shift_jis",
    "text/plain; charset=iso-2022-jp",
    "image/png",
];

/// The fields of a payload that these tests check.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    response_body: &'a RawValue,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    class: String,
    code: String,
}

/// Runs a plan to its end; every request gets the same body.
fn run(plan: &Value, content_type: &str, body: &[u8]) -> Vec<Message> {
    let definition = orchid_plan::compile(plan, &orchid_plan::ServerLimits::default());
    let setup = TestSetup::new(definition.expect("the plan compiles"));
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let mut reply = |request: &Request| {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        let body = body.to_vec().into();
        let response =
            Response { status: 200, headers, body, url: request.url.to_string(), files: Vec::new() };
        Reply::Response { result: Ok(response), duration: Duration::ZERO }
    };
    let mut events = Vec::new();
    let left = attempt(&mut machine, &mut TestClock { elapsed: Duration::ZERO }, &mut reply, &mut events);
    assert!(
        matches!(left, AttemptEnd::Finished(ExecutionFinish::Ended(_))),
        "an execution of one request must end without waiting"
    );
    let message = |event| match event {
        TraceEvent::Message(message) => Some(message),
        TraceEvent::Fetch(_) | TraceEvent::Wait(_) | TraceEvent::Park { .. } | TraceEvent::Finished(_) => {
            None
        }
    };
    events.into_iter().filter_map(message).collect()
}

/// Checks that every payload is valid and every error has a code for bad bodies.
fn check(messages: &[Message]) {
    for message in messages.iter().filter(|message| message.topic != Topic::Events) {
        let payload: Payload<'_> = serde_json::from_slice(&message.payload).unwrap();
        assert!(payload.response_body.get().starts_with('['));
        assert_eq!(payload.error.is_some(), message.topic == Topic::Errors);
        if let Some(Failure { class, code }) = payload.error {
            let known = [
                "permanent DECODE",
                "permanent TOO_LARGE",
                "config EXPRESSION",
                "limit MESSAGE_TOO_LARGE",
                "limit CONTEXT_TOO_LARGE",
            ];
            assert!(known.contains(&format!("{class} {code}").as_str()), "{class} {code}");
        }
    }
}

/// Generates bytes that are almost valid in each format.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "{\"a\":",
        "[",
        "]",
        "}",
        ",",
        ":",
        "\"",
        "\\u00e9",
        "\\ud834",
        "\"b\"",
        "{\"b\":1}",
        "null",
        "-1.5e9",
        "0",
        " ",
        "\n",
        "\r\n",
        "<a>",
        "</a>",
        "<b c='1'/>",
        "<b>",
        "</b>",
        "<![CDATA[",
        "]]>",
        "&amp;",
        "&x;",
        "<!--",
        "a,b\n",
        "1,2\n",
        "\"x\"\"\n",
        "\u{feff}",
        "ü",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let any = prop::collection::vec(any::<u8>(), 0..4);
    prop::collection::vec(prop_oneof![12 => word, 1 => any], 0..30).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_ends_the_execution_with_a_known_result(
        body in noise(),
        content_type in prop::sample::select(&CONTENT_TYPES[..]),
        which in 0..5_usize,
    ) {
        let messages = run(&plans()[which], content_type, &body);
        check(&messages);
        prop_assert_eq!(run(&plans()[which], content_type, &body), messages);
    }
}

#[test]
fn amplifying_bodies_produce_bounded_output() {
    let many = 10_000;
    let laughs: String = (1..30).map(|n| format!("<!ENTITY l{n} \"&l{};&l{};\">", n - 1, n - 1)).collect();
    let attributes: String = (0..many).map(|n| format!(" a{n}='1'")).collect();
    let names: String = (0..many).map(|n| format!("<e{n}/>")).collect();
    let members: Vec<String> = (0..many).map(|n| format!("\"m{n}\":{n}")).collect();
    let bodies: [(&str, String); 15] = [
        ("application/json", "[".repeat(100_000)),
        ("application/json", format!("{0}{1}", "[".repeat(100_000), "]".repeat(100_000))),
        ("application/json", format!("{{\"a\":{0}{1}}}", "[".repeat(100_000), "]".repeat(100_000))),
        ("application/json", "{\"a\":".repeat(40_000)),
        ("application/json", format!("{{\"a\":[{{{}}}]}}", members.join(","))),
        ("application/json", format!("{{\"a\":[{}1]}}", "1,".repeat(5_000))),
        ("application/x-ndjson", "[".repeat(100_000)),
        ("application/x-ndjson", "\n".repeat(200_000)),
        ("text/csv", format!("{0}\n{0}\n", ",".repeat(30_000))),
        ("text/csv", format!("{}\n{}", "n".repeat(30_000), "1\n".repeat(300))),
        ("text/csv", format!("a\n\"{}", "\"\"".repeat(50_000))),
        ("text/xml", "<a>".repeat(100_000)),
        ("text/xml", format!("<!DOCTYPE a [<!ENTITY l0 \"ha\">{laughs}]><a>&l29;</a>")),
        ("text/xml", format!("<a{attributes}/>")),
        ("text/xml", format!("<a>{names}</a>")),
    ];
    for (content_type, body) in &bodies {
        for plan in plans() {
            let messages = run(&plan, content_type, body.as_bytes());
            check(&messages);
            let sent: usize = messages.iter().map(|message| message.payload.len()).sum();
            assert!(sent <= 100 * 1024 * 1024, "{content_type}: {sent} bytes of {}", body.len());
        }
    }
}
