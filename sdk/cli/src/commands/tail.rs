//! `orchid tail`: prints a plan's messages as they arrive, one line of text or JSON each.

use anyhow::Context as _;
use orchid_kit::shutdown::ShutdownSignals;
use serde_json::{Value, json};

use crate::args::{OutputFormat, TailArgs};
use crate::connect::ConnectionTarget;
use crate::console::{Console, TextStyle};
use crate::exit::{ExitReason, UsageError};
use crate::kafka::{Message, MessageReader, StartOffset};
use crate::output::text;

/// The maximum length of an error in a line, in characters.
const MAX_ERROR: usize = 80;
/// The maximum length of a response's words in a line, in characters.
const MAX_RESPONSE: usize = 200;

/// Prints messages until a signal arrives, or until there were `--max` messages.
///
/// # Errors
/// When no broker or tenant is known, or the broker is unreachable.
pub(crate) async fn run(
    args: TailArgs,
    target: &ConnectionTarget,
    output: OutputFormat,
    console: Console,
) -> anyhow::Result<ExitReason> {
    let dev_broker = || target.kafka().map(|kafka| kafka.brokers.clone());
    let brokers = args.kafka.clone().or_else(dev_broker).ok_or_else(|| {
        UsageError("no broker: pass --kafka, set ORCHID_KAFKA, or start `orchid dev`".to_owned())
    })?;
    let tenant = target.tenant()?.to_string();
    let from = if args.from_beginning { StartOffset::Oldest } else { StartOffset::Next };
    let mut signals = ShutdownSignals::install()?;
    let mut reader = MessageReader::start(&brokers, args.topics.clone(), from).await?;
    if console.is_terminal() {
        console
            .notice(format!("reading messages of plan {} from {brokers}; press Ctrl-C to stop", args.plan));
    }
    let mut remaining = args.max;
    while remaining != Some(0) {
        let message = tokio::select! {
            message = reader.next() => message.context("the Kafka reader ended")?,
            _ = signals.next() => break,
        };
        if is_selected(&message, &tenant, &args) {
            console.line(match output {
                OutputFormat::Json => json(&message),
                OutputFormat::Table => line(&message, console),
            });
            remaining = remaining.map(|remaining| remaining - 1);
        }
    }
    Ok(ExitReason::Done)
}

/// Returns whether a message belongs to the tenant, plan and config of the arguments.
fn is_selected(message: &Message, tenant: &str, args: &TailArgs) -> bool {
    message.header("tenant_id") == tenant
        && message.header("plan_key") == args.plan
        && args.config.as_ref().is_none_or(|config| message.header("config_key") == config)
}

fn json(message: &Message) -> String {
    json!({
        "topic": message.topic, "partition": message.partition, "offset": message.offset, "headers": message.headers,
        "body": message.body,
    })
    .to_string()
}

fn line(message: &Message, console: Console) -> String {
    let body = &message.body;
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let time = text("timestamp");
    let time = time.get(11..23).unwrap_or(&time).to_owned();
    let execution = message.header("execution_id");
    // The end of a version 7 UUID is random, its start is mostly the time.
    let execution = execution.get(execution.len().saturating_sub(8)..).unwrap_or(execution);
    let summary = match message.header("type") {
        "api.response" => {
            format!(
                "{}  {}  {}  {} bytes  {} ms",
                text("step_path"),
                body["status_code"],
                content(body),
                body["response_size"],
                body["duration_ms"]
            )
        }
        "api.error" => {
            let error = &body["error"];
            let field = |name: &str| error[name].as_str().unwrap_or_default();
            let error = format!("{} {}: {}", field("class"), field("code"), field("message"));
            let response = text::on_one_line(&response_text(body), MAX_RESPONSE);
            let error = format!("{}  {}", text("step_path"), text::shortened(&error, MAX_ERROR));
            console.paint(TextStyle::Red, format!("{error}  {response}").trim_end())
        }
        kind => {
            let field = |name: &str| body["error"][name].as_str().unwrap_or_default();
            let response = text::on_one_line(field("response_excerpt"), MAX_RESPONSE);
            format!("{kind}  {}  {}  {response}", text("status"), field("code")).trim_end().to_owned()
        }
    };
    let dim = console
        .paint(TextStyle::Dim, format!("{time} {}/{} …{execution}", message.partition, message.offset));
    format!("{dim}  {summary}")
}

/// Describes what a response message carries: a number of rows, or a text or file, which may be one
/// part of several.
fn content(body: &Value) -> String {
    let kind = body["body_kind"].as_str().unwrap_or_default();
    if !matches!(kind, "text" | "binary") {
        let rows = body["response_body"].as_array().map_or(0, Vec::len);
        return format!("{rows} rows");
    }
    let (chunk, is_last) = (body["chunk"].as_u64().unwrap_or_default(), body["last_chunk"] == true);
    match (chunk, is_last) {
        (0, true) => kind.to_owned(),
        (chunk, false) => format!("{kind}, part {}", chunk + 1),
        (chunk, true) => format!("{kind}, part {}, the last", chunk + 1),
    }
}

/// Returns the body of an error's response as text; empty if there was none, or it was binary.
fn response_text(body: &Value) -> String {
    match body["body_kind"].as_str() {
        Some("empty" | "binary") | None => String::new(),
        Some("array" | "rows") => body["response_body"].to_string(),
        Some(_) => match &body["response_body"][0] {
            Value::String(text) => text.clone(),
            element => element.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, body: Value) -> Message {
        let headers = [
            ("type", kind),
            ("tenant_id", "t"),
            ("plan_key", "orders-sync"),
            ("config_key", "demo"),
            ("execution_id", "0190a5d0-0000-7000-8000-00000000abcd"),
        ];
        Message {
            topic: "api-responses".into(),
            partition: 1,
            offset: 7,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body,
        }
    }

    #[test]
    fn parts_of_a_file_are_numbered() {
        let body = |kind: &str, chunk: u64, last: bool| {
            content(&json!({"body_kind": kind, "chunk": chunk, "last_chunk": last, "response_body": ["x"]}))
        };
        assert_eq!(body("rows", 0, true), "1 rows");
        assert_eq!(body("text", 0, true), "text");
        assert_eq!(body("binary", 0, false), "binary, part 1");
        assert_eq!(body("binary", 3, true), "binary, part 4, the last");
    }

    #[test]
    fn error_is_shown_in_one_line() {
        let error =
            json!({"class": "transient", "code": "HTTP_STATUS", "message": "the upstream answered 503"});
        let body = json!({"timestamp": "2026-01-15T10:30:00.123Z", "step_path": "orders#3", "error": error});
        assert_eq!(
            line(&message("api.error", body), Console::plain()),
            "10:30:00.123 1/7 …0000abcd  orders#3  transient HTTP_STATUS: the upstream answered 503"
        );
    }

    #[test]
    fn error_shows_what_the_response_said() {
        let error =
            json!({"class": "permanent", "code": "HTTP_STATUS", "message": "the upstream answered 400"});
        let with = |kind: &str, response: Value| {
            let body = json!({"timestamp": "2026-01-15T10:30:00.123Z", "step_path": "a#0", "error": error,
                "body_kind": kind, "response_body": response});
            line(&message("api.error", body), Console::plain())
        };
        let said = "10:30:00.123 1/7 …0000abcd  a#0  permanent HTTP_STATUS: the upstream answered 400";
        assert_eq!(with("object", json!([{"n": 1}])), format!("{said}  {{\"n\":1}}"));
        assert_eq!(with("text", json!(["no\n\u{1b}[2Jsuch  page"])), format!("{said}  no [2Jsuch page"));
        assert_eq!(with("empty", json!([])), said);
        assert_eq!(with("binary", json!([{"_base64": "aGk="}])), said);
        assert_eq!(
            with("text", json!(["x".repeat(500)])).chars().count(),
            said.chars().count() + 2 + MAX_RESPONSE
        );
    }

    #[test]
    fn end_shows_its_error_and_what_the_response_said() {
        let end = |error: Value| {
            let body = json!({"timestamp": "2026-01-15T10:30:00.123Z", "status": "failed", "error": error});
            line(&message("execution.completed", body), Console::plain())
        };
        let begin = "10:30:00.123 1/7 …0000abcd  execution.completed  failed";
        assert_eq!(end(json!(null)), begin);
        assert_eq!(
            end(json!({"code": "HTTP_STATUS", "response_excerpt": "{}"})),
            format!("{begin}  HTTP_STATUS  {{}}")
        );
    }

    #[test]
    fn page_is_shown_in_one_line() {
        let body = json!({
            "timestamp": "2026-01-15T10:30:00.123Z", "step_path": "orders#3", "status_code": 200,
            "response_body": [1, 2], "response_size": 1024, "duration_ms": 42,
        });
        assert_eq!(
            line(&message("api.response", body), Console::plain()),
            "10:30:00.123 1/7 …0000abcd  orders#3  200  2 rows  1024 bytes  42 ms"
        );
    }

    #[test]
    fn only_messages_of_the_plan_are_selected() {
        let args = |plan: &str, config: Option<&str>| TailArgs {
            plan: plan.into(),
            config: config.map(str::to_owned),
            from_beginning: false,
            max: None,
            kafka: None,
            topics: Vec::new(),
        };
        let message = message("api.response", json!({}));
        assert!(is_selected(&message, "t", &args("orders-sync", Some("demo"))));
        for (tenant, args) in [
            ("other", args("orders-sync", None)),
            ("t", args("orders", None)),
            ("t", args("orders-sync", Some("other"))),
        ] {
            assert!(!is_selected(&message, tenant, &args), "{tenant} {args:?}");
        }
    }
}
