//! Pieces of sentences: numbers with their nouns, times with their distance.

use chrono::{DateTime, TimeDelta, Utc};

use crate::commands::fleet::progress::{ExecutionCounts, ExecutionProgress};

/// What a run did, as a sentence.
pub(super) fn did(progress: &ExecutionProgress) -> String {
    let ExecutionCounts { requests, retries, pages, rows, messages, bytes: _, errors } = &progress.counts;
    if *requests == 0 {
        return "It has sent no request.".to_owned();
    }
    let mut parts = vec![count(*requests, "request", "requests")];
    if *retries > 0 {
        parts.push(format!("{} of them again", retries));
    }
    parts.push(count(*pages, "page", "pages"));
    if *rows > 0 {
        parts.push(count(*rows, "row", "rows"));
    }
    parts.push(count(*messages, "message", "messages"));
    if *errors > 0 {
        parts.push(count(*errors, "error message", "error messages"));
    }
    format!("It did {}.", parts.join(", "))
}

/// A reason in brackets, where there is one.
pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// What was waited for, where that is known.
pub(super) fn after_waiting(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" after waiting ({reason})") }
}

/// `1 page`, `2 pages`.
pub(super) fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `waits 1 other run`, `wait 2 other runs`.
pub(super) fn verb(number: i64, one_does: &str, many_do: &str, one: &str, many: &str) -> String {
    format!("{} {}", if number == 1 { one_does } else { many_do }, count(number, one, many))
}

/// A time, and how far it is from now.
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
