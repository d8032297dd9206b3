//! The output of the demo. Pure: every function returns text.

use std::path::Path;
use std::time::Duration;

use orchid_sdk::v1::{Execution, ExecutionCounts};
use serde_json::Value;

use super::check::{ReceivedMessages, rows};
use super::guess::{ApiGuess, NextPage};
use crate::commands::watch;
use crate::console::{Console, TextStyle};
use crate::dev::programs;
use crate::dev::state::DevState;
use crate::kafka::Message;
use crate::output::table::Table;
use crate::output::text;

const ROWS_SHOWN: usize = 3;
const MESSAGES_SHOWN: usize = 5;
const ROW_WIDTH: usize = 100;

/// Describes the started stack.
pub(super) fn started(state: &DevState, took: Duration, console: Console) -> String {
    format!(
        "{} Postgres, Redis, a Kafka broker, a control plane, executors and an orders API are running ({})\n  \
         control plane {} · kafka {} · upstream {}\n",
        console.paint(TextStyle::Green, "✓"),
        text::duration(took),
        state.grpc,
        state.kafka.brokers,
        state.upstream,
    )
}

/// Describes the guess about the user's API.
pub(super) fn probe_result(url: &str, first: &Message, guess: &ApiGuess, console: Console) -> String {
    let mark = console.paint(TextStyle::Green, "✓");
    let status = first.body["status_code"].to_string();
    let Some((expression, count)) = &guess.rows else {
        let kind = first.body["body_kind"].as_str().unwrap_or_default();
        return format!("{mark} {url} responded with {status}: its body ({kind}) has no list of rows\n");
    };
    let count = text::count(i64::try_from(*count).unwrap_or(i64::MAX), "row", "rows");
    let next = match (&guess.next, &guess.pointer) {
        (Some(NextPage::LinkHeader), _) => "the next page by the Link header".to_owned(),
        (Some(NextPage::BodyUrl(value)), _) => format!("the next page by {value}"),
        (None, Some(pointer)) => format!(
            "no next page that the demo can follow\n  {pointer} may lead to one: see `paginate` in docs/plan-language.md"
        ),
        (None, None) => "no next page".to_owned(),
    };
    format!("{mark} {url} responded with {status}: {count} in {expression}, {next}\n")
}

/// Shows the guessed plan.
pub(super) fn guessed_plan(definition: &Value, console: Console) -> String {
    let text = format!("{definition:#}").replace('\n', "\n  ");
    format!("\n{}\n  {text}\n\n", console.paint(TextStyle::Bold, "A plan for this API"))
}

/// Describes a triggered execution.
pub(super) fn triggered(execution: &Execution, console: Console) -> String {
    let mark = console.paint(TextStyle::Green, "✓");
    format!(
        "{mark} triggered plan {} for config {}: execution {}",
        execution.plan, execution.config, execution.id
    )
}

/// Describes an execution that is running.
pub(super) fn so_far(state: &str, received: &ReceivedMessages) -> String {
    let messages = text::count(received.count(), "message", "messages");
    let rows = text::count(received.rows(), "row", "rows");
    format!("{state} · in Kafka: {messages}, {rows}")
}

/// Summarises an execution that has ended.
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
    if let Some(elapsed) = elapsed(execution) {
        table.row(["  took", &text::duration(elapsed)]);
    }
    if let Some(error) = &execution.error {
        table.row(["  error", &format!("{} {}: {}", error.class, error.code, error.message)]);
    }
    format!("\n{}\n{}", console.paint(TextStyle::Bold, "The execution"), table.render())
}

fn elapsed(execution: &Execution) -> Option<Duration> {
    let start = text::instant(execution.start_time.as_ref()?)?;
    (text::instant(execution.end_time.as_ref()?)? - start).to_std().ok()
}

/// Shows the first messages, and the first rows of the first message.
pub(super) fn messages(received: &ReceivedMessages, orders: bool, console: Console) -> String {
    let Some(first) = received.messages().next() else { return "\n".to_owned() };
    let mut table = Table::titled(["  STEP", "PARTITION", "OFFSET", "STATUS", "ROWS", "MESSAGE ID"]);
    for message in received.messages().take(MESSAGES_SHOWN) {
        table.row([
            format!("  {}", message.body["step_path"].as_str().unwrap_or_default()),
            message.partition.to_string(),
            message.offset.to_string(),
            message.body["status_code"].to_string(),
            rows(message).len().to_string(),
            message.header("orchid-message-id").to_owned(),
        ]);
    }
    let more = received.count() - i64::try_from(MESSAGES_SHOWN).unwrap_or_default();
    let more = if more > 0 { format!("  … and {} more\n", text::number(more)) } else { String::new() };
    let rows = if orders { order_rows(first) } else { plain_rows(first) };
    format!(
        "\n{}\n{}{more}\n{}\n{}\n",
        console.paint(TextStyle::Bold, "Its messages in Kafka"),
        table.render(),
        console.paint(TextStyle::Bold, "The first rows of the first message"),
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

/// Returns the last line of a demo that succeeded.
pub(super) fn success(summary: &str, console: Console) -> String {
    format!("{} {summary}", console.paint(TextStyle::Green, "✓"))
}

/// Returns the last line of a demo that failed.
pub(super) fn failure(reason: &str, console: Console) -> String {
    format!("{} {reason}", console.paint(TextStyle::Red, "✗"))
}

/// Suggests commands to try next.
pub(super) fn next_commands(state: &DevState, folder: &Path, plan: &str, console: Console) -> String {
    let (grpc, tenant, brokers) = (&state.grpc, state.tenant, &state.kafka.brokers);
    let orchid = programs::invocation(folder);
    format!(
        "\n{}\n  grpcurl -plaintext -H 'x-tenant-id: {tenant}' {grpc} orchid.v1.ExecutionService/ListExecutions\n  \
         kcat -C -b {brokers} -t {} -o beginning -e -f '%k %h\\n'\n  \
         {orchid} tail {plan} --from-beginning\n  {orchid} executions list\n\n",
        console.paint(
            TextStyle::Bold,
            if console.is_terminal() { "Try next" } else { "Try next, while `orchid dev` runs" }
        ),
        state.kafka.topic_responses,
    )
}
