//! `orchid tail`: a plan's messages as they come, one line each, or as JSON lines.

use anyhow::Context as _;
use orchid_kit::shutdown::ShutdownSignals;
use serde_json::json;

use crate::{
    args::{Output, TailArgs},
    connect::Target,
    console::{Console, Style},
    exit::{Exit, UsageError},
    kafka::{From, Message, Reader},
    output::text,
};

/// Room for the error of a message.
const WORDS: usize = 80;

/// Shows messages until a signal comes, or until there were enough.
pub(crate) async fn run(
    args: TailArgs,
    target: &Target,
    output: Output,
    console: Console,
) -> anyhow::Result<Exit> {
    let own = || target.kafka().map(|kafka| kafka.brokers.clone());
    let brokers = args.kafka.clone().or_else(own).ok_or_else(|| {
        UsageError("no broker: name one by --kafka or ORCHID_KAFKA, or start `orchid dev`".to_owned())
    })?;
    let tenant = target.tenant()?.to_string();
    let from = if args.from_beginning { From::Beginning } else { From::Now };
    let mut signals = ShutdownSignals::install()?;
    let mut reader = Reader::start(&brokers, args.topics.clone(), from).await?;
    if console.is_terminal() {
        console.notice(format!("messages of {} from {brokers}; Ctrl-C ends", args.plan));
    }
    let mut left = args.max;
    while left != Some(0) {
        let message = tokio::select! {
            message = reader.next() => message.context("the reader ended")?,
            _ = signals.next() => break,
        };
        if wanted(&message, &tenant, &args) {
            console.line(match output {
                Output::Json => json(&message),
                Output::Table => line(&message, console),
            });
            left = left.map(|left| left - 1);
        }
    }
    Ok(Exit::Done)
}

fn wanted(message: &Message, tenant: &str, args: &TailArgs) -> bool {
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
    let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let time = word("timestamp");
    let time = time.get(11..23).unwrap_or(&time).to_owned();
    let run = message.header("execution_id");
    let run = run.get(run.len().saturating_sub(8)..).unwrap_or(run);
    let words = match message.header("type") {
        "api.response" => {
            let rows = body["response_body"].as_array().map_or(0, Vec::len);
            format!(
                "{}  {}  {rows} rows  {} bytes  {} ms",
                word("step_path"),
                body["status_code"],
                body["response_size"],
                body["duration_ms"]
            )
        }
        "api.error" => {
            let error = &body["error"];
            let text = |name: &str| error[name].as_str().unwrap_or_default();
            let what = format!("{} {}: {}", text("class"), text("code"), text("message"));
            console.paint(Style::Red, format!("{}  {}", word("step_path"), text::shortened(&what, WORDS)))
        }
        kind => format!("{kind}  {}", word("status")),
    };
    let dim = console.paint(Style::Dim, format!("{time} {}/{} …{run}", message.partition, message.offset));
    format!("{dim}  {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, body: serde_json::Value) -> Message {
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
    fn an_error_is_said_in_one_line() {
        let error =
            json!({"class": "transient", "code": "HTTP_STATUS", "message": "the upstream answered 503"});
        let body = json!({"timestamp": "2026-01-15T10:30:00.123Z", "step_path": "orders#3", "error": error});
        assert_eq!(
            line(&message("api.error", body), Console::plain()),
            "10:30:00.123 1/7 …0000abcd  orders#3  transient HTTP_STATUS: the upstream answered 503"
        );
    }

    #[test]
    fn a_page_is_said_in_one_line() {
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
    fn only_the_plans_own_messages_are_shown() {
        let args = |plan: &str, config: Option<&str>| TailArgs {
            plan: plan.into(),
            config: config.map(str::to_owned),
            from_beginning: false,
            max: None,
            kafka: None,
            topics: Vec::new(),
        };
        let message = message("api.response", json!({}));
        assert!(wanted(&message, "t", &args("orders-sync", Some("demo"))));
        for (tenant, args) in [
            ("other", args("orders-sync", None)),
            ("t", args("orders", None)),
            ("t", args("orders-sync", Some("other"))),
        ] {
            assert!(!wanted(&message, tenant, &args), "{tenant} {args:?}");
        }
    }
}
