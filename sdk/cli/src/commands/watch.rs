//! Follows an execution to its end: one line that is redrawn at a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use orchid_kit::clock;
use orchid_sdk::Client;
use orchid_sdk::v1::{Execution, ExecutionCounts, ExecutionState, WatchExecutionRequest};

use crate::args::OutputFormat;
use crate::console::{Console, TextStyle};
use crate::output::json::{self, short_name};
use crate::output::text;

const BAR_WIDTH: usize = 28;
const MIN_LINE_INTERVAL: Duration = Duration::from_millis(500);

/// Follows an execution and returns its final state. With JSON output, every change before the end
/// is one line; the caller prints the final state.
///
/// # Errors
/// When the control plane is unreachable, refuses the request or ends the watch early.
pub(crate) async fn watch(
    client: &Client,
    id: &str,
    output: OutputFormat,
    console: Console,
) -> anyhow::Result<Execution> {
    let mut progress = ProgressLine::new(None, console);
    let mut updates = client
        .executions()
        .watch_execution(WatchExecutionRequest { id: id.to_owned() })
        .await
        .map_err(orchid_sdk::Error::from)?
        .into_inner();
    let mut last = None;
    while let Some(update) = updates.message().await.map_err(orchid_sdk::Error::from)? {
        let Some(execution) = update.execution else { continue };
        match output {
            OutputFormat::Table if !has_ended(execution.state()) => {
                progress.show(&describe(&execution), rows(&execution));
            }
            OutputFormat::Table => progress.end(&describe(&execution), rows(&execution)),
            OutputFormat::Json if !has_ended(execution.state()) => {
                console.line(json::execution(&execution).to_string());
            }
            OutputFormat::Json => {}
        }
        last = Some(execution);
    }
    last.context("the control plane ended the watch without any state")
}

/// Returns the number of rows so far.
pub(crate) fn rows(execution: &Execution) -> i64 {
    execution.counts.map_or(0, |counts| counts.rows)
}

/// Describes an execution in one line: `running · 12 pages · 1 200 rows`.
pub(crate) fn describe(execution: &Execution) -> String {
    let mut parts = vec![state(execution.state())];
    if !execution.waiting_for.is_empty() {
        parts.push(format!("waiting for {}", execution.waiting_for));
    }
    if let Some(ExecutionCounts { pages, rows, retries, errors, .. }) =
        execution.counts.filter(|counts| counts.requests > 0)
    {
        parts.push(text::count(pages, "page", "pages"));
        parts.push(text::count(rows, "row", "rows"));
        if retries > 0 {
            parts.push(text::count(retries, "retry", "retries"));
        }
        if errors > 0 {
            parts.push(text::count(errors, "error", "errors"));
        }
    }
    parts.join(" · ")
}

/// Returns the name of a state, such as `queued`.
pub(crate) fn state(state: ExecutionState) -> String {
    short_name(state.as_str_name(), "EXECUTION_STATE_")
}

/// Returns whether a state is final.
pub(crate) fn has_ended(state: ExecutionState) -> bool {
    match state {
        ExecutionState::Succeeded
        | ExecutionState::Failed
        | ExecutionState::Aborted
        | ExecutionState::Cancelled
        | ExecutionState::DeadLettered => true,
        ExecutionState::Unspecified
        | ExecutionState::Pending
        | ExecutionState::Queued
        | ExecutionState::Running
        | ExecutionState::Parked
        | ExecutionState::Blocked => false,
    }
}

/// Returns the state of an execution, coloured by success or failure.
pub(crate) fn painted(execution: &Execution, console: Console) -> String {
    let word = state(execution.state());
    match execution.state() {
        ExecutionState::Succeeded if execution.partial => {
            console.paint(TextStyle::Yellow, format!("{word}, partial"))
        }
        ExecutionState::Succeeded => console.paint(TextStyle::Green, word),
        ExecutionState::Failed | ExecutionState::Aborted | ExecutionState::DeadLettered => {
            console.paint(TextStyle::Red, word)
        }
        _ => word,
    }
}

/// A progress line for work whose total may be known.
pub(crate) struct ProgressLine {
    total: Option<i64>,
    began: Instant,
    console: Console,
    shown: String,
    shown_at: Option<Instant>,
}

impl ProgressLine {
    /// Creates a line that shows nothing yet.
    pub(crate) fn new(total: Option<i64>, console: Console) -> Self {
        Self { total, began: clock::monotonic(), console, shown: String::new(), shown_at: None }
    }

    /// Shows the progress if it has changed; without a terminal at most every 500 ms, so that logs
    /// stay short.
    pub(crate) fn show(&mut self, description: &str, done: i64) {
        let now = clock::monotonic();
        let too_soon = self.shown_at.is_some_and(|at| now - at < MIN_LINE_INTERVAL);
        if self.shown == description || (too_soon && !self.console.is_terminal()) {
            return;
        }
        self.draw(description, done, now);
    }

    /// Shows the final progress and moves on to the next line.
    pub(crate) fn end(&mut self, description: &str, done: i64) {
        if self.shown != description {
            self.draw(description, done, clock::monotonic());
        }
        if self.console.is_terminal() {
            self.console.print("\n");
        }
    }

    fn draw(&mut self, description: &str, done: i64, now: Instant) {
        description.clone_into(&mut self.shown);
        self.shown_at = Some(now);
        let took = text::duration(now - self.began);
        if self.console.is_terminal() {
            let bar = self.total.map(|total| bar(done, total) + " ").unwrap_or_default();
            self.console.print(format!("\r\u{1b}[2K  {bar}{description} · {took}"));
        } else {
            self.console.line(format!("  {description} · {took}"));
        }
    }
}

fn bar(done: i64, total: i64) -> String {
    let filled = usize::try_from(done.clamp(0, total) * BAR_WIDTH as i64 / total.max(1)).unwrap_or_default();
    format!("{}{}", "━".repeat(filled), "─".repeat(BAR_WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_never_exceeds_its_width() {
        for (done, total, filled) in [(-5, 10, 0), (0, 0, 0), (5, 10, 14), (99, 10, 28), (10, 10, 28)] {
            let bar = bar(done, total);
            assert_eq!(bar.matches('━').count(), filled, "{done} of {total}");
            assert_eq!(bar.chars().count(), BAR_WIDTH);
        }
    }

    #[test]
    fn execution_is_described_by_its_known_fields() {
        let mut execution = Execution { waiting_for: "orders-api".into(), ..Execution::default() };
        execution.set_state(ExecutionState::Parked);
        assert_eq!(describe(&execution), "parked · waiting for orders-api");
        execution.waiting_for.clear();
        execution.set_state(ExecutionState::Running);
        execution.counts = Some(ExecutionCounts {
            requests: 13,
            retries: 1,
            pages: 12,
            rows: 1_200,
            ..ExecutionCounts::default()
        });
        assert_eq!(describe(&execution), "running · 12 pages · 1 200 rows · 1 retry");
    }
}
