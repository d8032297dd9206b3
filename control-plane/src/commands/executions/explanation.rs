//! Explains an execution in one paragraph: why it is not running, or how it ended, since when, and
//! what to do about it. Pure functions of what `explain` has read.

mod phrases;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{LOSSES_TO_DEAD_LETTER, State};

use self::phrases::{because, count, moment, totals, warnings};
use super::report::ExecutionReport;
use crate::commands::executions::progress::ExecutionError;
use crate::store::executions::status::{
    ActiveExecution, LastCheckpoint, PoolLoad, QueuePosition, SessionStatus,
};
use crate::store::executions::{Attempt, Execution};

/// Codes of errors whose cause is in the log of the control plane.
const CONTROL_PLANE_CODES: [&str; 4] =
    ["DEFINITION_GONE", "REPORT_REFUSED", "SECRETS_UNREADABLE", "STORED_STATE_UNREADABLE"];

/// Facts read about an execution; each variant belongs to some of its states.
#[derive(Debug, Clone)]
pub(super) enum ExecutionStatus {
    /// Pending: waits for an earlier execution of its plan and config.
    Pending {
        /// The active execution; none between its end and the promotion of the next one.
        active: Option<ActiveExecution>,
        /// Number of pending executions that come first.
        ahead: i64,
    },
    /// Queued, parked or blocked: waits for a grant.
    Waiting {
        /// Position in the queue; none while it is being granted.
        queued: Option<QueuePosition>,
        /// Executors and slots of its pool.
        load: PoolLoad,
    },
    /// Running: an executor holds its lease.
    Running {
        /// Session of the executor as of its last heartbeat; none if it has ended.
        session: Option<SessionStatus>,
        /// Its last checkpoint.
        saved: Option<LastCheckpoint>,
    },
    /// In a terminal state.
    Ended,
}

/// Everything that the paragraph is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExplanationFacts<'a> {
    /// The execution.
    pub(super) execution: &'a Execution,
    /// Its state.
    pub(super) state: State,
    /// Its progress and error.
    pub(super) report: &'a ExecutionReport,
    /// Its newest attempt.
    pub(super) attempt: Option<&'a Attempt>,
    /// Facts that the paragraph adds to the execution's own row.
    pub(super) status: &'a ExecutionStatus,
    /// Time of the explanation; distances are relative to it.
    pub(super) now: DateTime<Utc>,
}

/// Returns the paragraph.
pub(super) fn summary(facts: &ExplanationFacts<'_>) -> String {
    let mut sentences = match facts.status {
        ExecutionStatus::Pending { active, ahead } => pending(facts, active.as_ref(), *ahead),
        ExecutionStatus::Waiting { queued, load } => waiting(facts, queued.as_ref(), *load),
        ExecutionStatus::Running { session, saved } => running(facts, session.as_ref(), saved.as_ref()),
        ExecutionStatus::Ended => ended(facts),
    };
    sentences.push(continued(facts.execution));
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

fn continued(execution: &Execution) -> String {
    let Some(id) = execution.continues_execution_id else { return String::new() };
    format!("It continues execution {id}, which ended at a limit of the plan, from its last checkpoint.")
}

fn pending(facts: &ExplanationFacts<'_>, active: Option<&ActiveExecution>, ahead: i64) -> Vec<String> {
    let mut sentences = match active {
        Some(active) => vec![
            format!(
                "The execution is pending: execution {} of the same plan and config, created at {}, is {}.",
                active.id,
                moment(active.created_at, facts.now),
                active.state
            ),
            "Executions that save progress run one at a time per plan and config; this one is queued once the other has ended."
                .to_owned(),
        ],
        None => vec![
            "The execution is pending: the previous one has ended, and the control plane is about to queue this one."
                .to_owned(),
        ],
    };
    if ahead > 0 {
        sentences.push(format!("{} first.", count(ahead, "other execution comes", "other executions come")));
    }
    sentences
}

fn waiting(facts: &ExplanationFacts<'_>, queued: Option<&QueuePosition>, load: PoolLoad) -> Vec<String> {
    let ExplanationFacts { execution, now, .. } = *facts;
    let mut sentences = Vec::new();
    let waiting_for = execution.waiting_for.as_deref().unwrap_or_default();
    let until = execution.not_before.filter(|until| *until > now);
    match (facts.state, until) {
        (State::Parked, Some(until)) => {
            sentences.push(format!(
                "The execution is parked until {}{}.",
                moment(until, now),
                because(waiting_for)
            ));
            sentences.push("It then continues from its last checkpoint.".to_owned());
            if execution.needs_upstream_cancel {
                sentences.push(
                    "An upstream job is running for it: if you cancel the execution, the job is cancelled first."
                        .to_owned(),
                );
            }
            return sentences;
        }
        (State::Parked, None) => sentences.push(format!(
            "The execution was parked{}; its wait is over and it waits for an executor.",
            because(waiting_for)
        )),
        (State::Blocked, _) => {
            sentences.push(format!("The execution is blocked by the limit {waiting_for:?}."));
        }
        _ => sentences.push(waits_for_an_executor(execution, now)),
    }
    let Some(queued) = queued else {
        sentences.push("It is being granted to an executor right now.".to_owned());
        return sentences;
    };
    sentences.push(pool(&queued.pool, load));
    if queued.before > 0 {
        sentences.push(format!(
            "{} ahead of it.",
            count(queued.before, "execution of this tenant is", "executions of this tenant are")
        ));
    }
    sentences.push(match queued.rung_at {
        Some(rung_at) => format!(
            "The doorbell announced it {}, last at {}.",
            count(queued.rings.into(), "time", "times"),
            moment(rung_at, now)
        ),
        None => "The doorbell has not announced it yet.".to_owned(),
    });
    sentences.push(lost_attempts(execution.losses));
    sentences
}

fn waits_for_an_executor(execution: &Execution, now: DateTime<Utc>) -> String {
    let Some(requested_at) = execution.cancel_requested_at else {
        return "The execution is queued and waits for an executor.".to_owned();
    };
    format!(
        "A cancellation was requested at {}{} while an upstream job was running for the execution. It waits for an executor \
         that cancels the job; then it ends as cancelled. If no executor does so soon, the control plane ends it.",
        moment(requested_at, now),
        because(execution.cancel_reason.as_deref().unwrap_or_default())
    )
}

fn pool(name: &str, load: PoolLoad) -> String {
    let free = (load.slots - load.taken).max(0);
    if load.sessions == 0 {
        return format!("Pool {name:?} has no live executor: start one with the token of that pool.");
    }
    let has = format!(
        "Pool {name:?} has {} with {free} of {} free",
        count(load.sessions, "live executor", "live executors"),
        count(load.slots, "slot", "slots")
    );
    if free == 0 {
        format!("{has}: the execution starts when another one ends, or when you add executors.")
    } else {
        format!("{has}.")
    }
}

fn running(
    facts: &ExplanationFacts<'_>,
    session: Option<&SessionStatus>,
    saved: Option<&LastCheckpoint>,
) -> Vec<String> {
    let ExplanationFacts { execution, now, attempt, .. } = *facts;
    let name = attempt.map_or("An executor".to_owned(), |attempt| format!("Executor {}", attempt.executor));
    let since =
        attempt.map(|attempt| format!(" since {}", moment(attempt.granted_at, now))).unwrap_or_default();
    let mut sentences =
        vec![format!("{name} has been running attempt {} of the execution{since}.", execution.attempt)];
    sentences.push(match session {
        Some(session) => format!("Its last heartbeat arrived at {}.", moment(session.heartbeat_at, now)),
        None => {
            "That executor is gone: the execution returns to the queue with its last checkpoint.".to_owned()
        }
    });
    sentences.push(match saved {
        Some(saved) => format!("Checkpoint {} was saved at {}.", saved.seq, moment(saved.saved_at, now)),
        None => "No checkpoint has been saved yet.".to_owned(),
    });
    // The counts are those of the last checkpoint: zero requests does not mean that none was sent.
    if facts.report.progress.counts.requests > 0 {
        sentences.push(totals(&facts.report.progress));
    }
    if let Some(request) =
        session.and_then(|session| session.last_request.as_deref()).filter(|text| !text.is_empty())
    {
        sentences.push(format!("The last request was {request}."));
    }
    sentences.extend(cancelling(execution, attempt, now));
    sentences.push(lost_attempts(execution.losses));
    sentences.push(warnings(&facts.report.progress.warnings));
    sentences
}

/// Explains the next step of a requested cancellation.
fn cancelling(execution: &Execution, attempt: Option<&Attempt>, now: DateTime<Utc>) -> Option<String> {
    let requested_at = execution.cancel_requested_at?;
    // An attempt granted after the request exists only to cancel the upstream's job.
    let granted_for_it = attempt.is_some_and(|attempt| attempt.granted_at > requested_at);
    let then = match (granted_for_it, execution.needs_upstream_cancel) {
        (true, _) => "the executor is cancelling the upstream job",
        (false, true) => "the executor learns of it with its next heartbeat and cancels the upstream job",
        (false, false) => "the executor learns of it with its next heartbeat",
    };
    let reason = because(execution.cancel_reason.as_deref().unwrap_or_default());
    Some(format!("A cancellation was requested at {}{reason}: {then}.", moment(requested_at, now)))
}

fn ended(facts: &ExplanationFacts<'_>) -> Vec<String> {
    let ExplanationFacts { execution, report, now, .. } = *facts;
    let at = execution.ended_at.map(|at| format!(" at {}", moment(at, now))).unwrap_or_default();
    let attempts = count(execution.attempt.into(), "attempt", "attempts");
    let error = report.error.as_ref();
    let mut sentences = match facts.state {
        State::Succeeded => {
            vec![format!("The execution succeeded{at}, after {attempts}."), completeness(execution)]
        }
        State::Aborted => vec![
            format!("The plan aborted the execution{at}, after {attempts}{}.", cause(error)),
            "A condition in abort_on or abort_when was met; the next execution starts from the beginning."
                .to_owned(),
        ],
        State::Cancelled => vec![cancelled(execution, &at, now)],
        State::DeadLettered => dead_lettered(facts, &at),
        _ => {
            vec![
                format!("The execution failed{at}, after {attempts}{}.", cause(error)),
                advice(error, facts.attempt),
            ]
        }
    };
    sentences.insert(1, totals(&report.progress));
    sentences.insert(1, response_excerpt(error));
    sentences.push(warnings(&report.progress.warnings));
    sentences
}

fn completeness(execution: &Execution) -> String {
    match (execution.partial, execution.complete) {
        (true, _) => {
            "The result is partial: something was ignored, skipped or cut off by a limit.".to_owned()
        }
        (false, true) => "Every loop reached its natural end.".to_owned(),
        (false, false) => String::new(),
    }
}

fn cancelled(execution: &Execution, at: &str, now: DateTime<Utc>) -> String {
    let reason = because(execution.cancel_reason.as_deref().unwrap_or_default());
    let when = if execution.attempt == 0 { "before it started" } else { "while it was active" };
    match execution.cancel_requested_at {
        Some(requested_at) => format!(
            "The execution was cancelled{at}, {when}, as requested at {}{reason}.",
            moment(requested_at, now)
        ),
        None => format!("The execution was cancelled{at}, {when}{reason}."),
    }
}

fn dead_lettered(facts: &ExplanationFacts<'_>, at: &str) -> Vec<String> {
    let mut sentences = vec![format!(
        "The control plane gave the execution up{at}: {} in a row were lost without a checkpoint.",
        count(facts.execution.losses.into(), "attempt", "attempts")
    )];
    if let Some(attempt) = facts.attempt {
        let request = attempt.last_request.as_deref().filter(|text| !text.is_empty());
        let request = request.map(|text| format!(", and its last request was {text}")).unwrap_or_default();
        sentences.push(format!("The last attempt ran on executor {}{request}.", attempt.executor));
    }
    sentences.push(
        "Find out why these executors disappeared (out of memory is the most likely reason) and what that request returns; \
         then trigger the plan again."
            .to_owned(),
    );
    sentences
}

/// Returns the error with its place, as the end of a sentence.
fn cause(error: Option<&ExecutionError>) -> String {
    let Some(error) = error else {
        return String::new();
    };
    let ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt: _ } = error;
    let place = match (step_path.as_str(), pointer.as_str()) {
        ("", "") => String::new(),
        ("", pointer) => format!(" at {pointer}"),
        (step, "") => format!(" in {step}"),
        (step, pointer) => format!(" in {step}, at {pointer}"),
    };
    let status = match status_code {
        Some(status) if !message.contains(&status.to_string()) => format!(" (status {status})"),
        Some(_) | None => String::new(),
    };
    format!(", with {code} ({class}){place}: {}{status}", message.trim_end_matches('.'))
}

/// Returns the words of the upstream as a sentence.
fn response_excerpt(error: Option<&ExecutionError>) -> String {
    match error.map(|error| error.response_excerpt.as_str()) {
        Some(excerpt) if !excerpt.is_empty() => format!("The response said: {excerpt}"),
        Some(_) | None => String::new(),
    }
}

/// Returns what the operator can do about the error.
fn advice(error: Option<&ExecutionError>, attempt: Option<&Attempt>) -> String {
    let Some(error) = error else {
        return "No reason was recorded; see its history.".to_owned();
    };
    let advice = match error.class.as_str() {
        "config" => "Correct the plan or the config at this place, then trigger the plan again.",
        "transient" => {
            "The upstream did not recover within the plan's retries: trigger the plan again when it has recovered, or allow more retries."
        }
        "rate_limit" => "The upstream limits the request rate: wait, then trigger the plan again.",
        "permanent" => {
            "Retrying does not help: correct the request, or let the plan ignore or accept this response."
        }
        "limit" => "Raise the limit, or reduce the work of one execution.",
        _ => {
            // An attempt says nothing about errors that the control plane itself found.
            let attempt = attempt.filter(|_| !CONTROL_PLANE_CODES.contains(&error.code.as_str()));
            let process = attempt
                .map_or("the control plane".to_owned(), |attempt| format!("executor {}", attempt.executor));
            return format!("The plan is not the cause: see the log of {process}.");
        }
    };
    advice.to_owned()
}

fn lost_attempts(number: i32) -> String {
    if number <= 0 {
        return String::new();
    }
    format!(
        "It was lost {} since its last checkpoint; after {LOSSES_TO_DEAD_LETTER} losses the control plane gives it up.",
        count(number.into(), "time", "times")
    )
}

#[cfg(test)]
mod tests;
