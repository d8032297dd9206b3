//! Explains why a URL could not be polled, and what to do about it. Pure.

use orchid_sdk::v1::{Execution, ExecutionError, ExecutionState};
use serde_json::Value;

use super::check::{ReceivedMessages, rows};
use crate::commands::watch;
use crate::kafka::Message;
use crate::output::text;

const BODY_SHOWN: usize = 160;

/// Returns the reason why the first request to a URL gave no rows; `None` if it succeeded.
pub(super) fn diagnose_probe(
    url: &str,
    execution: &Execution,
    received: &ReceivedMessages,
) -> Option<String> {
    if execution.state() != ExecutionState::Succeeded {
        return Some(describe_failure(url, execution, received));
    }
    let page = received.messages().next().filter(|message| content_type(message).contains("html"))?;
    let kind = content_type(page);
    Some(format!("{url} is a web page ({kind}), not JSON: is it the address of the API?"))
}

/// Returns the reason why an execution did not succeed.
pub(super) fn describe_failure(url: &str, execution: &Execution, received: &ReceivedMessages) -> String {
    let Some(error) = &execution.error else {
        return format!("the execution ended as {}", watch::state(execution.state()));
    };
    let ExecutionError { code, message, .. } = error;
    match code.as_str() {
        "HTTP_STATUS" => status(url, error, received),
        "CONNECT" | "DNS" | "TIMEOUT" | "BROKEN" => format!("cannot reach {url}: {message}"),
        "TLS" => format!("no secure connection to {url}: {message}"),
        "ADDRESS_REFUSED" => format!(
            "{url} is not allowed: {message}; to allow it, pass its range, such as `--allow-private 10.0.0.0/8` \
             (make demo: ALLOW_PRIVATE=10.0.0.0/8)"
        ),
        "DECODE" => {
            let kind = received.error().map(content_type).unwrap_or_default();
            format!("cannot decode the response of {url} as {kind}: {message}")
        }
        "MESSAGE_TOO_LARGE" | "TOO_LARGE" => {
            format!(
                "the response of {url} is too large: {message}; ask for a smaller page with the URL's own parameters"
            )
        }
        _ => format!("{url}: {code}: {message}"),
    }
}

fn status(url: &str, error: &ExecutionError, received: &ReceivedMessages) -> String {
    let status = error.status_code.unwrap_or_default();
    let body = received.error().and_then(|message| rows(message).first()).map(|body| match body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let line = |body: String| body.split_whitespace().collect::<Vec<_>>().join(" ");
    let excerpt =
        body.map(|body| format!(": {}", text::shortened(&line(body), BODY_SHOWN))).unwrap_or_default();
    let hint = match status {
        401 | 403 => {
            "\n  it requires credentials: send a header, such as `--header 'Authorization: Bearer …'` (make demo: HEADER='…')"
        }
        404 | 410 => "\n  is the path right?",
        _ => "",
    };
    format!("{url} responded with {status}{excerpt}{hint}")
}

fn content_type(message: &Message) -> &str {
    message.body["response_headers"]["content-type"].as_str().unwrap_or("a body without content type")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "http://a.test/x";

    fn received(kind: &str, content_type: &str, body: &Value) -> ReceivedMessages {
        let mut received = ReceivedMessages::new("mine");
        let headers = [("execution_id", "mine"), ("type", kind), ("orchid-position", "p")];
        received.add(Message {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: json!({"response_body": [body], "response_headers": {"content-type": content_type}}),
        });
        received
    }

    fn failed(code: &str, message: &str, status_code: Option<i32>) -> Execution {
        let error = ExecutionError {
            code: code.into(),
            message: message.into(),
            status_code,
            ..ExecutionError::default()
        };
        Execution { state: ExecutionState::Failed.into(), error: Some(error), ..Execution::default() }
    }

    #[test]
    fn failure_is_described_with_its_remedy() {
        let refusal = json!({"error": "no key"});
        let cases = [
            (
                failed("CONNECT", "connection refused", None),
                "cannot reach http://a.test/x: connection refused",
            ),
            (
                failed("HTTP_STATUS", "status 404", Some(404)),
                "http://a.test/x responded with 404: {\"error\":\"no key\"}\n  is the path right?",
            ),
            (
                failed("HTTP_STATUS", "status 500", Some(500)),
                "http://a.test/x responded with 500: {\"error\":\"no key\"}",
            ),
            (
                failed("DECODE", "the body is no JSON: line 1", Some(200)),
                "cannot decode the response of http://a.test/x as application/json: the body is no JSON: line 1",
            ),
            (failed("EXPRESSION", "no list", Some(200)), "http://a.test/x: EXPRESSION: no list"),
        ];
        for (execution, expected) in cases {
            let found = diagnose_probe(URL, &execution, &received("api.error", "application/json", &refusal))
                .unwrap();
            assert_eq!(found, expected);
        }
        for status in [401, 403] {
            let found = describe_failure(
                URL,
                &failed("HTTP_STATUS", "", Some(status)),
                &ReceivedMessages::new("mine"),
            );
            assert!(found.contains("--header"), "{found}");
        }
        let found = describe_failure(
            URL,
            &failed("ADDRESS_REFUSED", "10.0.0.1 is private", None),
            &ReceivedMessages::new("mine"),
        );
        assert!(found.contains("10.0.0.1 is private; ") && found.contains("--allow-private"), "{found}");
    }

    #[test]
    fn only_a_web_page_is_diagnosed_on_success() {
        let succeeded = Execution { state: ExecutionState::Succeeded.into(), ..Execution::default() };
        let page = json!("<p>");
        let found =
            diagnose_probe(URL, &succeeded, &received("api.response", "text/html; charset=utf-8", &page))
                .unwrap();
        assert!(found.contains("web page (text/html; charset=utf-8)"), "{found}");
        assert_eq!(diagnose_probe(URL, &succeeded, &received("api.response", "text/plain", &page)), None);
    }
}
