//! Messages never contain a secret, wherever a plan puts it and whatever characters it has.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchid_engine::{ExecutionFinish, FetchError, FetchErrorKind, Machine, Message, Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{EXECUTION, Reply, TestClock, TestSetup, TraceEvent, attempt};

/// Creates a plan that puts a secret everywhere a request can carry it.
fn setup(secret: &str, form: bool) -> TestSetup {
    let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let definition = json!({"step": {
        "method": "POST",
        "url": "https://api.example.com/v1/{{ config.key }}/x/{{ raw(config.key) }}?a={{ config.key }}",
        "params": {"b": "{{ config.key }}", "c": ["x", "{{ config.key }}"]},
        "headers": {
            "x-plain": "k {{ config.key }}", "x-basic": "{{ base64_encode(join(':', ['user', config.key])) }}",
            "content-type": content_type
        },
        "body": {"key": "{{ config.key }}", "text": "is {{ config.key }}, is it"},
        "retry": {"max_retries": 0}
    }});
    let definition = orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default());
    let mut setup = TestSetup::new(definition.expect("the plan compiles"));
    setup.config = json!({"key": secret});
    setup.secrets = vec!["/key".to_owned()];
    setup
}

fn messages(setup: &TestSetup, status: u16) -> Vec<Message> {
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let mut events = Vec::new();
    // The upstream echoes the URL in a header and in the final URL.
    let mut reply = |request: &Request| {
        let headers = vec![("location".to_owned(), request.url.to_string())];
        let response = Response {
            status,
            headers,
            body: "{}".into(),
            url: format!("{}&more", request.url),
            files: Vec::new(),
        };
        Reply::Response { result: Ok(response), duration: Duration::ZERO }
    };
    attempt(&mut machine, &mut TestClock { elapsed: Duration::ZERO }, &mut reply, &mut events);
    let message = |event| match event {
        TraceEvent::Message(message) => Some(message),
        TraceEvent::Fetch(_) | TraceEvent::Wait(_) | TraceEvent::Park { .. } | TraceEvent::Finished(_) => {
            None
        }
    };
    events.into_iter().filter_map(message).collect()
}

#[test]
fn connection_error_does_not_name_a_secret_host() {
    let definition = json!({"step": {
        "url": "https://{{ config.key }}.example.com/", "retry": {"max_retries": 0}
    }});
    let definition = orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default());
    let mut setup = TestSetup::new(definition.unwrap());
    setup.config = json!({"key": "K3Y-Secret"});
    setup.secrets = vec!["/key".to_owned()];
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let mut reply = |request: &Request| {
        assert_eq!(request.label, "https://[REDACTED].example.com/", "as logs and heartbeats show it");
        let message = format!("host name did not resolve: {}", request.url.host_str().unwrap());
        let error = FetchError { kind: FetchErrorKind::Dns, message, status: None, received: None };
        Reply::Response { result: Err(error), duration: Duration::ZERO }
    };
    let mut events = Vec::new();
    attempt(&mut machine, &mut TestClock { elapsed: Duration::ZERO }, &mut reply, &mut events);
    let ended = events.into_iter().find_map(|event| match event {
        TraceEvent::Finished(ExecutionFinish::Ended(end)) => end.error,
        _ => None,
    });
    assert_eq!(ended.unwrap().message, "host name did not resolve: [REDACTED].example.com");
}

/// Collects every string of a JSON value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Decodes a URL- or form-encoded text.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_never_contain_a_secret(
        secret in "[a-zA-Z0-9 +/=_.~%&\"'\\\\<>{}é*!-]{8,24}", form in any::<bool>(), fails in any::<bool>(),
    ) {
        // URL parsing removes dot segments and outer white space: such a secret is not sent as it
        // is.
        prop_assume!(secret.trim() == secret && !secret.contains("..") && !secret.contains("//"));
        for message in messages(&setup(&secret, form), if fails { 404 } else { 200 }) {
            let payload: Value = serde_json::from_slice(&message.payload).unwrap();
            let mut found = Vec::new();
            texts(&payload, &mut found);
            let base64 = STANDARD.encode(format!("user:{secret}"));
            for text in found {
                prop_assert!(!text.contains(&secret), "{} in {}", secret, text);
                prop_assert!(!decoded(&text).contains(&decoded(&secret)), "{} in {}", secret, text);
                prop_assert!(!text.contains(&base64), "{} in {}", base64, text);
            }
        }
    }
}
