//! Parts of sentences: numbers with their nouns, times with their distance from now.

use chrono::{DateTime, TimeDelta, Utc};

use crate::commands::executions::progress::{ExecutionCounts, ExecutionProgress, ExecutionWarning};

/// Maximum number of warnings that a sentence lists.
const MAX_WARNINGS: usize = 20;

/// Returns the totals of an execution as a sentence.
pub(super) fn totals(progress: &ExecutionProgress) -> String {
    let ExecutionCounts { requests, retries, pages, rows, messages, bytes: _, errors } = &progress.counts;
    if *requests == 0 {
        return "It sent no requests.".to_owned();
    }
    let mut parts = vec![count(*requests, "request", "requests")];
    if *retries > 0 {
        let last = parts.len() - 1;
        parts[last]
            .push_str(&format!(" ({retries} of them {})", if *retries == 1 { "a retry" } else { "retries" }));
    }
    parts.push(count(*pages, "page", "pages"));
    if *rows > 0 {
        parts.push(count(*rows, "row", "rows"));
    }
    parts.push(count(*messages, "message", "messages"));
    if *errors > 0 {
        parts.push(count(*errors, "error message", "error messages"));
    }
    format!("Totals: {}.", parts.join(", "))
}

/// Returns the warnings with their places and words as a sentence, or nothing.
pub(super) fn warnings(warnings: &[ExecutionWarning]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let number = i64::try_from(warnings.len()).unwrap_or(i64::MAX);
    let mut listed: Vec<String> = warnings
        .iter()
        .take(MAX_WARNINGS)
        .map(|ExecutionWarning { code, pointer, message }| format!("{code} at {pointer}: {message}"))
        .collect();
    if warnings.len() > MAX_WARNINGS {
        listed.push(format!("and {} more", warnings.len() - MAX_WARNINGS));
    }
    format!("It reported {}: {}.", count(number, "warning", "warnings"), listed.join("; "))
}

/// Returns the reason in parentheses, or nothing.
pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// Returns `1 page`, `2 pages`.
pub(super) fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Returns a time with its distance from `now`.
pub(super) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let stamp = at.format("%Y-%m-%dT%H:%M:%SZ");
    let distance =
        if at > now { format!("in {}", span(at - now)) } else { format!("{} ago", span(now - at)) };
    format!("{stamp} ({distance})")
}

fn span(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
