use chrono::DateTime;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    AttemptVerdict, Cause, Effect, Event, Origin, Outcome, Overdue, Refusal, ReleaseReason, Run, State,
    Transition, create, decide,
};

const RUNNING: Run = Run { state: State::Running, losses: 0, cancel_requested: false, must_cancel: false };

fn in_state(state: State) -> Run {
    Run { state, ..RUNNING }
}

fn any_event() -> impl Strategy<Value = Event> {
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    prop_oneof![
        Just(Event::TurnCame),
        Just(Event::Granted),
        any::<bool>().prop_map(|must_cancel| Event::CheckpointAccepted { must_cancel }),
        (0..4_usize).prop_map(|at| Event::Completed(Outcome::ALL[at])),
        Just(Event::Parked { not_before }),
        (0..3_usize).prop_map(|at| Event::Released(ReleaseReason::ALL[at])),
        Just(Event::Lost),
        Just(Event::CancelRequested),
        (0..3_usize).prop_map(|at| Event::Overdue(Overdue::ALL[at])),
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
                Effect::PassTurn => self.turns_passed += 1,
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
    assert_eq!(create(Origin::Trigger, false, false).cause, Cause::Triggered);
}

#[test]
fn the_third_loss_without_a_checkpoint_is_poison() {
    let mut run = RUNNING;
    for (losses, next) in [(1, State::Queued), (2, State::Queued), (3, State::DeadLettered)] {
        let transition = decide(run, Event::Lost).unwrap();
        assert_eq!((transition.losses, transition.next), (losses, next));
        run = Run { losses: transition.losses, ..RUNNING };
    }
    let transition = decide(Run { losses: 2, ..RUNNING }, Event::Lost).unwrap();
    assert!(transition.effects.contains(&Effect::CloseLease(AttemptVerdict::Poison)));
}

#[test]
fn an_accepted_checkpoint_forgives_losses() {
    let transition =
        decide(Run { losses: 2, ..RUNNING }, Event::CheckpointAccepted { must_cancel: false }).unwrap();
    assert_eq!((transition.losses, transition.next), (0, State::Running));
}

#[test]
fn handing_back_costs_nothing() {
    for reason in ReleaseReason::ALL {
        let transition = decide(Run { losses: 2, ..RUNNING }, Event::Released(*reason)).unwrap();
        assert_eq!((transition.losses, transition.next), (2, State::Queued), "{reason}");
    }
}

#[test]
fn a_cancel_ends_at_once_what_nobody_has_and_waits_for_what_runs() {
    for state in [State::Pending, State::Queued, State::Parked, State::Blocked] {
        assert_eq!(
            decide(in_state(state), Event::CancelRequested).unwrap().next,
            State::Cancelled,
            "{state}"
        );
    }
    let transition = decide(RUNNING, Event::CancelRequested).unwrap();
    assert_eq!((transition.next, transition.cancel_requested), (State::Running, true));
}

#[test]
fn a_run_to_be_cancelled_ends_wherever_it_leaves_its_executor() {
    let run = Run { cancel_requested: true, losses: 2, ..RUNNING };
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    for event in [
        Event::Lost,
        Event::Released(ReleaseReason::Drained),
        Event::Parked { not_before },
        Event::Overdue(Overdue::Cancel),
    ] {
        assert_eq!(decide(run, event).unwrap().next, State::Cancelled, "{event:?}");
    }
    assert_eq!(decide(run, Event::Completed(Outcome::Succeeded)).unwrap().next, State::Succeeded);
    assert_eq!(decide(RUNNING, Event::Overdue(Overdue::Cancel)), Err(Refusal::NoCancelRequested));
}

/// Parked while its upstream works for it.
const WAITING: Run = Run { state: State::Parked, must_cancel: true, ..RUNNING };

#[test]
fn a_checkpoint_says_whether_an_upstream_works_for_the_run() {
    let save = |run, must_cancel| decide(run, Event::CheckpointAccepted { must_cancel }).unwrap();
    let submitted = RUNNING.after(&save(RUNNING, true));
    assert_eq!((submitted.state, submitted.must_cancel), (State::Running, true));
    assert!(!save(submitted, false).must_cancel, "the job is done");
    // Nothing else changes it: a run that is lost still has its job there.
    let granted = decide(WAITING, Event::Granted).unwrap();
    assert!(granted.must_cancel);
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    for event in [Event::Lost, Event::Released(ReleaseReason::Drained), Event::Parked { not_before }] {
        assert!(decide(Run { must_cancel: true, ..RUNNING }, event).unwrap().must_cancel, "{event:?}");
    }
}

#[test]
fn a_cancel_of_a_run_whose_upstream_works_for_it_queues_it_at_once() {
    for state in [State::Queued, State::Parked, State::Blocked] {
        let transition = decide(Run { state, ..WAITING }, Event::CancelRequested).unwrap();
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
    let pending = decide(Run { state: State::Pending, ..WAITING }, Event::CancelRequested).unwrap();
    assert_eq!(pending.next, State::Cancelled, "one that never began has no job anywhere");
    let cancelling = Run { state: State::Queued, cancel_requested: true, ..WAITING };
    assert_eq!(decide(cancelling, Event::Granted).unwrap().next, State::Running);
}

#[test]
fn whoever_has_a_run_that_must_tell_its_upstream_hands_it_to_the_next() {
    let run = Run { cancel_requested: true, must_cancel: true, ..RUNNING };
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    // A cancel that met a park, a grant that never arrived, an executor that drains or is gone.
    for event in [
        Event::Parked { not_before },
        Event::Released(ReleaseReason::NeverStarted),
        Event::Released(ReleaseReason::Drained),
        Event::Lost,
    ] {
        let transition = decide(run, event).unwrap();
        assert_eq!((transition.next, transition.cancel_requested), (State::Queued, true), "{event:?}");
        assert!(transition.effects.contains(&Effect::EnterReady { not_before: None }), "{event:?}");
    }
    let told = decide(Run { must_cancel: false, ..run }, Event::Parked { not_before }).unwrap();
    assert_eq!(told.next, State::Cancelled);
    assert_eq!(decide(run, Event::Completed(Outcome::Cancelled)).unwrap().next, State::Cancelled);
    let lost_too_often = decide(Run { losses: 2, ..run }, Event::Lost).unwrap();
    assert_eq!(lost_too_often.next, State::Cancelled, "it was asked for, so it is no poison");
}

#[test]
fn a_cancel_that_nobody_carried_out_in_time_ends_the_run_wherever_it_is() {
    for state in [State::Running, State::Queued] {
        let run = Run { state, cancel_requested: true, ..WAITING };
        let transition = decide(run, Event::Overdue(Overdue::Cancel)).unwrap();
        assert_eq!((transition.next, transition.cause), (State::Cancelled, Cause::CancelOverdue), "{state}");
    }
    for state in [State::Running, State::Queued, State::Parked] {
        let run = Run { state, ..WAITING };
        assert_eq!(decide(run, Event::Overdue(Overdue::Cancel)), Err(Refusal::NoCancelRequested), "{state}");
    }
}

#[test]
fn a_run_past_its_time_fails() {
    assert_eq!(decide(RUNNING, Event::Overdue(Overdue::ExecutionTime)).unwrap().next, State::Failed);
    assert_eq!(
        decide(in_state(State::Parked), Event::Overdue(Overdue::ExecutionTime)),
        Err(Refusal::NotRunning(State::Parked))
    );
    for state in State::ALL.iter().filter(|state| !state.is_terminal()) {
        assert_eq!(
            decide(in_state(*state), Event::Overdue(Overdue::RunAge)).unwrap().next,
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
        let mut run = Run { state: created.next, losses: 0, cancel_requested: false, must_cancel: false };
        for event in events {
            let terminal = run.state.is_terminal();
            match decide(run, event) {
                Ok(transition) => {
                    prop_assert!(!terminal, "{event:?} moved {run:?}");
                    rows.apply(&transition);
                    prop_assert!(transition.cancel_requested || !run.cancel_requested, "a cancel was forgotten");
                    run = run.after(&transition);
                }
                Err(Refusal::Terminal(state)) => prop_assert_eq!(state, run.state),
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
