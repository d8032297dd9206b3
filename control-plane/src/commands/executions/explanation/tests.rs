//! Paragraphs of executions in every state.

use uuid::Uuid;

use super::*;
use crate::commands::executions::progress::{ExecutionCounts, ExecutionProgress, ExecutionWarning};
use crate::commands::executions::samples::{at, attempt, execution};

fn error(class: &str, code: &str, message: &str) -> ExecutionError {
    ExecutionError {
        class: class.to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
        pointer: "/definition/step/url".to_owned(),
        status_code: None,
        step_path: "orders#3".to_owned(),
        response_excerpt: String::new(),
    }
}

fn progress() -> ExecutionProgress {
    let counts = ExecutionCounts {
        requests: 5,
        retries: 1,
        pages: 4,
        rows: 400,
        messages: 4,
        ..ExecutionCounts::default()
    };
    ExecutionProgress { counts, ..ExecutionProgress::default() }
}

fn queued() -> QueuePosition {
    QueuePosition { pool: "default".to_owned(), not_before: None, rung_at: Some(at(-4)), rings: 2, before: 0 }
}

/// Returns the paragraph of an execution in this state.
fn paragraph(
    state: State,
    execution: Execution,
    status: ExecutionStatus,
    progress: ExecutionProgress,
    error: Option<ExecutionError>,
) -> String {
    let execution = Execution { state: state.to_string(), ..execution };
    let report = ExecutionReport { progress, error };
    let attempt = Attempt { last_request: Some("GET https://shop.example/orders".to_owned()), ..attempt() };
    let attempt = (execution.attempt > 0).then_some(&attempt);
    let facts = ExplanationFacts {
        execution: &execution,
        state,
        report: &report,
        attempt,
        status: &status,
        now: at(0),
    };
    summary(&facts)
}

#[test]
fn pending_execution_names_the_active_one() {
    let active =
        ActiveExecution { id: Uuid::from_u128(9), state: "running".to_owned(), created_at: at(-300) };
    let status = ExecutionStatus::Pending { active: Some(active), ahead: 2 };
    assert_eq!(
        paragraph(State::Pending, execution(), status, ExecutionProgress::default(), None),
        "The execution is pending: execution 00000000-0000-0000-0000-000000000009 of the same plan and config, created at \
         2026-03-01T11:55:00Z (5 min ago), is running. Executions that save progress run one at a time per plan and config; this \
         one is queued once the other has ended. 2 other executions come first."
    );
    let status = ExecutionStatus::Pending { active: None, ahead: 0 };
    let paragraph = paragraph(State::Pending, execution(), status, ExecutionProgress::default(), None);
    assert!(paragraph.starts_with("The execution is pending: the previous one has ended"), "{paragraph}");
}

#[test]
fn queued_execution_shows_pool_load_and_doorbell() {
    let some = PoolLoad { sessions: 2, slots: 128, taken: 125 };
    let cases = [
        (
            queued(),
            some,
            0,
            "The execution is queued and waits for an executor. Pool \"default\" has 2 live executors with 3 of 128 slots free. The \
             doorbell announced it 2 times, last at 2026-03-01T11:59:56Z (4 s ago).",
        ),
        (
            QueuePosition { rung_at: None, before: 1, ..queued() },
            PoolLoad { sessions: 1, slots: 1, taken: 1 },
            0,
            "The execution is queued and waits for an executor. Pool \"default\" has 1 live executor with 0 of 1 slot free: the \
             execution starts when another one ends, or when you add executors. 1 execution of this tenant is ahead of it. The \
             doorbell has not announced it yet.",
        ),
        (
            QueuePosition { rung_at: None, ..queued() },
            PoolLoad { sessions: 0, slots: 0, taken: 0 },
            2,
            "The execution is queued and waits for an executor. Pool \"default\" has no live executor: start one with the token of \
             that pool. The doorbell has not announced it yet. It was lost 2 times since its last checkpoint; after 3 losses the \
             control plane gives it up.",
        ),
    ];
    for (queued, load, losses, expected) in cases {
        let status = ExecutionStatus::Waiting { queued: Some(queued), load };
        let execution = Execution { losses, ..execution() };
        assert_eq!(paragraph(State::Queued, execution, status, ExecutionProgress::default(), None), expected);
    }
    let status = ExecutionStatus::Waiting { queued: None, load: some };
    let paragraph = paragraph(State::Queued, execution(), status, ExecutionProgress::default(), None);
    assert_eq!(
        paragraph,
        "The execution is queued and waits for an executor. It is being granted to an executor right now."
    );
}

#[test]
fn parked_execution_shows_until_when_and_why() {
    let load = PoolLoad { sessions: 1, slots: 64, taken: 0 };
    let parked = |not_before| Execution {
        not_before: Some(not_before),
        waiting_for: Some("Retry-After of 429".to_owned()),
        ..execution()
    };
    let status = || ExecutionStatus::Waiting { queued: Some(queued()), load };
    assert_eq!(
        paragraph(State::Parked, parked(at(90)), status(), progress(), None),
        "The execution is parked until 2026-03-01T12:01:30Z (in 90 s) (Retry-After of 429). It then continues from its last \
         checkpoint."
    );
    let paragraph = paragraph(State::Parked, parked(at(-10)), status(), progress(), None);
    assert!(
        paragraph.starts_with(
            "The execution was parked (Retry-After of 429); its wait is over and it waits for an executor. Pool"
        ),
        "{paragraph}"
    );
}

#[test]
fn upstream_job_is_mentioned_with_a_cancellation() {
    let load = PoolLoad { sessions: 1, slots: 64, taken: 0 };
    let waiting = Execution { needs_upstream_cancel: true, attempt: 1, ..execution() };
    let parked =
        Execution { not_before: Some(at(90)), waiting_for: Some("its job".to_owned()), ..waiting.clone() };
    let status = || ExecutionStatus::Waiting { queued: Some(queued()), load };
    let text = paragraph(State::Parked, parked, status(), progress(), None);
    assert!(text.ends_with("if you cancel the execution, the job is cancelled first."), "{text}");

    let asked =
        Execution { cancel_requested_at: Some(at(-5)), cancel_reason: Some("enough".to_owned()), ..waiting };
    let text = paragraph(State::Queued, asked.clone(), status(), progress(), None);
    assert!(
        text.starts_with(
            "A cancellation was requested at 2026-03-01T11:59:55Z (5 s ago) (enough) while an upstream job was running for the \
             execution. It waits for an executor that cancels the job; then it ends as cancelled. If no executor does so soon, the \
             control plane ends it. Pool \"default\" has 1 live executor"
        ),
        "{text}"
    );
    let held = || ExecutionStatus::Running { session: None, saved: None };
    let text = paragraph(State::Running, asked.clone(), held(), ExecutionProgress::default(), None);
    assert!(
        text.ends_with("the executor learns of it with its next heartbeat and cancels the upstream job."),
        "{text}"
    );
    let before = Execution { cancel_requested_at: Some(at(-70)), ..asked };
    let text = paragraph(State::Running, before, held(), ExecutionProgress::default(), None);
    assert!(text.ends_with("the executor is cancelling the upstream job."), "{text}");
}

#[test]
fn blocked_execution_names_the_limit() {
    let load = PoolLoad { sessions: 1, slots: 64, taken: 0 };
    let execution = Execution { waiting_for: Some("per_minute".to_owned()), ..execution() };
    let status = ExecutionStatus::Waiting { queued: Some(queued()), load };
    let paragraph = paragraph(State::Blocked, execution, status, progress(), None);
    assert!(
        paragraph.starts_with("The execution is blocked by the limit \"per_minute\". Pool"),
        "{paragraph}"
    );
}

#[test]
fn running_execution_names_executor_checkpoint_and_request() {
    let session = SessionStatus {
        name: "worker-7".to_owned(),
        heartbeat_at: at(-3),
        last_request: Some("GET https://shop.example/orders".to_owned()),
    };
    let saved = LastCheckpoint { seq: 3, saved_at: at(-1) };
    let running = Execution { attempt: 2, ..execution() };
    let status = ExecutionStatus::Running { session: Some(session), saved: Some(saved) };
    assert_eq!(
        paragraph(State::Running, running.clone(), status, progress(), None),
        "Executor worker-7 has been running attempt 2 of the execution since 2026-03-01T11:59:00Z (60 s ago). Its last heartbeat \
         arrived at 2026-03-01T11:59:57Z (3 s ago). Checkpoint 3 was saved at 2026-03-01T11:59:59Z (1 s ago). Totals: 5 requests \
         (1 of them a retry), 4 pages, 400 rows, 4 messages. The last request was GET https://shop.example/orders."
    );
    let cancelling = Execution {
        cancel_requested_at: Some(at(-5)),
        cancel_reason: Some("wrong config".to_owned()),
        ..running
    };
    let status = ExecutionStatus::Running { session: None, saved: None };
    assert_eq!(
        paragraph(State::Running, cancelling, status, ExecutionProgress::default(), None),
        "Executor worker-7 has been running attempt 2 of the execution since 2026-03-01T11:59:00Z (60 s ago). That executor is \
         gone: the execution returns to the queue with its last checkpoint. No checkpoint has been saved yet. A cancellation was \
         requested at 2026-03-01T11:59:55Z (5 s ago) (wrong config): the executor learns of it with its next heartbeat."
    );
}

const STAMP: &str = "at 2026-03-01T11:58:00Z (2 min ago)";
const TOTALS: &str = "Totals: 5 requests (1 of them a retry), 4 pages, 400 rows, 4 messages.";

fn ended() -> Execution {
    Execution { attempt: 2, ended_at: Some(at(-120)), ..execution() }
}

#[test]
fn succeeded_execution_reports_completeness() {
    let cases = [
        (Execution { complete: true, ..ended() }, "Every loop reached its natural end."),
        (
            Execution { partial: true, ..ended() },
            "The result is partial: something was ignored, skipped or cut off by a limit.",
        ),
    ];
    for (execution, whole) in cases {
        let paragraph = paragraph(State::Succeeded, execution, ExecutionStatus::Ended, progress(), None);
        assert_eq!(paragraph, format!("The execution succeeded {STAMP}, after 2 attempts. {TOTALS} {whole}"));
    }
}

#[test]
fn failed_execution_names_error_place_and_advice() {
    let status = ExecutionError {
        status_code: Some(503),
        ..error("transient", "HTTP_STATUS", "the answer was an error.")
    };
    let place = "in orders#3, at /definition/step/url";
    let cases = [
        (
            State::Failed,
            status,
            format!(
                "The execution failed {STAMP}, after 2 attempts, with HTTP_STATUS (transient) {place}: the answer was an error (status 503). \
                 {TOTALS} The upstream did not recover within the plan's retries: trigger the plan again when it has recovered, or allow \
                 more retries."
            ),
        ),
        (
            State::Failed,
            error("system", "CHECKPOINT", "it does not read"),
            format!(
                "The execution failed {STAMP}, after 2 attempts, with CHECKPOINT (system) {place}: it does not read. {TOTALS} The plan is \
                 not the cause: see the log of executor worker-7."
            ),
        ),
        (
            State::Aborted,
            error("aborted", "ABORT_WHEN", "the plan's abort_when is true"),
            format!(
                "The plan aborted the execution {STAMP}, after 2 attempts, with ABORT_WHEN (aborted) {place}: the plan's abort_when is true. \
                 {TOTALS} A condition in abort_on or abort_when was met; the next execution starts from the beginning."
            ),
        ),
    ];
    for (state, error, expected) in cases {
        assert_eq!(paragraph(state, ended(), ExecutionStatus::Ended, progress(), Some(error)), expected);
    }
}

#[test]
fn cancelled_or_dead_lettered_execution_names_the_cause() {
    let stopped = Execution {
        cancel_requested_at: Some(at(-130)),
        cancel_reason: Some("wrong config".to_owned()),
        attempt: 0,
        ..ended()
    };
    let lost = Execution { losses: 3, attempt: 3, ..ended() };
    let cases = [
        (
            State::Cancelled,
            stopped,
            format!(
                "The execution was cancelled {STAMP}, before it started, as requested at 2026-03-01T11:57:50Z (2 min ago) (wrong config). \
                 {TOTALS}"
            ),
        ),
        (
            State::DeadLettered,
            lost,
            format!(
                "The control plane gave the execution up {STAMP}: 3 attempts in a row were lost without a checkpoint. {TOTALS} The last \
                 attempt ran on executor worker-7, and its last request was GET https://shop.example/orders. Find out why these executors \
                 disappeared (out of memory is the most likely reason) and what that request returns; then trigger the plan again."
            ),
        ),
    ];
    for (state, execution, expected) in cases {
        assert_eq!(paragraph(state, execution, ExecutionStatus::Ended, progress(), None), expected);
    }
}

#[test]
fn every_error_class_has_its_own_advice() {
    let steps: std::collections::HashSet<String> =
        ["config", "transient", "rate_limit", "permanent", "limit", "system"]
            .iter()
            .map(|class| advice(Some(&error(class, "CODE", "words")), None))
            .collect();
    assert_eq!(steps.len(), 6);
}

#[test]
fn advice_names_the_process_whose_log_has_the_cause() {
    let attempt = attempt();
    let of = |code| advice(Some(&error("system", code, "words")), Some(&attempt));
    assert!(of("CONTEXT_UNREADABLE").contains(&format!("executor {}", attempt.executor)));
    assert!(of("SECRETS_UNREADABLE").contains("the control plane"));
}

#[test]
fn failed_execution_quotes_the_response() {
    let refused = ExecutionError {
        response_excerpt: r#"{"message": "limit must be at most 50"}"#.to_owned(),
        ..error("permanent", "HTTP_STATUS", "the upstream answered 400")
    };
    let words = paragraph(State::Failed, ended(), ExecutionStatus::Ended, progress(), Some(refused));
    let expected = format!(
        "the upstream answered 400. The response said: {{\"message\": \"limit must be at most 50\"}} {TOTALS} Retrying"
    );
    assert!(words.contains(&expected), "{words}");
}

#[test]
fn warnings_are_listed_with_their_places_and_words() {
    let warning = |number: usize| ExecutionWarning {
        code: format!("CODE_{number}"),
        pointer: "/definition/step".to_owned(),
        message: "nothing was found".to_owned(),
    };
    let with =
        |number: usize| ExecutionProgress { warnings: (1..=number).map(warning).collect(), ..progress() };
    let ended = || Execution { attempt: 1, ended_at: Some(at(-1)), ..execution() };
    let words = paragraph(State::Succeeded, ended(), ExecutionStatus::Ended, with(2), None);
    let both =
        "CODE_1 at /definition/step: nothing was found; CODE_2 at /definition/step: nothing was found.";
    assert!(words.ends_with(&format!("It reported 2 warnings: {both}")), "{words}");
    let words = paragraph(State::Succeeded, ended(), ExecutionStatus::Ended, with(21), None);
    assert!(words.ends_with("; and 1 more."), "{words}");
    let running = ExecutionStatus::Running { session: None, saved: None };
    let words = paragraph(State::Running, ended(), running, with(1), None);
    assert!(
        words.ends_with("It reported 1 warning: CODE_1 at /definition/step: nothing was found."),
        "{words}"
    );
}
