use uuid::Uuid;

use super::*;
use crate::commands::{
    executions::samples::{at, attempt, execution},
    fleet::progress::{ExecutionCounts, ExecutionProgress, ExecutionWarning},
};

fn fault(class: &str, code: &str, message: &str) -> ExecutionError {
    ExecutionError {
        class: class.to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
        pointer: "/definition/step/url".to_owned(),
        status_code: None,
        step_path: "orders#3".to_owned(),
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

/// The paragraph of an execution with this state.
fn told(
    state: State,
    execution: Execution,
    standing: Standing,
    progress: ExecutionProgress,
    fault: Option<ExecutionError>,
) -> String {
    let execution = Execution { state: state.to_string(), ..execution };
    let report = Report { progress, fault };
    let attempt = Attempt { last_request: Some("GET https://shop.example/orders".to_owned()), ..attempt() };
    let attempt = (execution.attempt > 0).then_some(&attempt);
    let facts =
        Facts { execution: &execution, state, report: &report, attempt, standing: &standing, now: at(0) };
    summary(&facts)
}

#[test]
fn a_pending_one_names_what_it_waits_behind() {
    let going = ActiveExecution { id: Uuid::from_u128(9), state: "running".to_owned(), created_at: at(-300) };
    let standing = Standing::Behind { going: Some(going), before: 2 };
    assert_eq!(
        told(State::Pending, execution(), standing, ExecutionProgress::default(), None),
        "It waits behind execution 00000000-0000-0000-0000-000000000009 of the same plan and config, which was created at \
         2026-03-01T11:55:00Z (5 min ago) and is running. One run of a plan and config saves progress at a time: it is queued \
         when that one has ended. Before it wait 2 other runs."
    );
    let standing = Standing::Behind { going: None, before: 0 };
    let told = told(State::Pending, execution(), standing, ExecutionProgress::default(), None);
    assert!(told.starts_with("The run before it has ended"), "{told}");
}

#[test]
fn a_queued_one_tells_of_its_pool_and_of_the_doorbell() {
    let some = PoolLoad { sessions: 2, slots: 128, taken: 125 };
    let cases = [
        (
            queued(),
            some,
            0,
            "It waits for an executor. Its pool \"default\" has 2 live executors with 3 of 128 slots free. The doorbell has rung \
             for it 2 times, last at 2026-03-01T11:59:56Z (4 s ago).",
        ),
        (
            QueuePosition { rung_at: None, before: 1, ..queued() },
            PoolLoad { sessions: 1, slots: 1, taken: 1 },
            0,
            "It waits for an executor. Its pool \"default\" has 1 live executor with 0 of 1 slot free: it starts when a run ends, \
             or with more executors. Before it stands 1 run of this tenant. The doorbell has not rung for it yet.",
        ),
        (
            QueuePosition { rung_at: None, ..queued() },
            PoolLoad { sessions: 0, slots: 0, taken: 0 },
            2,
            "It waits for an executor. No executor of its pool \"default\" is alive: start one with that pool's token. The doorbell \
             has not rung for it yet. Since its last checkpoint it was lost 2 times; at 3 it is given up.",
        ),
    ];
    for (queued, load, losses, expected) in cases {
        let standing = Standing::Ready { queued: Some(queued), load };
        let execution = Execution { losses, ..execution() };
        assert_eq!(told(State::Queued, execution, standing, ExecutionProgress::default(), None), expected);
    }
    let standing = Standing::Ready { queued: None, load: some };
    let told = told(State::Queued, execution(), standing, ExecutionProgress::default(), None);
    assert_eq!(told, "It waits for an executor. It is being granted at this moment.");
}

#[test]
fn a_parked_one_says_until_when_and_why_and_then_what_it_waits_for() {
    let load = PoolLoad { sessions: 1, slots: 64, taken: 0 };
    let parked = |not_before| Execution {
        not_before: Some(not_before),
        waiting_for: Some("Retry-After of 429".to_owned()),
        ..execution()
    };
    let standing = || Standing::Ready { queued: Some(queued()), load };
    assert_eq!(
        told(State::Parked, parked(at(90)), standing(), progress(), None),
        "It is parked until 2026-03-01T12:01:30Z (in 90 s) (Retry-After of 429). It then goes on from its last checkpoint; no \
         attempt is used up by that."
    );
    let told = told(State::Parked, parked(at(-10)), standing(), progress(), None);
    assert!(
        told.starts_with(
            "Its time to go on has come after waiting (Retry-After of 429); it waits for an executor. Its pool"
        ),
        "{told}"
    );
}

#[test]
fn one_whose_upstream_works_for_it_says_what_a_cancel_does_there() {
    let load = PoolLoad { sessions: 1, slots: 64, taken: 0 };
    let waiting = Execution { must_cancel: true, attempt: 1, ..execution() };
    let parked =
        Execution { not_before: Some(at(90)), waiting_for: Some("its job".to_owned()), ..waiting.clone() };
    let standing = || Standing::Ready { queued: Some(queued()), load };
    let said = told(State::Parked, parked, standing(), progress(), None);
    assert!(said.ends_with("Its upstream works for it meanwhile: a cancel tells it first."), "{said}");

    let asked =
        Execution { cancel_requested_at: Some(at(-5)), cancel_reason: Some("enough".to_owned()), ..waiting };
    let said = told(State::Queued, asked.clone(), standing(), progress(), None);
    assert!(
        said.starts_with(
            "A cancel was asked for at 2026-03-01T11:59:55Z (5 s ago) (enough), and its upstream works for it: it waits for an \
             executor that tells the upstream that nobody waits for that job any more. Then it ends as cancelled, and soon in any \
             case. Its pool \"default\" has 1 live executor"
        ),
        "{said}"
    );
    let held = || Standing::Held { session: None, saved: None };
    let said = told(State::Running, asked.clone(), held(), ExecutionProgress::default(), None);
    assert!(
        said.ends_with("its executor is told with its next heartbeat, and tells the upstream."),
        "{said}"
    );
    let before = Execution { cancel_requested_at: Some(at(-70)), ..asked };
    let said = told(State::Running, before, held(), ExecutionProgress::default(), None);
    assert!(
        said.ends_with("its executor has it to tell the upstream that nobody waits for that job any more."),
        "{said}"
    );
}

#[test]
fn a_blocked_one_names_the_limit() {
    let load = PoolLoad { sessions: 1, slots: 64, taken: 0 };
    let execution = Execution { waiting_for: Some("per_minute".to_owned()), ..execution() };
    let standing = Standing::Ready { queued: Some(queued()), load };
    let told = told(State::Blocked, execution, standing, progress(), None);
    assert!(told.starts_with("It is held back by the limit \"per_minute\". Its pool"), "{told}");
}

#[test]
fn a_running_one_names_its_executor_its_checkpoint_and_its_last_request() {
    let session = SessionStatus {
        name: "worker-7".to_owned(),
        beat_at: at(-3),
        last_request: Some("GET https://shop.example/orders".to_owned()),
    };
    let saved = LastCheckpoint { seq: 3, saved_at: at(-1) };
    let running = Execution { attempt: 2, ..execution() };
    let standing = Standing::Held { session: Some(session), saved: Some(saved) };
    assert_eq!(
        told(State::Running, running.clone(), standing, progress(), None),
        "Executor worker-7 runs it since 2026-03-01T11:59:00Z (60 s ago), as attempt 2. It last beat at 2026-03-01T11:59:57Z (3 s \
         ago). Its last checkpoint, number 3, was saved at 2026-03-01T11:59:59Z (1 s ago). It did 5 requests, 1 of them again, 4 \
         pages, 400 rows, 4 messages. Its last request was GET https://shop.example/orders."
    );
    let cancelling = Execution {
        cancel_requested_at: Some(at(-5)),
        cancel_reason: Some("wrong config".to_owned()),
        ..running
    };
    let standing = Standing::Held { session: None, saved: None };
    assert_eq!(
        told(State::Running, cancelling, standing, ExecutionProgress::default(), None),
        "Executor worker-7 runs it since 2026-03-01T11:59:00Z (60 s ago), as attempt 2. That executor is gone: the run goes back to \
         the queue with its last checkpoint. It has saved no checkpoint yet. A cancel was asked for at \
         2026-03-01T11:59:55Z (5 s ago) (wrong config): its executor is told with its next heartbeat."
    );
}

const STAMP: &str = "at 2026-03-01T11:58:00Z (2 min ago)";
const DID: &str = "It did 5 requests, 1 of them again, 4 pages, 400 rows, 4 messages.";

fn ended() -> Execution {
    Execution { attempt: 2, ended_at: Some(at(-120)), ..execution() }
}

#[test]
fn one_that_ended_well_says_whether_it_is_whole() {
    let cases = [
        (Execution { complete: true, ..ended() }, "Every loop came to its own end."),
        (Execution { partial: true, ..ended() }, "It is partial: something was ignored, skipped or limited."),
    ];
    for (execution, whole) in cases {
        let told = told(State::Succeeded, execution, Standing::Ended, progress(), None);
        assert_eq!(told, format!("It ended well {STAMP}, after 2 attempts. {DID} {whole}"));
    }
}

#[test]
fn one_that_an_error_ended_says_which_where_and_what_to_do() {
    let status = ExecutionError {
        status_code: Some(503),
        ..fault("transient", "HTTP_STATUS", "the answer was an error.")
    };
    let place = "in orders#3, at /definition/step/url";
    let cases = [
        (
            State::Failed,
            status,
            format!(
                "It failed {STAMP}, after 2 attempts, by HTTP_STATUS (transient) {place}: the answer was an error (status 503). {DID} The \
                 upstream did not recover within the plan's retries: trigger the plan again once it has, or allow more retries."
            ),
        ),
        (
            State::Failed,
            fault("system", "CHECKPOINT", "it does not read"),
            format!(
                "It failed {STAMP}, after 2 attempts, by CHECKPOINT (system) {place}: it does not read. {DID} Nothing in the plan is to \
                 blame: look at the log of executor worker-7."
            ),
        ),
        (
            State::Aborted,
            fault("aborted", "ABORT_WHEN", "the plan's abort_when is true"),
            format!(
                "Its plan ended it {STAMP}, after 2 attempts, by ABORT_WHEN (aborted) {place}: the plan's abort_when is true. {DID} That \
                 is what the plan's abort_on or abort_when asks for; the next run begins anew."
            ),
        ),
    ];
    for (state, fault, expected) in cases {
        assert_eq!(told(state, ended(), Standing::Ended, progress(), Some(fault)), expected);
    }
}

#[test]
fn one_that_was_stopped_or_given_up_says_by_what() {
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
                "It was cancelled {STAMP}, before it began; that was asked for at 2026-03-01T11:57:50Z (2 min ago) (wrong config). {DID}"
            ),
        ),
        (
            State::DeadLettered,
            lost,
            format!(
                "It was given up {STAMP}: 3 attempts in a row were lost without a checkpoint in between. {DID} The last ran on executor \
                 worker-7, after the request GET https://shop.example/orders. Look at what became of those executors, their memory above \
                 all, and at what that request answers; then trigger the plan again."
            ),
        ),
    ];
    for (state, execution, expected) in cases {
        assert_eq!(told(state, execution, Standing::Ended, progress(), None), expected);
    }
}

#[test]
fn every_class_of_fault_has_a_next_step_of_its_own() {
    let steps: std::collections::HashSet<String> =
        ["config", "transient", "rate_limit", "permanent", "limit", "system"]
            .iter()
            .map(|class| next_step(Some(&fault(class, "CODE", "words")), None))
            .collect();
    assert_eq!(steps.len(), 6);
}

#[test]
fn warnings_are_counted() {
    let progress = ExecutionProgress { warnings: vec![ExecutionWarning::default()], ..progress() };
    let ended = Execution { attempt: 1, ended_at: Some(at(-1)), ..execution() };
    let told = told(State::Succeeded, ended, Standing::Ended, progress, None);
    assert!(told.ends_with("It left 1 warning."), "{told}");
}
