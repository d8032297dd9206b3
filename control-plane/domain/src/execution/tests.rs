use chrono::DateTime;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    AttemptVerdict, Cause, Effect, Event, Origin, Outcome, Overdue, Refusal, ReleaseReason, Run, State,
    Transition, create, decide,
};

const RUNNING: Run = Run { state: State::Running, losses: 0, cancel_requested: false };

fn in_state(state: State) -> Run {
    Run { state, ..RUNNING }
}

fn any_event() -> impl Strategy<Value = Event> {
    let not_before = DateTime::from_timestamp(1000, 0).unwrap();
    prop_oneof![
        Just(Event::TurnCame),
        Just(Event::Granted),
        Just(Event::CheckpointAccepted),
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
    let transition = decide(Run { losses: 2, ..RUNNING }, Event::CheckpointAccepted).unwrap();
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
        let mut run = Run { state: created.next, losses: 0, cancel_requested: false };
        for event in events {
            let terminal = run.state.is_terminal();
            match decide(run, event) {
                Ok(transition) => {
                    prop_assert!(!terminal, "{event:?} moved {run:?}");
                    rows.apply(&transition);
                    run = Run { state: transition.next, losses: transition.losses, cancel_requested: transition.cancel_requested };
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
