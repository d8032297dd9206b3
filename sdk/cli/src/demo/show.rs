//! How the demo looks. Pure: in come states, out comes text.

use std::{path::Path, time::Duration};

use orchid_sdk::v1::{Execution, ExecutionCounts};
use serde_json::Value;

use super::{
    check::{Arrived, rows},
    guess::{Guess, Next},
};
use crate::{
    commands::watch,
    console::{Console, Style},
    dev::{programs, state::DevState},
    kafka::Message,
    output::{table::Table, text},
};

const ROWS_SHOWN: usize = 3;
const MESSAGES_SHOWN: usize = 5;
const ROW_WIDTH: usize = 100;

/// After the start of the stack.
pub(super) fn started(state: &DevState, took: Duration, console: Console) -> String {
    format!(
        "{} Postgres, Redis, a Kafka broker, the control plane, executors and an orders API run on this machine ({})\n  \
         control plane {} · kafka {} · upstream {}\n",
        console.paint(Style::Green, "✓"),
        text::duration(took),
        state.grpc,
        state.kafka.brokers,
        state.upstream,
    )
}

/// After the first look at an API of the user's own.
pub(super) fn looked(url: &str, first: &Message, guess: &Guess, console: Console) -> String {
    let mark = console.paint(Style::Green, "✓");
    let status = first.body["status_code"].to_string();
    let Some((place, count)) = &guess.rows else {
        let kind = first.body["body_kind"].as_str().unwrap_or_default();
        return format!("{mark} {url} answered {status}: no list in it to take rows from ({kind})\n");
    };
    let count = text::count(i64::try_from(*count).unwrap_or(i64::MAX), "row", "rows");
    let next = match (&guess.next, &guess.pointer) {
        (Some(Next::Link), _) => "the next page by the Link header".to_owned(),
        (Some(Next::Url(value)), _) => format!("the next page by {value}"),
        (None, Some(pointer)) => format!(
            "no next page that a demo could find\n  {pointer} may lead to one: see `paginate` in docs/plan-language.md"
        ),
        (None, None) => "no next page".to_owned(),
    };
    format!("{mark} {url} answered {status}: {count} in {place}, {next}\n")
}

/// The plan that was guessed.
pub(super) fn guessed(definition: &Value, console: Console) -> String {
    let text = format!("{definition:#}").replace('\n', "\n  ");
    format!("\n{}\n  {text}\n\n", console.paint(Style::Bold, "A plan for it"))
}

/// After the trigger.
pub(super) fn triggered(execution: &Execution, console: Console) -> String {
    let mark = console.paint(Style::Green, "✓");
    format!("{mark} plan {} is triggered for config {}: {}", execution.plan, execution.config, execution.id)
}

/// While it runs.
pub(super) fn so_far(state: &str, arrived: &Arrived) -> String {
    let messages = text::count(arrived.count(), "message", "messages");
    let rows = text::count(arrived.rows(), "row", "rows");
    format!("{state} · in Kafka: {messages}, {rows}")
}

/// The execution after its end.
pub(super) fn summary(execution: &Execution, console: Console) -> String {
    let ExecutionCounts { requests, retries, pages, rows, messages, bytes, errors } =
        execution.counts.unwrap_or_default();
    let mut table = Table::untitled();
    table.row(["  state", &watch::painted(execution, console)]);
    let retries = text::count(retries, "retry", "retries");
    table.row(["  requests", &format!("{}, with {retries}", text::number(requests))]);
    table.row(["  pages", &text::number(pages)]);
    table.row(["  rows", &text::number(rows)]);
    table.row([
        "  messages",
        &format!("{}, and {}", text::number(messages), text::count(errors, "error", "errors")),
    ]);
    table.row(["  bytes", &text::number(bytes)]);
    if let Some(took) = took(execution) {
        table.row(["  took", &text::duration(took)]);
    }
    if let Some(error) = &execution.error {
        table.row(["  error", &format!("{} {}: {}", error.class, error.code, error.message)]);
    }
    format!("\n{}\n{}", console.paint(Style::Bold, "The run"), table.render())
}

fn took(execution: &Execution) -> Option<Duration> {
    let start = text::instant(execution.start_time.as_ref()?)?;
    (text::instant(execution.end_time.as_ref()?)? - start).to_std().ok()
}

/// The first messages, and the first rows of the first one.
pub(super) fn messages(arrived: &Arrived, orders: bool, console: Console) -> String {
    let Some(first) = arrived.messages().next() else { return "\n".to_owned() };
    let mut table = Table::titled(["  PLACE", "PARTITION", "OFFSET", "STATUS", "ROWS", "MESSAGE ID"]);
    for message in arrived.messages().take(MESSAGES_SHOWN) {
        table.row([
            format!("  {}", message.body["step_path"].as_str().unwrap_or_default()),
            message.partition.to_string(),
            message.offset.to_string(),
            message.body["status_code"].to_string(),
            rows(message).len().to_string(),
            message.header("orchid-message-id").to_owned(),
        ]);
    }
    let more = arrived.count() - i64::try_from(MESSAGES_SHOWN).unwrap_or_default();
    let more = if more > 0 { format!("  … and {} more\n", text::number(more)) } else { String::new() };
    let rows = if orders { order_rows(first) } else { plain_rows(first) };
    format!(
        "\n{}\n{}{more}\n{}\n{}\n",
        console.paint(Style::Bold, "Its messages in Kafka"),
        table.render(),
        console.paint(Style::Bold, "The first rows of the first one"),
        rows,
    )
}

fn order_rows(message: &Message) -> String {
    let mut table = Table::titled(["  NUMBER", "STATUS", "CUSTOMER", "TOTAL", "FIRST ITEM", "CREATED"]);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for row in rows(message).iter().take(ROWS_SHOWN) {
        table.row([
            format!("  {}", text(&row["number"])),
            text(&row["status"]),
            text(&row["customer"]["number"]),
            format!("{:.2} {}", row["total"].as_f64().unwrap_or_default(), text(&row["currency"])),
            text(&row["items"][0]["product"]),
            text(&row["created_at"]),
        ]);
    }
    table.render()
}

fn plain_rows(message: &Message) -> String {
    let line = |row: &Value| format!("  {}\n", text::shortened(&row.to_string(), ROW_WIDTH));
    rows(message).iter().take(ROWS_SHOWN).map(line).collect()
}

/// The last line of a demo that went well.
pub(super) fn success(words: &str, console: Console) -> String {
    format!("{} {words}", console.paint(Style::Green, "✓"))
}

/// The last line of one that did not.
pub(super) fn failure(reason: &str, console: Console) -> String {
    format!("{} {reason}", console.paint(Style::Red, "✗"))
}

/// What to type next.
pub(super) fn look_on(state: &DevState, folder: &Path, plan: &str, console: Console) -> String {
    let (grpc, tenant, brokers) = (&state.grpc, state.tenant, &state.kafka.brokers);
    let orchid = programs::invocation(folder);
    format!(
        "\n{}\n  grpcurl -plaintext -H 'x-tenant-id: {tenant}' {grpc} orchid.v1.ExecutionService/ListExecutions\n  \
         kcat -C -b {brokers} -t {} -o beginning -e -f '%k %h\\n'\n  \
         {orchid} tail {plan} --from-beginning\n  {orchid} executions list\n\n",
        console.paint(
            Style::Bold,
            if console.is_terminal() { "Look on" } else { "Look on, where orchid dev runs" }
        ),
        state.kafka.topic_responses,
    )
}
