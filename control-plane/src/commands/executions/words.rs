//! Why an execution is not running, or how it came to its end, as one paragraph for people: what is the case, since when, and what to do
//! about it. A pure function of what was read.

mod phrases;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{LOSSES_TO_DEAD_LETTER, State};

use self::phrases::{after_waiting, because, count, did, moment, verb};
use super::report::Report;
use crate::{
    commands::fleet::progress::ExecutionError,
    store::{
        executions::{Attempt, Execution},
        status::{ActiveExecution, LastCheckpoint, PoolLoad, QueuePosition, SessionStatus},
    },
};

/// What was read about an execution, by the kind of state that it is in.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// It waits behind another run.
    Behind {
        /// That run.
        going: Option<ActiveExecution>,
        /// Others that wait before it.
        before: i64,
    },
    /// It waits to be granted.
    Ready {
        /// Its place in the queue.
        queued: Option<QueuePosition>,
        /// What the pool has to give.
        load: PoolLoad,
    },
    /// An executor has it.
    Held {
        /// The executor as of its last beat; none where its session has ended.
        session: Option<SessionStatus>,
        /// Its last checkpoint.
        saved: Option<LastCheckpoint>,
    },
    /// It has ended.
    Ended,
}

/// What a paragraph is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The execution.
    pub(super) execution: &'a Execution,
    /// Where it is.
    pub(super) state: State,
    /// What it did, and what went wrong.
    pub(super) report: &'a Report,
    /// Its newest attempt.
    pub(super) attempt: Option<&'a Attempt>,
    /// How it stands.
    pub(super) standing: &'a Standing,
    /// Seen from when.
    pub(super) now: DateTime<Utc>,
}

/// The paragraph.
pub(super) fn summary(facts: &Facts<'_>) -> String {
    let mut sentences = match facts.standing {
        Standing::Behind { going, before } => behind(facts, going.as_ref(), *before),
        Standing::Ready { queued, load } => ready(facts, queued.as_ref(), *load),
        Standing::Held { session, saved } => held(facts, session.as_ref(), saved.as_ref()),
        Standing::Ended => ended(facts),
    };
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

fn behind(facts: &Facts<'_>, going: Option<&ActiveExecution>, before: i64) -> Vec<String> {
    let mut sentences = match going {
        Some(going) => vec![
            format!(
                "It waits behind execution {} of the same plan and config, which was created at {} and is {}.",
                going.id,
                moment(going.created_at, facts.now),
                going.state
            ),
            "One run of a plan and config saves progress at a time: it is queued when that one has ended."
                .to_owned(),
        ],
        None => vec![
            "The run before it has ended: it is queued as soon as the control plane passes the turn on."
                .to_owned(),
        ],
    };
    if before > 0 {
        sentences.push(format!("Before it {}.", verb(before, "waits", "wait", "other run", "other runs")));
    }
    sentences
}

fn ready(facts: &Facts<'_>, queued: Option<&QueuePosition>, load: PoolLoad) -> Vec<String> {
    let Facts { execution, now, .. } = *facts;
    let mut sentences = Vec::new();
    let waiting_for = execution.waiting_for.as_deref().unwrap_or_default();
    let until = execution.not_before.filter(|until| *until > now);
    match (facts.state, until) {
        (State::Parked, Some(until)) => {
            sentences.push(format!("It is parked until {}{}.", moment(until, now), because(waiting_for)));
            sentences
                .push("It then goes on from its last checkpoint; no attempt is used up by that.".to_owned());
            if execution.must_cancel {
                sentences.push("Its upstream works for it meanwhile: a cancel tells it first.".to_owned());
            }
            return sentences;
        }
        (State::Parked, None) => sentences.push(format!(
            "Its time to go on has come{}; it waits for an executor.",
            after_waiting(waiting_for)
        )),
        (State::Blocked, _) => sentences.push(format!("It is held back by the limit {waiting_for:?}.")),
        _ => sentences.push(waits_for_an_executor(execution, now)),
    }
    let Some(queued) = queued else {
        sentences.push("It is being granted at this moment.".to_owned());
        return sentences;
    };
    sentences.push(pool(&queued.pool, load));
    if queued.before > 0 {
        sentences.push(format!(
            "Before it {} of this tenant.",
            verb(queued.before, "stands", "stand", "run", "runs")
        ));
    }
    sentences.push(match queued.rung_at {
        Some(rung_at) => format!(
            "The doorbell has rung for it {}, last at {}.",
            count(queued.rings.into(), "time", "times"),
            moment(rung_at, now)
        ),
        None => "The doorbell has not rung for it yet.".to_owned(),
    });
    sentences.push(losses(execution.losses));
    sentences
}

fn waits_for_an_executor(execution: &Execution, now: DateTime<Utc>) -> String {
    let Some(asked_at) = execution.cancel_requested_at else {
        return "It waits for an executor.".to_owned();
    };
    format!(
        "A cancel was asked for at {}{}, and its upstream works for it: it waits for an executor that tells the upstream that nobody \
         waits for that job any more. Then it ends as cancelled, and soon in any case.",
        moment(asked_at, now),
        because(execution.cancel_reason.as_deref().unwrap_or_default())
    )
}

fn pool(name: &str, load: PoolLoad) -> String {
    let free = (load.slots - load.taken).max(0);
    if load.sessions == 0 {
        return format!("No executor of its pool {name:?} is alive: start one with that pool's token.");
    }
    let has = format!(
        "Its pool {name:?} has {} with {free} of {} free",
        count(load.sessions, "live executor", "live executors"),
        count(load.slots, "slot", "slots")
    );
    if free == 0 {
        format!("{has}: it starts when a run ends, or with more executors.")
    } else {
        format!("{has}.")
    }
}

fn held(facts: &Facts<'_>, session: Option<&SessionStatus>, saved: Option<&LastCheckpoint>) -> Vec<String> {
    let Facts { execution, now, attempt, .. } = *facts;
    let name = attempt.map_or("an executor", |attempt| attempt.executor.as_str());
    let since =
        attempt.map(|attempt| format!(" since {}", moment(attempt.granted_at, now))).unwrap_or_default();
    let mut sentences = vec![format!("Executor {name} runs it{since}, as attempt {}.", execution.attempt)];
    sentences.push(match session {
        Some(session) => format!("It last beat at {}.", moment(session.beat_at, now)),
        None => "That executor is gone: the run goes back to the queue with its last checkpoint.".to_owned(),
    });
    sentences.push(match saved {
        Some(saved) => format!(
            "Its last checkpoint, number {}, was saved at {}.",
            saved.seq,
            moment(saved.saved_at, now)
        ),
        None => "It has saved no checkpoint yet.".to_owned(),
    });
    // What it did after its last checkpoint is not known here, so that none is no news.
    if facts.report.progress.counts.requests > 0 {
        sentences.push(did(&facts.report.progress));
    }
    if let Some(request) =
        session.and_then(|session| session.last_request.as_deref()).filter(|text| !text.is_empty())
    {
        sentences.push(format!("Its last request was {request}."));
    }
    if let Some(asked_at) = execution.cancel_requested_at {
        let granted_for_it = attempt.is_some_and(|attempt| attempt.granted_at > asked_at);
        let then = match (granted_for_it, execution.must_cancel) {
            (true, _) => "its executor has it to tell the upstream that nobody waits for that job any more",
            (false, true) => "its executor is told with its next heartbeat, and tells the upstream",
            (false, false) => "its executor is told with its next heartbeat",
        };
        sentences.push(format!(
            "A cancel was asked for at {}{}: {then}.",
            moment(asked_at, now),
            because(execution.cancel_reason.as_deref().unwrap_or_default())
        ));
    }
    sentences.push(losses(execution.losses));
    sentences
}

fn ended(facts: &Facts<'_>) -> Vec<String> {
    let Facts { execution, report, now, .. } = *facts;
    let at = execution.ended_at.map(|at| format!(" at {}", moment(at, now))).unwrap_or_default();
    let attempts = count(execution.attempt.into(), "attempt", "attempts");
    let fault = report.fault.as_ref();
    let mut sentences = match facts.state {
        State::Succeeded => vec![format!("It ended well{at}, after {attempts}."), whole(execution)],
        State::Aborted => vec![
            format!("Its plan ended it{at}, after {attempts}{}.", cause(fault)),
            "That is what the plan's abort_on or abort_when asks for; the next run begins anew.".to_owned(),
        ],
        State::Cancelled => vec![cancelled(execution, &at, now)],
        State::DeadLettered => given_up(facts, &at),
        _ => {
            vec![format!("It failed{at}, after {attempts}{}.", cause(fault)), next_step(fault, facts.attempt)]
        }
    };
    sentences.insert(1, did(&report.progress));
    if !report.progress.warnings.is_empty() {
        let number = i64::try_from(report.progress.warnings.len()).unwrap_or(i64::MAX);
        sentences.push(format!("It left {}.", count(number, "warning", "warnings")));
    }
    sentences
}

fn whole(execution: &Execution) -> String {
    match (execution.partial, execution.complete) {
        (true, _) => "It is partial: something was ignored, skipped or limited.".to_owned(),
        (false, true) => "Every loop came to its own end.".to_owned(),
        (false, false) => String::new(),
    }
}

fn cancelled(execution: &Execution, at: &str, now: DateTime<Utc>) -> String {
    let reason = because(execution.cancel_reason.as_deref().unwrap_or_default());
    let begun = if execution.attempt == 0 { "before it began" } else { "while it was going" };
    match execution.cancel_requested_at {
        Some(asked_at) => {
            format!("It was cancelled{at}, {begun}; that was asked for at {}{reason}.", moment(asked_at, now))
        }
        None => format!("It was cancelled{at}, {begun}{reason}."),
    }
}

fn given_up(facts: &Facts<'_>, at: &str) -> Vec<String> {
    let mut sentences = vec![format!(
        "It was given up{at}: {} in a row were lost without a checkpoint in between.",
        count(facts.execution.losses.into(), "attempt", "attempts")
    )];
    if let Some(attempt) = facts.attempt {
        let request = attempt.last_request.as_deref().filter(|text| !text.is_empty());
        let request = request.map(|text| format!(", after the request {text}")).unwrap_or_default();
        sentences.push(format!("The last ran on executor {}{request}.", attempt.executor));
    }
    sentences.push(
        "Look at what became of those executors, their memory above all, and at what that request answers; then trigger the plan again."
            .to_owned(),
    );
    sentences
}

/// What went wrong, where.
fn cause(fault: Option<&ExecutionError>) -> String {
    let Some(ExecutionError { class, code, message, pointer, status_code, step_path }) = fault else {
        return String::new();
    };
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
    format!(", by {code} ({class}){place}: {}{status}", message.trim_end_matches('.'))
}

/// What the operator can do about it.
fn next_step(fault: Option<&ExecutionError>, attempt: Option<&Attempt>) -> String {
    let Some(fault) = fault else {
        return "It left no reason; its history is all that is known.".to_owned();
    };
    let advice = match fault.class.as_str() {
        "config" => "Correct the plan or the config there, then trigger it again.",
        "transient" => {
            "The upstream did not recover within the plan's retries: trigger the plan again once it has, or allow more retries."
        }
        "rate_limit" => "The upstream asked for fewer requests: wait, then trigger the plan again.",
        "permanent" => {
            "Trying again does not help: correct the request, or tell the plan to ignore or accept such an answer."
        }
        "limit" => "Raise that limit, or make a run do less.",
        _ => return format!("Nothing in the plan is to blame: look at the log of {}.", executor(attempt)),
    };
    advice.to_owned()
}

fn executor(attempt: Option<&Attempt>) -> String {
    attempt.map_or("the control plane".to_owned(), |attempt| format!("executor {}", attempt.executor))
}

fn losses(number: i32) -> String {
    if number <= 0 {
        return String::new();
    }
    format!(
        "Since its last checkpoint it was lost {}; at {LOSSES_TO_DEAD_LETTER} it is given up.",
        count(number.into(), "time", "times")
    )
}

#[cfg(test)]
mod tests;
