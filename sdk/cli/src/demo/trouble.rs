//! Why a url could not be polled, in words that say what to do. Pure.

use orchid_sdk::v1::{Execution, ExecutionError, ExecutionState};
use serde_json::Value;

use super::check::{Arrived, rows};
use crate::{commands::watch, kafka::Message, output::text};

const BODY_SHOWN: usize = 160;

/// What kept the first look at a url from its rows; `None` where nothing did.
pub(super) fn of(url: &str, execution: &Execution, arrived: &Arrived) -> Option<String> {
    if execution.state() != ExecutionState::Succeeded {
        return Some(words(url, execution, arrived));
    }
    let page = arrived.messages().next().filter(|message| content_type(message).contains("html"))?;
    let kind = content_type(page);
    Some(format!("{url} is a web page ({kind}), no JSON: is that the address of the API?"))
}

/// The same for a run that did not succeed.
pub(super) fn words(url: &str, execution: &Execution, arrived: &Arrived) -> String {
    let Some(error) = &execution.error else {
        return format!("the run ended {}", watch::state(execution.state()));
    };
    let ExecutionError { code, message, .. } = error;
    match code.as_str() {
        "HTTP_STATUS" => status(url, error, arrived),
        "CONNECT" | "DNS" | "TIMEOUT" | "BROKEN" => format!("{url} cannot be reached: {message}"),
        "TLS" => format!("there is no secure connection to {url}: {message}"),
        "ADDRESS_REFUSED" => format!(
            "{url} is not polled: {message}; if that is right, open its range, as with `--allow-private 10.0.0.0/8` \
             (make demo: ALLOW_PRIVATE=10.0.0.0/8)"
        ),
        "DECODE" => {
            let kind = arrived.error().map(content_type).unwrap_or_default();
            format!("the answer of {url} cannot be read as {kind}: {message}")
        }
        "MESSAGE_TOO_LARGE" | "TOO_LARGE" => {
            format!(
                "the answer of {url} is too large: {message}; ask for a smaller page by the url's own parameters"
            )
        }
        _ => format!("{url}: {code}: {message}"),
    }
}

fn status(url: &str, error: &ExecutionError, arrived: &Arrived) -> String {
    let status = error.status_code.unwrap_or_default();
    let body = arrived.error().and_then(|message| rows(message).first()).map(|body| match body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let line = |body: String| body.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = body.map(|body| format!(": {}", text::shortened(&line(body), BODY_SHOWN))).unwrap_or_default();
    let hint = match status {
        401 | 403 => {
            "\n  it wants to know who asks: give a header, as with `--header 'Authorization: Bearer …'` (make demo: HEADER='…')"
        }
        404 | 410 => "\n  is the path right?",
        _ => "",
    };
    format!("{url} answered {status}{said}{hint}")
}

fn content_type(message: &Message) -> &str {
    message.body["response_headers"]["content-type"].as_str().unwrap_or("a body without content type")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "http://a.test/x";

    fn arrived(kind: &str, content_type: &str, body: &Value) -> Arrived {
        let mut arrived = Arrived::of("mine");
        let headers = [("execution_id", "mine"), ("type", kind), ("orchid-position", "p")];
        arrived.take(Message {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: json!({"response_body": [body], "response_headers": {"content-type": content_type}}),
        });
        arrived
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
    fn each_failure_says_what_it_was_and_what_to_do() {
        let refusal = json!({"error": "no key"});
        let cases = [
            (
                failed("CONNECT", "connection refused", None),
                "http://a.test/x cannot be reached: connection refused",
            ),
            (
                failed("HTTP_STATUS", "status 404", Some(404)),
                "http://a.test/x answered 404: {\"error\":\"no key\"}\n  is the path right?",
            ),
            (
                failed("HTTP_STATUS", "status 500", Some(500)),
                "http://a.test/x answered 500: {\"error\":\"no key\"}",
            ),
            (
                failed("DECODE", "the body is no JSON: line 1", Some(200)),
                "the answer of http://a.test/x cannot be read as application/json: the body is no JSON: line 1",
            ),
            (failed("EXPRESSION", "no list", Some(200)), "http://a.test/x: EXPRESSION: no list"),
        ];
        for (execution, expected) in cases {
            let found = of(URL, &execution, &arrived("api.error", "application/json", &refusal)).unwrap();
            assert_eq!(found, expected);
        }
        for status in [401, 403] {
            let found = words(URL, &failed("HTTP_STATUS", "", Some(status)), &Arrived::of("mine"));
            assert!(found.contains("--header"), "{found}");
        }
        let found = words(URL, &failed("ADDRESS_REFUSED", "10.0.0.1 is private", None), &Arrived::of("mine"));
        assert!(found.contains("10.0.0.1 is private; ") && found.contains("--allow-private"), "{found}");
    }

    #[test]
    fn a_web_page_is_no_api_and_other_texts_are_shown_as_they_are() {
        let succeeded = Execution { state: ExecutionState::Succeeded.into(), ..Execution::default() };
        let page = json!("<p>");
        let found = of(URL, &succeeded, &arrived("api.response", "text/html; charset=utf-8", &page)).unwrap();
        assert!(found.contains("web page (text/html; charset=utf-8)"), "{found}");
        assert_eq!(of(URL, &succeeded, &arrived("api.response", "text/plain", &page)), None);
    }
}
