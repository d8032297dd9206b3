//! Follows an execution to its end: one line that is drawn anew at a terminal, plain lines otherwise.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use orchid_kit::clock;
use orchid_sdk::{
    Client,
    v1::{Execution, ExecutionCounts, ExecutionState, WatchExecutionRequest},
};

use crate::{
    args::Output,
    console::{Console, Style},
    output::{
        json::{self, word},
        text,
    },
};

const BAR_WIDTH: usize = 28;
const LINE_EVERY: Duration = Duration::from_millis(500);

/// Watches until the execution has ended; gives its last state. As JSON, every change is a line and the end is the caller's.
pub(crate) async fn watch(
    client: &Client,
    id: &str,
    output: Output,
    console: Console,
) -> anyhow::Result<Execution> {
    let mut progress = Progress::new(None, console);
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
            Output::Table if !has_ended(execution.state()) => {
                progress.show(&describe(&execution), rows(&execution));
            }
            Output::Table => progress.end(&describe(&execution), rows(&execution)),
            Output::Json if !has_ended(execution.state()) => {
                console.line(json::execution(&execution).to_string());
            }
            Output::Json => {}
        }
        last = Some(execution);
    }
    last.context("the control plane ended the watch without a word")
}

/// Rows so far.
pub(crate) fn rows(execution: &Execution) -> i64 {
    execution.counts.map_or(0, |counts| counts.rows)
}

/// A state in words: `running · 12 pages · 1 200 rows`.
pub(crate) fn describe(execution: &Execution) -> String {
    let mut words = vec![state(execution.state())];
    if !execution.waiting_for.is_empty() {
        words.push(format!("waits for {}", execution.waiting_for));
    }
    if let Some(ExecutionCounts { pages, rows, retries, errors, .. }) =
        execution.counts.filter(|counts| counts.requests > 0)
    {
        words.push(text::count(pages, "page", "pages"));
        words.push(text::count(rows, "row", "rows"));
        if retries > 0 {
            words.push(text::count(retries, "retry", "retries"));
        }
        if errors > 0 {
            words.push(text::count(errors, "error", "errors"));
        }
    }
    words.join(" · ")
}

/// A state as a word.
pub(crate) fn state(state: ExecutionState) -> String {
    word(state.as_str_name(), "EXECUTION_STATE_")
}

/// Whether an execution in this state will change no more.
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

/// A state, in the colour of how well it is.
pub(crate) fn painted(execution: &Execution, console: Console) -> String {
    let word = state(execution.state());
    match execution.state() {
        ExecutionState::Succeeded if execution.partial => {
            console.paint(Style::Yellow, format!("{word}, partial"))
        }
        ExecutionState::Succeeded => console.paint(Style::Green, word),
        ExecutionState::Failed | ExecutionState::Aborted | ExecutionState::DeadLettered => {
            console.paint(Style::Red, word)
        }
        _ => word,
    }
}

/// Progress of something whose size may be known.
pub(crate) struct Progress {
    total: Option<i64>,
    began: Instant,
    console: Console,
    shown: String,
    shown_at: Option<Instant>,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn new(total: Option<i64>, console: Console) -> Self {
        Self { total, began: clock::monotonic(), console, shown: String::new(), shown_at: None }
    }

    /// Shows where it stands, unless that is shown already; without a terminal not too often, so that logs stay short.
    pub(crate) fn show(&mut self, words: &str, done: i64) {
        let now = clock::monotonic();
        let soon = self.shown_at.is_some_and(|at| now - at < LINE_EVERY);
        if self.shown == words || (soon && !self.console.is_terminal()) {
            return;
        }
        self.draw(words, done, now);
    }

    /// Shows how it ended, and leaves that line standing.
    pub(crate) fn end(&mut self, words: &str, done: i64) {
        if self.shown != words {
            self.draw(words, done, clock::monotonic());
        }
        if self.console.is_terminal() {
            self.console.print("\n");
        }
    }

    fn draw(&mut self, words: &str, done: i64, now: Instant) {
        words.clone_into(&mut self.shown);
        self.shown_at = Some(now);
        let took = text::duration(now - self.began);
        if self.console.is_terminal() {
            let bar = self.total.map(|total| bar(done, total) + " ").unwrap_or_default();
            self.console.print(format!("\r\u{1b}[2K  {bar}{words} · {took}"));
        } else {
            self.console.line(format!("  {words} · {took}"));
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
    fn a_bar_is_never_longer_than_itself() {
        for (done, total, filled) in [(-5, 10, 0), (0, 0, 0), (5, 10, 14), (99, 10, 28), (10, 10, 28)] {
            let bar = bar(done, total);
            assert_eq!(bar.matches('━').count(), filled, "{done} of {total}");
            assert_eq!(bar.chars().count(), BAR_WIDTH);
        }
    }

    #[test]
    fn a_state_is_described_by_what_is_known() {
        let mut execution = Execution { waiting_for: "orders-api".into(), ..Execution::default() };
        execution.set_state(ExecutionState::Parked);
        assert_eq!(describe(&execution), "parked · waits for orders-api");
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
