use chrono::DateTime;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    AttemptVerdict, Effect, ExecutionEvent, ExecutionSnapshot, Origin, Outcome, Overdue, ReleaseReason,
    State, Transition, TransitionCause, TransitionRefusal, create, decide,
};

const RUNNING: ExecutionSnapshot =
    ExecutionSnapshot { state: State::Running, losses: 0, cancel_requested: false, must_cancel: false };

fn in_state(state: State) -> ExecutionSnapshot {
    ExecutionSnapshot { state, ..RUNNING }
}

fn any_event() -> impl Strategy<Value = ExecutionEvent> {
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    prop_oneof![
        Just(ExecutionEvent::Promoted),
        Just(ExecutionEvent::Granted),
        any::<bool>().prop_map(|must_cancel| ExecutionEvent::CheckpointAccepted { must_cancel }),
        (0..4_usize).prop_map(|at| ExecutionEvent::Completed(Outcome::ALL[at])),
        Just(ExecutionEvent::Parked { not_before }),
        (0..3_usize).prop_map(|at| ExecutionEvent::Released(ReleaseReason::ALL[at])),
        Just(ExecutionEvent::Lost),
        Just(ExecutionEvent::CancelRequested),
        (0..3_usize).prop_map(|at| ExecutionEvent::Overdue(Overdue::ALL[at])),
    ]
}

/// What the tables would hold.
#[derive(Debug, Default, PartialEq)]
struct Rows {
    ready: u32,
    leases: u32,
    announcements: u32,
    turns_passed: u32,
}

impl Rows {
    fn apply(&mut self, transition: &Transition) {
        for effect in &transition.effects {
            match effect {
                Effect::EnterReady { .. } => self.ready += 1,
                Effect::LeaveReady => self.ready -= 1,
                Effect::OpenLease => self.leases += 1,
                Effect::CloseLease(_) => self.leases -= 1,
                Effect::PromoteNext => self.turns_passed += 1,
                Effect::Announce => self.announcements += 1,
                Effect::Record => {}
            }
        }
    }
}

#[test]
fn a_run_behind_another_waits_unless_it_persists_nothing() {
    assert_eq!(create(Origin::Schedule, true, true).next, State::Pending);
    assert_eq!(create(Origin::Schedule, true, false).next, State::Queued);
    assert_eq!(create(Origin::Trigger, false, true).next, State::Queued);
    assert_eq!(create(Origin::Trigger, false, false).cause, TransitionCause::Triggered);
}

#[test]
fn the_third_loss_without_a_checkpoint_is_poison() {
    let mut run = RUNNING;
    for (losses, next) in [(1, State::Queued), (2, State::Queued), (3, State::DeadLettered)] {
        let transition = decide(run, ExecutionEvent::Lost).unwrap();
        assert_eq!((transition.losses, transition.next), (losses, next));
        run = ExecutionSnapshot { losses: transition.losses, ..RUNNING };
    }
    let transition = decide(ExecutionSnapshot { losses: 2, ..RUNNING }, ExecutionEvent::Lost).unwrap();
    assert!(transition.effects.contains(&Effect::CloseLease(AttemptVerdict::Poison)));
}

#[test]
fn an_accepted_checkpoint_forgives_losses() {
    let transition = decide(
        ExecutionSnapshot { losses: 2, ..RUNNING },
        ExecutionEvent::CheckpointAccepted { must_cancel: false },
    )
    .unwrap();
    assert_eq!((transition.losses, transition.next), (0, State::Running));
}

#[test]
fn handing_back_costs_nothing() {
    for reason in ReleaseReason::ALL {
        let transition =
            decide(ExecutionSnapshot { losses: 2, ..RUNNING }, ExecutionEvent::Released(*reason)).unwrap();
        assert_eq!((transition.losses, transition.next), (2, State::Queued), "{reason}");
    }
}

#[test]
fn a_cancel_ends_at_once_what_nobody_has_and_waits_for_what_runs() {
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
fn a_run_to_be_cancelled_ends_wherever_it_leaves_its_executor() {
    let run = ExecutionSnapshot { cancel_requested: true, losses: 2, ..RUNNING };
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    for event in [
        ExecutionEvent::Lost,
        ExecutionEvent::Released(ReleaseReason::Drained),
        ExecutionEvent::Parked { not_before },
        ExecutionEvent::Overdue(Overdue::Cancel),
    ] {
        assert_eq!(decide(run, event).unwrap().next, State::Cancelled, "{event:?}");
    }
    assert_eq!(decide(run, ExecutionEvent::Completed(Outcome::Succeeded)).unwrap().next, State::Succeeded);
    assert_eq!(
        decide(RUNNING, ExecutionEvent::Overdue(Overdue::Cancel)),
        Err(TransitionRefusal::NoCancelRequested)
    );
}

/// Parked while its upstream works for it.
const WAITING: ExecutionSnapshot = ExecutionSnapshot { state: State::Parked, must_cancel: true, ..RUNNING };

#[test]
fn a_checkpoint_says_whether_an_upstream_works_for_the_run() {
    let save = |run, must_cancel| decide(run, ExecutionEvent::CheckpointAccepted { must_cancel }).unwrap();
    let submitted = RUNNING.after(&save(RUNNING, true));
    assert_eq!((submitted.state, submitted.must_cancel), (State::Running, true));
    assert!(!save(submitted, false).must_cancel, "the job is done");
    // Nothing else changes it: a run that is lost still has its job there.
    let granted = decide(WAITING, ExecutionEvent::Granted).unwrap();
    assert!(granted.must_cancel);
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    for event in [
        ExecutionEvent::Lost,
        ExecutionEvent::Released(ReleaseReason::Drained),
        ExecutionEvent::Parked { not_before },
    ] {
        assert!(
            decide(ExecutionSnapshot { must_cancel: true, ..RUNNING }, event).unwrap().must_cancel,
            "{event:?}"
        );
    }
}

#[test]
fn a_cancel_of_a_run_whose_upstream_works_for_it_queues_it_at_once() {
    for state in [State::Queued, State::Parked, State::Blocked] {
        let transition =
            decide(ExecutionSnapshot { state, ..WAITING }, ExecutionEvent::CancelRequested).unwrap();
        assert_eq!(
            (transition.next, transition.cancel_requested, transition.must_cancel),
            (State::Queued, true, true)
        );
        // Its place in the queue is a new one, to be taken now.
        assert_eq!(
            transition.effects,
            [Effect::LeaveReady, Effect::EnterReady { not_before: None }, Effect::Record],
            "{state}"
        );
    }
    let pending =
        decide(ExecutionSnapshot { state: State::Pending, ..WAITING }, ExecutionEvent::CancelRequested)
            .unwrap();
    assert_eq!(pending.next, State::Cancelled, "one that never began has no job anywhere");
    let cancelling = ExecutionSnapshot { state: State::Queued, cancel_requested: true, ..WAITING };
    assert_eq!(decide(cancelling, ExecutionEvent::Granted).unwrap().next, State::Running);
}

#[test]
fn whoever_has_a_run_that_must_tell_its_upstream_hands_it_to_the_next() {
    let run = ExecutionSnapshot { cancel_requested: true, must_cancel: true, ..RUNNING };
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    // A cancel that met a park, a grant that never arrived, an executor that drains or is gone.
    for event in [
        ExecutionEvent::Parked { not_before },
        ExecutionEvent::Released(ReleaseReason::NeverStarted),
        ExecutionEvent::Released(ReleaseReason::Drained),
        ExecutionEvent::Lost,
    ] {
        let transition = decide(run, event).unwrap();
        assert_eq!((transition.next, transition.cancel_requested), (State::Queued, true), "{event:?}");
        assert!(transition.effects.contains(&Effect::EnterReady { not_before: None }), "{event:?}");
    }
    let told = decide(ExecutionSnapshot { must_cancel: false, ..run }, ExecutionEvent::Parked { not_before })
        .unwrap();
    assert_eq!(told.next, State::Cancelled);
    assert_eq!(decide(run, ExecutionEvent::Completed(Outcome::Cancelled)).unwrap().next, State::Cancelled);
    let lost_too_often = decide(ExecutionSnapshot { losses: 2, ..run }, ExecutionEvent::Lost).unwrap();
    assert_eq!(lost_too_often.next, State::Cancelled, "it was asked for, so it is no poison");
}

#[test]
fn a_cancel_that_nobody_carried_out_in_time_ends_the_run_wherever_it_is() {
    for state in [State::Running, State::Queued] {
        let run = ExecutionSnapshot { state, cancel_requested: true, ..WAITING };
        let transition = decide(run, ExecutionEvent::Overdue(Overdue::Cancel)).unwrap();
        assert_eq!(
            (transition.next, transition.cause),
            (State::Cancelled, TransitionCause::CancelOverdue),
            "{state}"
        );
    }
    for state in [State::Running, State::Queued, State::Parked] {
        let run = ExecutionSnapshot { state, ..WAITING };
        assert_eq!(
            decide(run, ExecutionEvent::Overdue(Overdue::Cancel)),
            Err(TransitionRefusal::NoCancelRequested),
            "{state}"
        );
    }
}

#[test]
fn a_run_past_its_time_fails() {
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
fn names_read_back() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse::<State>().as_ref(), Ok(state));
    }
    assert_eq!("done".parse::<State>().unwrap_err().to_string(), "unknown execution state \"done\"");
}

proptest! {
    #[test]
    fn rows_always_match_the_state(persists in any::<bool>(), behind in any::<bool>(), events in vec(any_event(), 0..40)) {
        let created = create(Origin::Trigger, persists, behind);
        let mut rows = Rows::default();
        rows.apply(&created);
        let mut run = ExecutionSnapshot { state: created.next, losses: 0, cancel_requested: false, must_cancel: false };
        for event in events {
            let terminal = run.state.is_terminal();
            match decide(run, event) {
                Ok(transition) => {
                    prop_assert!(!terminal, "{event:?} moved {run:?}");
                    rows.apply(&transition);
                    prop_assert!(transition.cancel_requested || !run.cancel_requested, "a cancel was forgotten");
                    run = run.after(&transition);
                }
                Err(TransitionRefusal::Terminal(state)) => prop_assert_eq!(state, run.state),
                Err(_) => prop_assert!(!terminal),
            }
            prop_assert_eq!(rows.ready, u32::from(run.state.is_ready()));
            prop_assert_eq!(rows.leases, u32::from(run.state == State::Running));
            prop_assert_eq!(rows.announcements, u32::from(run.state.is_terminal()));
            prop_assert_eq!(rows.turns_passed, u32::from(run.state.is_terminal()));
            prop_assert!(run.losses < super::LOSSES_TO_DEAD_LETTER || run.state.is_terminal());
        }
    }
}
