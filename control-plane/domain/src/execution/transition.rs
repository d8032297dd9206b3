//! What an event does to a run. Every match names every state: a new one does not compile until somebody has decided.

use chrono::{DateTime, Utc};

use super::state::{AttemptVerdict, Outcome, Overdue, ReleaseReason, State, TransitionCause};
use super::{LOSSES_TO_DEAD_LETTER, Origin};

/// What a decision looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionSnapshot {
    /// Where it is.
    pub state: State,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
    /// A cancel was asked for.
    pub cancel_requested: bool,
    /// An upstream works for it: a cancel has to tell it that nobody waits any more.
    pub must_cancel: bool,
}

/// What happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionEvent {
    /// The run before it ended, and it is the oldest that waits.
    Promoted,
    /// An executor takes it.
    Granted,
    /// Its executor saved progress.
    CheckpointAccepted {
        /// An upstream works for the run at that place.
        must_cancel: bool,
    },
    /// Its executor ended it.
    Completed(Outcome),
    /// Its executor hands it back until a time.
    Parked {
        /// When it may go on.
        not_before: DateTime<Utc>,
    },
    /// Its executor hands it back at once, or never began it.
    Released(ReleaseReason),
    /// Its executor's session is gone.
    Lost,
    /// Somebody asks to cancel it.
    CancelRequested,
    /// A limit of time has passed.
    Overdue(Overdue),
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state that it enters; may be the one it is in.
    pub next: State,
    /// Losses from now on.
    pub losses: u32,
    /// Whether a cancel is asked for from now on.
    pub cancel_requested: bool,
    /// Whether an upstream works for it from now on.
    pub must_cancel: bool,
    /// Why.
    pub cause: TransitionCause,
    /// What else belongs to it, in one transaction.
    pub effects: Vec<Effect>,
}

/// What belongs to a transition beside the run's own row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A `ready` row is inserted.
    EnterReady {
        /// Not to be granted before.
        not_before: Option<DateTime<Utc>>,
    },
    /// The `ready` row is deleted.
    LeaveReady,
    /// A lease and an attempt are inserted.
    OpenLease,
    /// The lease is deleted, and the attempt's row says how it ended.
    CloseLease(AttemptVerdict),
    /// The next run of its plan and config gets its turn, and its schedule moves on where it was the schedule's.
    PromoteNext,
    /// `execution.completed` is announced.
    Announce,
    /// A row of history is written.
    Record,
}

/// Why an event cannot happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefusal {
    /// It has ended; the first end stands.
    #[error("the execution has ended as {0}")]
    Terminal(State),
    /// Only a leased run can do that.
    #[error("the execution is {0}, not running")]
    NotRunning(State),
    /// Another executor has it.
    #[error("the execution is leased already")]
    AlreadyLeased,
    /// It waits behind another run, or is past waiting.
    #[error("the execution is {0}, not ready")]
    NotReady(State),
    /// Nobody asked to cancel it.
    #[error("no cancel was asked for")]
    NoCancelRequested,
}

/// How a run begins: behind another, or at once. A run that persists nothing waits behind none.
pub fn create(origin: Origin, persists: bool, another_going: bool) -> Transition {
    let cause = match origin {
        Origin::Schedule => TransitionCause::Scheduled,
        Origin::Trigger | Origin::Retry | Origin::Replay => TransitionCause::Triggered,
    };
    let (next, cause, effects) = if persists && another_going {
        (State::Pending, TransitionCause::BehindActive, vec![Effect::Record])
    } else {
        (State::Queued, cause, vec![Effect::EnterReady { not_before: None }, Effect::Record])
    };
    Transition { next, losses: 0, cancel_requested: false, must_cancel: false, cause, effects }
}

/// What an event does to a run.
///
/// # Errors
/// The event cannot happen to a run in this state.
pub fn decide(run: ExecutionSnapshot, event: ExecutionEvent) -> Result<Transition, TransitionRefusal> {
    match event {
        ExecutionEvent::Promoted => turn_came(run),
        ExecutionEvent::Granted => granted(run),
        ExecutionEvent::CheckpointAccepted { must_cancel } => {
            must_run(run)?;
            let run = ExecutionSnapshot { must_cancel, ..run };
            Ok(Transition { losses: 0, ..run.to(State::Running, TransitionCause::Checkpoint, vec![]) })
        }
        ExecutionEvent::Completed(outcome) => {
            must_run(run)?;
            let verdict = match outcome {
                Outcome::Succeeded | Outcome::Failed | Outcome::Aborted => AttemptVerdict::Completed,
                Outcome::Cancelled => AttemptVerdict::Cancelled,
            };
            Ok(end_leased(run, outcome.state(), verdict, TransitionCause::Completed))
        }
        ExecutionEvent::Parked { not_before } => {
            must_run(run)?;
            Ok(hand_back(
                run,
                State::Parked,
                AttemptVerdict::Parked,
                TransitionCause::Parked,
                Some(not_before),
            ))
        }
        ExecutionEvent::Released(reason) => {
            must_run(run)?;
            let cause = match reason {
                ReleaseReason::Drained => TransitionCause::Drained,
                ReleaseReason::SelfFenced => TransitionCause::SelfFenced,
                ReleaseReason::NeverStarted => TransitionCause::NeverStarted,
            };
            Ok(hand_back(run, State::Queued, reason.verdict(), cause, None))
        }
        ExecutionEvent::Lost => lost(run),
        ExecutionEvent::CancelRequested => cancel_requested(run),
        ExecutionEvent::Overdue(limit) => overdue(run, limit),
    }
}

impl ExecutionSnapshot {
    /// The run as a transition leaves it.
    #[must_use]
    pub fn after(self, transition: &Transition) -> Self {
        let Transition { next, losses, cancel_requested, must_cancel, cause: _, effects: _ } = transition;
        Self { state: *next, losses: *losses, cancel_requested: *cancel_requested, must_cancel: *must_cancel }
    }

    fn to(self, next: State, cause: TransitionCause, effects: Vec<Effect>) -> Transition {
        let Self { state: _, losses, cancel_requested, must_cancel } = self;
        Transition { next, losses, cancel_requested, must_cancel, cause, effects }
    }
}

fn must_run(run: ExecutionSnapshot) -> Result<(), TransitionRefusal> {
    match run.state {
        State::Running => Ok(()),
        State::Pending | State::Queued | State::Parked | State::Blocked => {
            Err(TransitionRefusal::NotRunning(run.state))
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(run.state))
        }
    }
}

fn turn_came(run: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    match run.state {
        State::Pending => Ok(run.to(
            State::Queued,
            TransitionCause::Promoted,
            vec![Effect::EnterReady { not_before: None }, Effect::Record],
        )),
        State::Queued | State::Running | State::Parked | State::Blocked => {
            Err(TransitionRefusal::NotReady(run.state))
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(run.state))
        }
    }
}

fn granted(run: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    match run.state {
        State::Queued | State::Parked | State::Blocked => Ok(run.to(
            State::Running,
            TransitionCause::Granted,
            vec![Effect::LeaveReady, Effect::OpenLease, Effect::Record],
        )),
        State::Running => Err(TransitionRefusal::AlreadyLeased),
        State::Pending => Err(TransitionRefusal::NotReady(run.state)),
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(run.state))
        }
    }
}

/// The end of a run that an executor has.
fn end_leased(
    run: ExecutionSnapshot,
    end: State,
    verdict: AttemptVerdict,
    cause: TransitionCause,
) -> Transition {
    run.to(
        end,
        cause,
        vec![Effect::CloseLease(verdict), Effect::PromoteNext, Effect::Announce, Effect::Record],
    )
}

/// Back to the queue. A run that is to be cancelled ends here instead, since nobody has it any more; only where an upstream has to
/// be told of it, the next executor gets it for that, at once.
fn hand_back(
    run: ExecutionSnapshot,
    next: State,
    verdict: AttemptVerdict,
    cause: TransitionCause,
    not_before: Option<DateTime<Utc>>,
) -> Transition {
    let (next, not_before) = match (run.cancel_requested, run.must_cancel) {
        (true, false) => return end_leased(run, State::Cancelled, verdict, TransitionCause::Cancelled),
        (true, true) => (State::Queued, None),
        (false, _) => (next, not_before),
    };
    run.to(next, cause, vec![Effect::CloseLease(verdict), Effect::EnterReady { not_before }, Effect::Record])
}

fn lost(run: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    must_run(run)?;
    let run = ExecutionSnapshot { losses: run.losses.saturating_add(1), ..run };
    if run.losses >= LOSSES_TO_DEAD_LETTER {
        return Ok(if run.cancel_requested {
            end_leased(run, State::Cancelled, AttemptVerdict::LostHeartbeat, TransitionCause::Cancelled)
        } else {
            end_leased(run, State::DeadLettered, AttemptVerdict::Poison, TransitionCause::Poison)
        });
    }
    Ok(hand_back(run, State::Queued, AttemptVerdict::LostHeartbeat, TransitionCause::LostHeartbeat, None))
}

fn cancel_requested(run: ExecutionSnapshot) -> Result<Transition, TransitionRefusal> {
    let run = ExecutionSnapshot { cancel_requested: true, ..run };
    match run.state {
        State::Running => Ok(run.to(State::Running, TransitionCause::CancelRequested, vec![Effect::Record])),
        State::Queued | State::Parked | State::Blocked if run.must_cancel => Ok(run.to(
            State::Queued,
            TransitionCause::CancelRequested,
            vec![Effect::LeaveReady, Effect::EnterReady { not_before: None }, Effect::Record],
        )),
        State::Pending | State::Queued | State::Parked | State::Blocked => {
            Ok(end_unleased(run, State::Cancelled, TransitionCause::Cancelled))
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Err(TransitionRefusal::Terminal(run.state))
        }
    }
}

/// The end of a run that nobody has.
fn end_unleased(run: ExecutionSnapshot, end: State, cause: TransitionCause) -> Transition {
    let mut effects = vec![Effect::PromoteNext, Effect::Announce, Effect::Record];
    if run.state.is_ready() {
        effects.insert(0, Effect::LeaveReady);
    }
    run.to(end, cause, effects)
}

fn overdue(run: ExecutionSnapshot, limit: Overdue) -> Result<Transition, TransitionRefusal> {
    match limit {
        Overdue::Cancel => match run.state {
            State::Running | State::Pending | State::Queued | State::Parked | State::Blocked
                if !run.cancel_requested =>
            {
                Err(TransitionRefusal::NoCancelRequested)
            }
            State::Running => Ok(end_leased(
                run,
                State::Cancelled,
                AttemptVerdict::Cancelled,
                TransitionCause::CancelOverdue,
            )),
            State::Pending | State::Queued | State::Parked | State::Blocked => {
                Ok(end_unleased(run, State::Cancelled, TransitionCause::CancelOverdue))
            }
            State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
                Err(TransitionRefusal::Terminal(run.state))
            }
        },
        Overdue::ExecutionTime => {
            must_run(run)?;
            Ok(end_leased(run, State::Failed, AttemptVerdict::Expired, TransitionCause::TimeLimit))
        }
        Overdue::RunAge => match run.state {
            State::Running => {
                Ok(end_leased(run, State::Failed, AttemptVerdict::Expired, TransitionCause::RunAge))
            }
            State::Pending | State::Queued | State::Parked | State::Blocked => {
                Ok(end_unleased(run, State::Failed, TransitionCause::RunAge))
            }
            State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
                Err(TransitionRefusal::Terminal(run.state))
            }
        },
    }
}
