//! Transitions of executions. Every match names every state, so that a new state does not compile
//! before each event has a rule for it.

use chrono::{DateTime, TimeDelta, Utc};

use super::continuation::{Beginning, NextBeginning, next_beginning};
use super::state::{AttemptVerdict, Outcome, Overdue, ReleaseReason, State, TransitionCause};
use super::{LOSSES_TO_DEAD_LETTER, Origin};

/// The part of an execution that a decision looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionSnapshot {
    /// Current state.
    pub state: State,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
    /// True if a cancel is requested.
    pub cancel_requested: bool,
    /// True if an upstream works for the execution. A cancel then has to tell the upstream, which
    /// takes an executor.
    pub needs_upstream_cancel: bool,
    /// True if it may continue another execution and be continued.
    pub chains: bool,
    /// True if an executor has had it.
    pub started: bool,
}

/// An event in the life of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionEvent {
    /// The active execution ended, and this one is the oldest pending.
    Promoted(Beginning),
    /// An executor takes it.
    Granted,
    /// A checkpoint of its executor is accepted.
    CheckpointAccepted {
        /// True if an upstream works for the execution at that checkpoint.
        needs_upstream_cancel: bool,
    },
    /// Its executor ended it.
    Completed {
        /// The end.
        outcome: Outcome,
        /// True if it stopped at a limit that its plan permits.
        at_limit: bool,
    },
    /// Its executor hands it back until a time.
    Parked {
        /// Earliest time of the next grant.
        not_before: DateTime<Utc>,
    },
    /// Its executor hands it back at once, or never started it.
    Released(ReleaseReason),
    /// Its executor cannot compile or resume it, and hands it back until a time. Without a time it
    /// ends: [`unsupported_retry`] decides.
    Unsupported {
        /// Earliest time of the next grant.
        not_before: Option<DateTime<Utc>>,
    },
    /// The session of its executor is gone.
    Lost,
    /// A cancel is requested.
    CancelRequested,
    /// A time limit has passed.
    Overdue(Overdue),
    /// It was about to be granted, but rows that its grant needs are gone or cannot be read.
    CannotStart,
}

/// A decision: what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state to enter, which may be the current one.
    pub next: State,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
    /// True if a cancel is requested.
    pub cancel_requested: bool,
    /// True if an upstream works for the execution.
    pub needs_upstream_cancel: bool,
    /// The reason.
    pub cause: TransitionCause,
    /// The writes that belong to it, in the same transaction.
    pub effects: Vec<Effect>,
}

impl Transition {
    /// Returns where the execution begins, if the transition decides that.
    pub fn beginning(&self) -> Option<Beginning> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Begin(beginning) => Some(*beginning),
            _ => None,
        })
    }
}

/// A write that belongs to a transition, beside the execution's own row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Record where the execution begins.
    Begin(Beginning),
    /// Record where the next execution of the plan and config begins.
    SetNext(NextBeginning),
    /// Insert a ready row.
    EnterReady {
        /// Earliest time of the grant.
        not_before: Option<DateTime<Utc>>,
    },
    /// Delete the ready row.
    LeaveReady,
    /// Insert a lease and an attempt.
    OpenLease,
    /// Delete the lease, and record how its attempt ended.
    CloseLease(AttemptVerdict),
    /// Promote the next execution of the plan and config, and move the schedule on if the execution
    /// was the schedule's.
    PromoteNext,
    /// Announce `execution.completed`.
    Announce,
    /// Insert a row of history.
    Record,
}

/// The reason why an event cannot happen to an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefusal {
    /// The execution has ended, and stays as it ended.
    #[error("the execution has ended as {0}")]
    Terminal(State),
    /// The event needs a running execution.
    #[error("the execution is {0}, not running")]
    NotRunning(State),
    /// Another executor has the execution.
    #[error("the execution is leased already")]
    AlreadyLeased,
    /// The execution is in no state from which it can be taken or promoted.
    #[error("the execution is {0}, not ready")]
    NotReady(State),
    /// The time for a cancel passed, but no cancel is requested.
    #[error("no cancel was requested")]
    NoCancelRequested,
}

/// An execution to create, as far as the decision looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Its source.
    pub origin: Origin,
    /// True if it saves its state.
    pub persists: bool,
    /// Where it begins, should it be queued now.
    pub beginning: Beginning,
}

/// Decides how an execution begins: queued, or pending behind the active one. An execution that
/// saves nothing never waits.
pub fn create(new: NewRun, another_active: bool) -> Transition {
    let NewRun { origin, persists, beginning } = new;
    let cause = match origin {
        Origin::Schedule => TransitionCause::Scheduled,
        Origin::Trigger | Origin::Retry | Origin::Replay => TransitionCause::Triggered,
    };
    let (next, cause, effects) = if persists && another_active {
        (State::Pending, TransitionCause::BehindActive, vec![Effect::Record])
    } else {
        let effects = vec![Effect::Begin(beginning), Effect::EnterReady { not_before: None }, Effect::Record];
        (State::Queued, cause, effects)
    };
    Transition { next, losses: 0, cancel_requested: false, needs_upstream_cancel: false, cause, effects }
}

/// Time after which an execution is granted again that its executor could not compile or resume.
const UNSUPPORTED_RETRY: TimeDelta = TimeDelta::seconds(30);
/// Number of such grants after which the execution fails. Together they take 10 minutes, in which a
/// fleet has met the executors of both releases many times.
const UNSUPPORTED_GRANTS: u32 = 20;
/// Time for which such a grant counts.
pub const UNSUPPORTED_WINDOW: TimeDelta = TimeDelta::minutes(15);

/// Decides when an execution is granted again that its executor could not compile or resume, after
/// `earlier` such grants within [`UNSUPPORTED_WINDOW`]. None: it fails.
pub fn unsupported_retry(earlier: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (earlier + 1 < UNSUPPORTED_GRANTS).then(|| now + UNSUPPORTED_RETRY)
}

/// Decides what an event does to an execution.
///
/// # Errors
/// The event cannot happen to an execution in this state.
pub fn decide(execution: ExecutionSnapshot, event: ExecutionEvent) -> Result<Transition, TransitionRefusal> {
    match event {
        ExecutionEvent::Promoted(beginning) => promoted(execution, beginning),
        ExecutionEvent::Granted => granted(execution),
        ExecutionEvent::CheckpointAccepted { needs_upstream_cancel } => {
            require_running(execution)?;
            let execution = ExecutionSnapshot { needs_upstream_cancel, ..execution };
            Ok(Transition { losses: 0, ..execution.to(State::Running, TransitionCause::Checkpoint, vec![]) })
        }
        ExecutionEvent::Completed { outcome, at_limit } => {
            require_running(execution)?;
            let verdict = match outcome {
                Outcome::Succeeded | Outcome::Failed | Outcome::Aborted => AttemptVerdict::Completed,
                Outcome::Cancelled => AttemptVerdict::Cancelled,
            };
            let end = ExecutionEnd { state: outcome.state(), at_limit };
            Ok(end_leased(execution, end, verdict, TransitionCause::Completed))
        }
        ExecutionEvent::Parked { not_before } => {
            require_running(execution)?;
            Ok(hand_back(
                execution,
                State::Parked,
                AttemptVerdict::Parked,
                TransitionCause::Parked,
                Some(not_before),
            ))
        }
        ExecutionEvent::Released(reason) => {
            require_running(execution)?;
            let cause = match reason {
                ReleaseReason::Drained => TransitionCause::Drained,
                ReleaseReason::SelfFenced => TransitionCause::SelfFenced,
                ReleaseReason::NeverStarted => TransitionCause::NeverStarted,
                ReleaseReason::Unsupported => TransitionCause::Unsupported,
            };
            Ok(hand_back(execution, State::Queued, reason.verdict(), cause, None))
        }
        ExecutionEvent::Unsupported { not_before } => {
            require_running(execution)?;
            let cause = TransitionCause::Unsupported;
            Ok(match not_before {
                Some(_) => {
                    hand_back(execution, State::Parked, AttemptVerdict::NeverStarted, cause, not_before)
                }
                None => end_leased(execution, State::Failed, AttemptVerdict::NeverStarted, cause),
            })
        }
        ExecutionEvent::Lost => lost(execution),
        ExecutionEvent::CancelRequested => cancel_requested(execution),
        ExecutionEvent::Overdue(limit) => overdue(execution, limit),
        ExecutionEvent::CannotStart => cannot_start(execution),
    }
}

impl ExecutionSnapshot {
    /// Returns the execution as a transition leaves it.
    #[must_use]
    pub fn after(self, transition: &Transition) -> Self {
        let Transition { next, losses, cancel_requested, needs_upstream_cancel, cause: _, effects: _ } =
            transition;
        Self {
            state: *next,
            losses: *losses,
            cancel_requested: *cancel_requested,
            needs_upstream_cancel: *needs_upstream_cancel,
            chains: self.chains,
            started: self.started || *next == State::Running,
        }
    }

    fn to(self, next: State, cause: TransitionCause, effects: Vec<Effect>) -> Transition {
        let Self { state: _, losses, cancel_requested, needs_upstream_cancel, chains: _, started: _ } = self;
        Transition { next, losses, cancel_requested, needs_upstream_cancel, cause, effects }
    }
}

fn require_running(execution: ExecutionSnapshot) -> Result<(), TransitionRefusal> {
    match execution.state {
        State::Running => Ok(()),
        State::Pending | State::Queued | State::Parked | State::Blocked => {
            Err(TransitionRefusal::NotRunning(execution.state))
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(execution.state))
        }
    }
}

fn promoted(execution: ExecutionSnapshot, beginning: Beginning) -> Result<Transition, TransitionRefusal> {
    match execution.state {
        State::Pending => Ok(execution.to(
            State::Queued,
            TransitionCause::Promoted,
            vec![Effect::Begin(beginning), Effect::EnterReady { not_before: None }, Effect::Record],
        )),
        State::Queued | State::Running | State::Parked | State::Blocked => {
            Err(TransitionRefusal::NotReady(execution.state))
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(execution.state))
        }
    }
}

fn granted(execution: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    match execution.state {
        State::Queued | State::Parked | State::Blocked => Ok(execution.to(
            State::Running,
            TransitionCause::Granted,
            vec![Effect::LeaveReady, Effect::OpenLease, Effect::Record],
        )),
        State::Running => Err(TransitionRefusal::AlreadyLeased),
        State::Pending => Err(TransitionRefusal::NotReady(execution.state)),
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(execution.state))
        }
    }
}

/// Ends an execution that no grant can start, so that it is not looked at for ever.
fn cannot_start(execution: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    match execution.state {
        State::Queued | State::Parked | State::Blocked => {
            Ok(end_unleased(execution, State::Failed, TransitionCause::CannotStart))
        }
        State::Running => Err(TransitionRefusal::AlreadyLeased),
        State::Pending => Err(TransitionRefusal::NotReady(execution.state)),
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(execution.state))
        }
    }
}

/// A terminal state, and whether a limit that the plan permits led to it.
#[derive(Clone, Copy)]
struct ExecutionEnd {
    state: State,
    at_limit: bool,
}

impl From<State> for ExecutionEnd {
    fn from(state: State) -> Self {
        Self { state, at_limit: false }
    }
}

impl ExecutionSnapshot {
    /// Returns the effect that an end has on the next execution, if it has any.
    fn next(self, end: ExecutionEnd) -> Option<Effect> {
        next_beginning(self.chains, self.started, end.state, end.at_limit).map(Effect::SetNext)
    }
}

/// Ends an execution that has a lease.
fn end_leased(
    execution: ExecutionSnapshot,
    end: impl Into<ExecutionEnd>,
    verdict: AttemptVerdict,
    cause: TransitionCause,
) -> Transition {
    let end = end.into();
    let mut effects = vec![Effect::CloseLease(verdict)];
    effects.extend(execution.next(end));
    effects.extend([Effect::PromoteNext, Effect::Announce, Effect::Record]);
    execution.to(end.state, cause, effects)
}

/// Returns an execution to the queue, unless a cancel is requested.
fn hand_back(
    execution: ExecutionSnapshot,
    next: State,
    verdict: AttemptVerdict,
    cause: TransitionCause,
    not_before: Option<DateTime<Utc>>,
) -> Transition {
    let (next, not_before) = match (execution.cancel_requested, execution.needs_upstream_cancel) {
        // No executor has it any more, so it ends here.
        (true, false) => return end_leased(execution, State::Cancelled, verdict, TransitionCause::Cancelled),
        // Only an executor can tell the upstream, so the next one gets it, at once.
        (true, true) => (State::Queued, None),
        (false, _) => (next, not_before),
    };
    execution.to(
        next,
        cause,
        vec![Effect::CloseLease(verdict), Effect::EnterReady { not_before }, Effect::Record],
    )
}

fn lost(execution: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    require_running(execution)?;
    let execution = ExecutionSnapshot { losses: execution.losses.saturating_add(1), ..execution };
    if execution.losses >= LOSSES_TO_DEAD_LETTER {
        // With a requested cancel it ends as cancelled, and leaves no dead letter behind.
        return Ok(if execution.cancel_requested {
            end_leased(execution, State::Cancelled, AttemptVerdict::LostHeartbeat, TransitionCause::Cancelled)
        } else {
            end_leased(execution, State::DeadLettered, AttemptVerdict::Poison, TransitionCause::Poison)
        });
    }
    Ok(hand_back(
        execution,
        State::Queued,
        AttemptVerdict::LostHeartbeat,
        TransitionCause::LostHeartbeat,
        None,
    ))
}

fn cancel_requested(execution: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    let execution = ExecutionSnapshot { cancel_requested: true, ..execution };
    match execution.state {
        State::Running => {
            Ok(execution.to(State::Running, TransitionCause::CancelRequested, vec![Effect::Record]))
        }
        // It leaves the queue and enters it again, because its place there may be in the future.
        State::Queued | State::Parked | State::Blocked if execution.needs_upstream_cancel => Ok(execution
            .to(
                State::Queued,
                TransitionCause::CancelRequested,
                vec![Effect::LeaveReady, Effect::EnterReady { not_before: None }, Effect::Record],
            )),
        State::Pending | State::Queued | State::Parked | State::Blocked => {
            Ok(end_unleased(execution, State::Cancelled, TransitionCause::Cancelled))
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(execution.state))
        }
    }
}

/// Ends an execution that has no lease.
fn end_unleased(execution: ExecutionSnapshot, end: State, cause: TransitionCause) -> Transition {
    let mut effects = Vec::new();
    if execution.state.is_ready() {
        effects.push(Effect::LeaveReady);
    }
    effects.extend(execution.next(end.into()));
    effects.extend([Effect::PromoteNext, Effect::Announce, Effect::Record]);
    execution.to(end, cause, effects)
}

fn overdue(execution: ExecutionSnapshot, limit: Overdue) -> Result<Transition, TransitionRefusal> {
    match limit {
        Overdue::Cancel => match execution.state {
            State::Running | State::Pending | State::Queued | State::Parked | State::Blocked
                if !execution.cancel_requested =>
            {
                Err(TransitionRefusal::NoCancelRequested)
            }
            State::Running => Ok(end_leased(
                execution,
                State::Cancelled,
                AttemptVerdict::Cancelled,
                TransitionCause::CancelOverdue,
            )),
            State::Pending | State::Queued | State::Parked | State::Blocked => {
                Ok(end_unleased(execution, State::Cancelled, TransitionCause::CancelOverdue))
            }
            State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
                Err(TransitionRefusal::Terminal(execution.state))
            }
        },
        Overdue::ExecutionTime => {
            require_running(execution)?;
            Ok(end_leased(execution, State::Failed, AttemptVerdict::Expired, TransitionCause::TimeLimit))
        }
        Overdue::RunAge => match execution.state {
            State::Running => {
                Ok(end_leased(execution, State::Failed, AttemptVerdict::Expired, TransitionCause::RunAge))
            }
            State::Pending | State::Queued | State::Parked | State::Blocked => {
                Ok(end_unleased(execution, State::Failed, TransitionCause::RunAge))
            }
            State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
                Err(TransitionRefusal::Terminal(execution.state))
            }
        },
    }
}
