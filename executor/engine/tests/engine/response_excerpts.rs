//! The error that ends an execution shows what the upstream said, if that is what the error is
//! about.

use std::time::Duration;

use orchid_engine::{ExecutionError, ExecutionFinish, Machine, Request, Response};
use serde_json::{Value, json};

use crate::support::{EXECUTION, Reply, TestClock, TestSetup, TraceEvent, attempt};

/// Runs a step whose only response this is, and returns the error that ends the execution.
fn error_of(step: &Value, status: u16, content_type: &str, body: &str) -> ExecutionError {
    let mut step = step.clone();
    step["url"] = json!("https://api.example.com/orders");
    step["retry"] = json!({"max_retries": 0});
    let definition = orchid_plan::compile(&json!({"step": step}), &orchid_plan::ServerLimits::default());
    let mut setup = TestSetup::new(definition.unwrap());
    setup.config = json!({"key": "hush-hush"});
    setup.secrets = vec!["/key".to_owned()];
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let mut reply = |request: &Request| {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        let (url, body) = (request.url.to_string(), body.to_owned().into());
        Reply::Response {
            result: Ok(Response { status, headers, body, url, files: Vec::new() }),
            duration: Duration::ZERO,
        }
    };
    let mut events = Vec::new();
    attempt(&mut machine, &mut TestClock { elapsed: Duration::ZERO }, &mut reply, &mut events);
    let ended = events.into_iter().find_map(|event| match event {
        TraceEvent::Finished(ExecutionFinish::Ended(end)) => Some(end),
        _ => None,
    });
    ended.unwrap().error.expect("an error")
}

#[test]
fn error_shows_the_words_of_the_response_it_is_about() {
    let refusal = r#"{"code": "invalid_param", "message": "limit must be at most 50"}"#;
    let cases = [
        (json!({}), 400, "application/json", refusal, "HTTP_STATUS", refusal),
        (json!({}), 500, "text/plain", "no hush-hush\n here", "HTTP_STATUS", "no [REDACTED] here"),
        (json!({}), 502, "text/html", "<p>\n  Bad gateway</p>", "HTTP_STATUS", "<p> Bad gateway</p>"),
        (json!({}), 404, "application/json", "", "HTTP_STATUS", ""),
        (json!({}), 404, "image/png", "\u{1}PNG", "HTTP_STATUS", ""),
        (json!({"abort_on": [403]}), 403, "application/json", refusal, "ABORT_ON", refusal),
        (
            json!({"abort_when": "response.body.error"}),
            200,
            "application/json",
            r#"{"error": "quota used up"}"#,
            "ABORT_WHEN",
            r#"{"error": "quota used up"}"#,
        ),
        (json!({}), 200, "application/json", "<html>Log in</html>", "DECODE", "<html>Log in</html>"),
    ];
    for (step, status, content_type, body, code, excerpt) in cases {
        let error = error_of(&step, status, content_type, body);
        assert_eq!(
            (error.code.as_str(), error.response_excerpt.as_str()),
            (code, excerpt),
            "{step} {status}"
        );
    }
}

#[test]
fn error_of_the_plan_shows_no_data() {
    let step = json!({"iterate_over": "response.body.name"});
    let error = error_of(&step, 200, "application/json", r#"{"name": "Ada"}"#);
    assert_eq!((error.code.as_str(), error.response_excerpt.as_str()), ("EXPRESSION", ""));
}

#[test]
fn long_response_is_cut_at_one_kib() {
    let error = error_of(&json!({}), 400, "application/json", &json!({"m": "x".repeat(5000)}).to_string());
    assert_eq!(error.response_excerpt.len(), 1024);
}
