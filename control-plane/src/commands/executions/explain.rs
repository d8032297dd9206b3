//! Why an execution is not running, or how it came to its end: what is known about it, and one paragraph that says it.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use orchid_domain::execution::State;
use uuid::Uuid;

use super::GetExecution;
use crate::{
    commands::CommandError,
    store::{
        db::{TenantTx, Work},
        executions::{self, Ahead, Attempt, Event, Execution, PoolStanding, Ready},
    },
};

const MAX_EVENTS: i64 = 1000;
const MAX_ATTEMPTS: i64 = 1000;

/// Which execution.
pub struct ExplainExecution {
    /// Its id.
    pub id: Uuid,
}

/// What is known about it.
pub struct Explained {
    /// As it is now.
    pub execution: Execution,
    /// Its transitions, oldest first.
    pub events: Vec<Event>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// The tenant's pool.
    pub pool: String,
    /// Its place in the queue, while it has one.
    pub ready: Option<Ready>,
    /// The run that it waits behind, while it does.
    pub ahead: Option<Ahead>,
}

impl Work<TenantTx> for ExplainExecution {
    type Done = Explained;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Explained, CommandError> {
        let execution = GetExecution { id: self.id }.run(tx).await?;
        let events = executions::history(tx, self.id, MAX_EVENTS).await?;
        let mut attempts = executions::attempts(tx, self.id, None, MAX_ATTEMPTS).await?;
        attempts.reverse();
        let ready = executions::ready(tx, self.id).await?;
        let ahead = executions::ahead(tx, &execution).await?;
        let pool = executions::pool(tx).await?;
        Ok(Explained { execution, events, attempts, pool, ready, ahead })
    }
}

/// One paragraph; `why` is the error of a run that ended by one.
pub fn summary(known: &Explained, standing: PoolStanding, why: Option<&str>, now: DateTime<Utc>) -> String {
    let Explained { execution, attempts, .. } = known;
    let Ok(state) = execution.state.parse::<State>() else {
        return format!("The execution is in the unknown state {:?}.", execution.state);
    };
    let mut text = match state {
        State::Pending => pending(known),
        State::Queued => queued(known, standing, now),
        State::Running => running(known, now),
        State::Parked => parked(known, standing, now),
        State::Blocked => format!(
            "It is held back by the limit {:?}, and goes on as soon as that allows it.",
            execution.waiting_for.as_deref().unwrap_or("unknown")
        ),
        State::Succeeded => ended(execution, succeeded(execution)),
        State::Failed => ended(execution, &format!("It failed: {}.", why.unwrap_or("no error was reported"))),
        State::Aborted => {
            ended(execution, &format!("Its plan ended it: {}.", why.unwrap_or("no reason was reported")))
        }
        State::Cancelled => ended(execution, &cancelled(execution)),
        State::DeadLettered => ended(
            execution,
            &format!(
                "It was given up: {} attempts in a row were lost without progress, the last one {}.",
                execution.losses,
                attempts.last().map_or_else(|| "unknown".to_owned(), last_request)
            ),
        ),
    };
    if !state.is_terminal() && execution.losses > 0 {
        text.push_str(&format!(
            " {} lost since its last progress; the third loss ends it.",
            count(execution.losses, "attempt was", "attempts were")
        ));
    }
    text
}

fn pending(known: &Explained) -> String {
    match &known.ahead {
        Some(ahead) => format!(
            "It waits behind run {} of the same plan and config, which is {}: only one of them saves progress at a time. It is queued when that run ends.",
            ahead.id, ahead.state
        ),
        None => "It waits behind another run of the same plan and config that has just ended; its turn comes within seconds.".to_owned(),
    }
}

fn queued(known: &Explained, standing: PoolStanding, now: DateTime<Utc>) -> String {
    let pool = &known.pool;
    let PoolStanding { sessions, slots, leases } = standing;
    if sessions == 0 {
        return format!(
            "It waits for an executor, and pool {pool:?} has none: start one, or look why those that ran are gone."
        );
    }
    let executors = if sessions == 1 { "1 executor".to_owned() } else { format!("{sessions} executors") };
    let room = if leases >= slots {
        format!("all {slots} slots of {executors} are taken, so it waits for one to come free")
    } else {
        format!("{} of {slots} slots of {executors} are free", slots - leases)
    };
    let rung = match known.ready.as_ref() {
        Some(Ready { rings, rung_at: Some(at), .. }) if *rings > 0 => {
            format!(
                " The doorbell rang {} for it, last {} ago.",
                count(*rings, "time", "times"),
                span(now - *at)
            )
        }
        Some(_) | None => " The doorbell has not rung for it yet.".to_owned(),
    };
    format!("It waits for an executor of pool {pool:?}: {room}.{rung}")
}

fn running(known: &Explained, now: DateTime<Utc>) -> String {
    let Some(attempt) = known.attempts.last() else {
        return "An executor runs it.".to_owned();
    };
    let cancel = match known.execution.cancel_requested_at {
        Some(at) => {
            format!(" A cancel was asked for {} ago; its executor is told by its next beat.", span(now - at))
        }
        None => String::new(),
    };
    format!(
        "Executor {:?} runs it since {} ago, as attempt {}; {}.{cancel}",
        attempt.executor,
        span(now - attempt.granted_at),
        attempt.attempt,
        last_request(attempt)
    )
}

fn parked(known: &Explained, standing: PoolStanding, now: DateTime<Utc>) -> String {
    let reason =
        known.execution.waiting_for.as_deref().filter(|text| !text.is_empty()).unwrap_or("it has to wait");
    match known.execution.not_before {
        Some(at) if at > now => format!(
            "It is parked until {}, which is in {}: {reason}. It holds no executor meanwhile, and goes on from its checkpoint.",
            at.to_rfc3339_opts(SecondsFormat::Secs, true),
            span(at - now)
        ),
        Some(_) | None => {
            format!("It was parked ({reason}), and its time has come. {}", queued(known, standing, now))
        }
    }
}

fn succeeded(execution: &Execution) -> &'static str {
    match (execution.partial, execution.complete) {
        (true, _) => "It succeeded in part: something was ignored, skipped or limited.",
        (false, true) => "It succeeded, and every loop came to its end.",
        (false, false) => "It succeeded.",
    }
}

fn cancelled(execution: &Execution) -> String {
    match execution.cancel_reason.as_deref().filter(|text| !text.is_empty()) {
        Some(reason) => format!("It was cancelled: {reason}."),
        None => "It was cancelled.".to_owned(),
    }
}

fn ended(execution: &Execution, how: &str) -> String {
    let attempts = count(execution.attempt, "attempt", "attempts");
    match (execution.started_at, execution.ended_at) {
        (Some(started), Some(ended)) => format!("{how} It took {} and {attempts}.", span(ended - started)),
        _ => format!("{how} It never ran."),
    }
}

fn last_request(attempt: &Attempt) -> String {
    match attempt.last_request.as_deref().filter(|text| !text.is_empty()) {
        Some(request) => format!("its last request that was told of is {request}"),
        None => "it has told of no request yet".to_owned(),
    }
}

fn count(number: i32, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A length of time in its two largest units.
fn span(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    match seconds {
        0 => format!("{} ms", length.num_milliseconds().max(0)),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn known(state: State) -> Explained {
        Explained {
            execution: Execution {
                tenant_id: Uuid::nil(),
                id: Uuid::nil(),
                plan_id: Uuid::nil(),
                plan_key: "orders".to_owned(),
                plan_revision: 1,
                integration_key: "shop".to_owned(),
                config_id: Uuid::nil(),
                config_key: "acme".to_owned(),
                kind: "run".to_owned(),
                origin: "trigger".to_owned(),
                state: state.as_str().to_owned(),
                waiting_for: None,
                not_before: None,
                partial: false,
                complete: true,
                attempt: 0,
                losses: 0,
                priority: 5,
                scheduled_at: at(100),
                created_at: at(100),
                started_at: None,
                ended_at: None,
                cancel_requested_at: None,
                cancel_reason: None,
                progress: None,
                error: None,
                version: 1,
            },
            events: vec![],
            attempts: vec![],
            pool: "default".to_owned(),
            ready: None,
            ahead: None,
        }
    }

    const FULL: PoolStanding = PoolStanding { sessions: 2, slots: 8, leases: 8 };

    #[test]
    fn a_pool_without_executors_is_named() {
        let text =
            summary(&known(State::Queued), PoolStanding { sessions: 0, slots: 0, leases: 0 }, None, at(200));
        assert_eq!(
            text,
            "It waits for an executor, and pool \"default\" has none: start one, or look why those that ran are gone."
        );
    }

    #[test]
    fn a_queued_run_says_how_full_its_pool_is_and_when_the_bell_rang() {
        let ready = Some(Ready { rings: 2, rung_at: Some(at(130)) });
        let text = summary(&Explained { ready, ..known(State::Queued) }, FULL, None, at(200));
        assert_eq!(
            text,
            "It waits for an executor of pool \"default\": all 8 slots of 2 executors are taken, so it waits for one to come free. \
             The doorbell rang 2 times for it, last 1 min 10 s ago."
        );
    }

    #[test]
    fn a_pending_run_names_the_one_before_it() {
        let ahead = Some(Ahead { id: Uuid::from_u128(7), state: "running".to_owned() });
        let text = summary(&Explained { ahead, ..known(State::Pending) }, FULL, None, at(200));
        assert!(text.contains("behind run 00000000-0000-0000-0000-000000000007"), "{text}");
    }

    #[test]
    fn a_parked_run_says_until_when_and_why() {
        let mut parked = known(State::Parked);
        parked.execution.not_before = Some(at(4000));
        parked.execution.waiting_for = Some("Retry-After of the upstream".to_owned());
        let text = summary(&parked, FULL, None, at(200));
        assert!(text.starts_with(
            "It is parked until 1970-01-01T01:06:40Z, which is in 1 h 3 min: Retry-After of the upstream."
        ));
    }

    #[test]
    fn a_failed_run_says_why() {
        let mut failed = known(State::Failed);
        failed.execution.attempt = 1;
        (failed.execution.started_at, failed.execution.ended_at) = (Some(at(100)), Some(at(103)));
        let text = summary(&failed, FULL, Some("HTTP_STATUS: 404 from the upstream"), at(200));
        assert_eq!(text, "It failed: HTTP_STATUS: 404 from the upstream. It took 3 s and 1 attempt.");
    }

    #[test]
    fn losses_are_told_while_they_matter() {
        let mut lost = known(State::Queued);
        lost.execution.losses = 2;
        let text = summary(&lost, FULL, None, at(200));
        assert!(
            text.ends_with("2 attempts were lost since its last progress; the third loss ends it."),
            "{text}"
        );
    }
}
