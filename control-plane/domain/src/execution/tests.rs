use chrono::DateTime;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    AttemptVerdict, Beginning, Effect, ExecutionEvent, ExecutionSnapshot, NewRun, NextBeginning, Origin,
    Outcome, Overdue, ReleaseReason, State, Transition, TransitionCause, TransitionRefusal, create, decide,
};

const RUNNING: ExecutionSnapshot = ExecutionSnapshot {
    state: State::Running,
    losses: 0,
    cancel_requested: false,
    needs_upstream_cancel: false,
    chains: true,
    started: true,
};

fn created(origin: Origin, persists: bool, another_active: bool) -> Transition {
    create(NewRun { origin, persists, beginning: Beginning::Fresh }, another_active)
}

fn completed(outcome: Outcome) -> ExecutionEvent {
    ExecutionEvent::Completed { outcome, at_limit: false }
}

fn in_state(state: State) -> ExecutionSnapshot {
    ExecutionSnapshot { state, ..RUNNING }
}

fn any_event() -> impl Strategy<Value = ExecutionEvent> {
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    prop_oneof![
        Just(ExecutionEvent::Promoted(Beginning::Fresh)),
        Just(ExecutionEvent::Granted),
        any::<bool>()
            .prop_map(|needs_upstream_cancel| ExecutionEvent::CheckpointAccepted { needs_upstream_cancel }),
        (0..4_usize, any::<bool>())
            .prop_map(|(at, at_limit)| ExecutionEvent::Completed { outcome: Outcome::ALL[at], at_limit }),
        Just(ExecutionEvent::Parked { not_before }),
        (0..3_usize).prop_map(|at| ExecutionEvent::Released(ReleaseReason::ALL[at])),
        Just(ExecutionEvent::Lost),
        Just(ExecutionEvent::CancelRequested),
        (0..3_usize).prop_map(|at| ExecutionEvent::Overdue(Overdue::ALL[at])),
        Just(ExecutionEvent::CannotStart),
    ]
}

/// The rows that the tables would hold.
#[derive(Debug, Default, PartialEq)]
struct TableRows {
    ready: u32,
    leases: u32,
    announcements: u32,
    promotions: u32,
}

impl TableRows {
    fn apply(&mut self, transition: &Transition) {
        for effect in &transition.effects {
            match effect {
                Effect::EnterReady { .. } => self.ready += 1,
                Effect::LeaveReady => self.ready -= 1,
                Effect::OpenLease => self.leases += 1,
                Effect::CloseLease(_) => self.leases -= 1,
                Effect::PromoteNext => self.promotions += 1,
                Effect::Announce => self.announcements += 1,
                Effect::Record | Effect::Begin(_) | Effect::SetNext(_) => {}
            }
        }
    }
}

#[test]
fn execution_behind_another_waits_unless_it_saves_nothing() {
    assert_eq!(created(Origin::Schedule, true, true).next, State::Pending);
    assert_eq!(created(Origin::Schedule, true, false).next, State::Queued);
    assert_eq!(created(Origin::Trigger, false, true).next, State::Queued);
    assert_eq!(created(Origin::Trigger, false, false).cause, TransitionCause::Triggered);
}

#[test]
fn third_loss_without_a_checkpoint_is_poison() {
    let mut execution = RUNNING;
    for (losses, next) in [(1, State::Queued), (2, State::Queued), (3, State::DeadLettered)] {
        let transition = decide(execution, ExecutionEvent::Lost).unwrap();
        assert_eq!((transition.losses, transition.next), (losses, next));
        execution = ExecutionSnapshot { losses: transition.losses, ..RUNNING };
    }
    let transition = decide(ExecutionSnapshot { losses: 2, ..RUNNING }, ExecutionEvent::Lost).unwrap();
    assert!(transition.effects.contains(&Effect::CloseLease(AttemptVerdict::Poison)));
}

#[test]
fn accepted_checkpoint_forgives_losses() {
    let transition = decide(
        ExecutionSnapshot { losses: 2, ..RUNNING },
        ExecutionEvent::CheckpointAccepted { needs_upstream_cancel: false },
    )
    .unwrap();
    assert_eq!((transition.losses, transition.next), (0, State::Running));
}

#[test]
fn handing_back_counts_no_loss() {
    for reason in ReleaseReason::ALL {
        let transition =
            decide(ExecutionSnapshot { losses: 2, ..RUNNING }, ExecutionEvent::Released(*reason)).unwrap();
        assert_eq!((transition.losses, transition.next), (2, State::Queued), "{reason}");
    }
}

#[test]
fn cancel_ends_waiting_executions_at_once_but_not_running_ones() {
    for state in [State::Pending, State::Queued, State::Parked, State::Blocked] {
        assert_eq!(
            decide(in_state(state), ExecutionEvent::CancelRequested).unwrap().next,
            State::Cancelled,
            "{state}"
        );
    }
    let transition = decide(RUNNING, ExecutionEvent::CancelRequested).unwrap();
    assert_eq!((transition.next, transition.cancel_requested), (State::Running, true));
}

#[test]
fn cancelled_execution_ends_when_it_leaves_its_executor() {
    let execution = ExecutionSnapshot { cancel_requested: true, losses: 2, ..RUNNING };
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    for event in [
        ExecutionEvent::Lost,
        ExecutionEvent::Released(ReleaseReason::Drained),
        ExecutionEvent::Parked { not_before },
        ExecutionEvent::Overdue(Overdue::Cancel),
    ] {
        assert_eq!(decide(execution, event).unwrap().next, State::Cancelled, "{event:?}");
    }
    assert_eq!(decide(execution, completed(Outcome::Succeeded)).unwrap().next, State::Succeeded);
    assert_eq!(
        decide(RUNNING, ExecutionEvent::Overdue(Overdue::Cancel)),
        Err(TransitionRefusal::NoCancelRequested)
    );
}

/// A parked execution whose upstream works for it.
const WAITING: ExecutionSnapshot =
    ExecutionSnapshot { state: State::Parked, needs_upstream_cancel: true, ..RUNNING };

#[test]
fn checkpoint_sets_whether_an_upstream_works() {
    let save = |execution, needs_upstream_cancel| {
        decide(execution, ExecutionEvent::CheckpointAccepted { needs_upstream_cancel }).unwrap()
    };
    let submitted = RUNNING.after(&save(RUNNING, true));
    assert_eq!((submitted.state, submitted.needs_upstream_cancel), (State::Running, true));
    assert!(!save(submitted, false).needs_upstream_cancel, "the upstream has finished");
    // Nothing else changes it: the upstream still works for a lost execution.
    let granted = decide(WAITING, ExecutionEvent::Granted).unwrap();
    assert!(granted.needs_upstream_cancel);
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    for event in [
        ExecutionEvent::Lost,
        ExecutionEvent::Released(ReleaseReason::Drained),
        ExecutionEvent::Parked { not_before },
    ] {
        assert!(
            decide(ExecutionSnapshot { needs_upstream_cancel: true, ..RUNNING }, event)
                .unwrap()
                .needs_upstream_cancel,
            "{event:?}"
        );
    }
}

#[test]
fn cancel_with_a_working_upstream_queues_at_once() {
    for state in [State::Queued, State::Parked, State::Blocked] {
        let transition =
            decide(ExecutionSnapshot { state, ..WAITING }, ExecutionEvent::CancelRequested).unwrap();
        assert_eq!(
            (transition.next, transition.cancel_requested, transition.needs_upstream_cancel),
            (State::Queued, true, true)
        );
        // It gets a new place in the queue, from which it can be taken now.
        assert_eq!(
            transition.effects,
            [Effect::LeaveReady, Effect::EnterReady { not_before: None }, Effect::Record],
            "{state}"
        );
    }
    let pending =
        decide(ExecutionSnapshot { state: State::Pending, ..WAITING }, ExecutionEvent::CancelRequested)
            .unwrap();
    assert_eq!(pending.next, State::Cancelled, "it never started, so no upstream works for it");
    let cancelling = ExecutionSnapshot { state: State::Queued, cancel_requested: true, ..WAITING };
    assert_eq!(decide(cancelling, ExecutionEvent::Granted).unwrap().next, State::Running);
}

#[test]
fn execution_that_must_tell_its_upstream_goes_to_the_next() {
    let execution = ExecutionSnapshot { cancel_requested: true, needs_upstream_cancel: true, ..RUNNING };
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    // A cancel that races with a park, a grant that never arrived, an executor that drains or is
    // gone.
    for event in [
        ExecutionEvent::Parked { not_before },
        ExecutionEvent::Released(ReleaseReason::NeverStarted),
        ExecutionEvent::Released(ReleaseReason::Drained),
        ExecutionEvent::Lost,
    ] {
        let transition = decide(execution, event).unwrap();
        assert_eq!((transition.next, transition.cancel_requested), (State::Queued, true), "{event:?}");
        assert!(transition.effects.contains(&Effect::EnterReady { not_before: None }), "{event:?}");
    }
    let told = decide(
        ExecutionSnapshot { needs_upstream_cancel: false, ..execution },
        ExecutionEvent::Parked { not_before },
    )
    .unwrap();
    assert_eq!(told.next, State::Cancelled);
    assert_eq!(decide(execution, completed(Outcome::Cancelled)).unwrap().next, State::Cancelled);
    let lost_too_often = decide(ExecutionSnapshot { losses: 2, ..execution }, ExecutionEvent::Lost).unwrap();
    assert_eq!(lost_too_often.next, State::Cancelled, "a cancel was requested, so it is no poison");
}

#[test]
fn overdue_cancel_ends_the_execution_in_any_state() {
    for state in [State::Running, State::Queued] {
        let execution = ExecutionSnapshot { state, cancel_requested: true, ..WAITING };
        let transition = decide(execution, ExecutionEvent::Overdue(Overdue::Cancel)).unwrap();
        assert_eq!(
            (transition.next, transition.cause),
            (State::Cancelled, TransitionCause::CancelOverdue),
            "{state}"
        );
    }
    for state in [State::Running, State::Queued, State::Parked] {
        let execution = ExecutionSnapshot { state, ..WAITING };
        assert_eq!(
            decide(execution, ExecutionEvent::Overdue(Overdue::Cancel)),
            Err(TransitionRefusal::NoCancelRequested),
            "{state}"
        );
    }
}

#[test]
fn execution_that_cannot_start_fails_unless_an_executor_has_it() {
    for state in State::ALL.iter().filter(|state| !state.is_terminal()) {
        let decided = decide(in_state(*state), ExecutionEvent::CannotStart);
        let expected = match state {
            State::Running => Err(TransitionRefusal::AlreadyLeased),
            State::Pending => Err(TransitionRefusal::NotReady(State::Pending)),
            _ => Ok(State::Failed),
        };
        assert_eq!(decided.map(|transition| transition.next), expected, "{state}");
    }
}

#[test]
fn execution_past_its_time_limit_fails() {
    assert_eq!(decide(RUNNING, ExecutionEvent::Overdue(Overdue::ExecutionTime)).unwrap().next, State::Failed);
    assert_eq!(
        decide(in_state(State::Parked), ExecutionEvent::Overdue(Overdue::ExecutionTime)),
        Err(TransitionRefusal::NotRunning(State::Parked))
    );
    for state in State::ALL.iter().filter(|state| !state.is_terminal()) {
        assert_eq!(
            decide(in_state(*state), ExecutionEvent::Overdue(Overdue::RunAge)).unwrap().next,
            State::Failed,
            "{state}"
        );
    }
}

#[test]
fn end_at_a_limit_makes_the_next_execution_continue() {
    let event = ExecutionEvent::Completed { outcome: Outcome::Succeeded, at_limit: true };
    let next = |execution, event| {
        let effects = decide(execution, event).unwrap().effects;
        let found = effects.iter().find_map(|effect| match effect {
            Effect::SetNext(next) => Some(*next),
            _ => None,
        });
        // The next execution is promoted after its beginning is known.
        let promoted = effects.iter().position(|effect| *effect == Effect::PromoteNext).unwrap();
        let set = effects.iter().position(|effect| matches!(effect, Effect::SetNext(_)));
        assert!(set.is_none_or(|set| set < promoted));
        found
    };
    assert_eq!(next(RUNNING, event), Some(NextBeginning::Continues));
    assert_eq!(next(RUNNING, completed(Outcome::Succeeded)), Some(NextBeginning::Fresh));
    assert_eq!(next(RUNNING, completed(Outcome::Failed)), Some(NextBeginning::Fresh));
    assert_eq!(next(ExecutionSnapshot { chains: false, ..RUNNING }, event), None);
    let pending = ExecutionSnapshot { started: false, ..in_state(State::Pending) };
    assert_eq!(next(pending, ExecutionEvent::CancelRequested), None, "the chain goes on without it");
}

#[test]
fn stored_names_parse_back() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse::<State>().as_ref(), Ok(state));
    }
    assert_eq!("done".parse::<State>().unwrap_err().to_string(), "unknown execution state \"done\"");
}

proptest! {
    #[test]
    fn rows_always_match_the_state(persists in any::<bool>(), behind in any::<bool>(), events in vec(any_event(), 0..40)) {
        let created = created(Origin::Trigger, persists, behind);
        let mut rows = TableRows::default();
        rows.apply(&created);
        let mut execution = ExecutionSnapshot { state: created.next, losses: 0, cancel_requested: false, needs_upstream_cancel: false, chains: true, started: false };
        for event in events {
            let terminal = execution.state.is_terminal();
            match decide(execution, event) {
                Ok(transition) => {
                    prop_assert!(!terminal, "{event:?} moved {execution:?}");
                    rows.apply(&transition);
                    prop_assert!(transition.cancel_requested || !execution.cancel_requested, "the cancel request was dropped");
                    execution = execution.after(&transition);
                }
                Err(TransitionRefusal::Terminal(state)) => prop_assert_eq!(state, execution.state),
                Err(_) => prop_assert!(!terminal),
            }
            prop_assert_eq!(rows.ready, u32::from(execution.state.is_ready()));
            prop_assert_eq!(rows.leases, u32::from(execution.state == State::Running));
            prop_assert_eq!(rows.announcements, u32::from(execution.state.is_terminal()));
            prop_assert_eq!(rows.promotions, u32::from(execution.state.is_terminal()));
            prop_assert!(execution.losses < super::LOSSES_TO_DEAD_LETTER || execution.state.is_terminal());
        }
    }
}
