use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    ActiveExecutions, CatchUp, CronTimes, DueDecision, DueTimes, MAX_OWED, Overlap, ScheduleRules,
    ScheduleTiming,
};

const NOTHING: ActiveExecutions = ActiveExecutions { own: false, other: false };
const OWN: ActiveExecutions = ActiveExecutions { own: true, other: false };
const OTHER: ActiveExecutions = ActiveExecutions { own: false, other: true };

/// So many seconds after a full hour.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn due_at(seconds: i64) -> DueTimes {
    DueTimes { next_at: Some(at(seconds)), ..DueTimes::default() }
}

fn start(seconds: i64) -> DueDecision {
    DueDecision::Start { scheduled_at: at(seconds), dues: DueTimes::default() }
}

fn every_minute() -> ScheduleRules {
    ScheduleRules {
        enabled: true,
        paused: false,
        timing: ScheduleTiming::Wait(TimeDelta::minutes(1)),
        overlap: Overlap::Skip,
        catch_up: CatchUp::RunOnce,
        repeat_count: None,
        run_count: 3,
    }
}

/// At each full minute.
fn by_the_minute() -> ScheduleRules {
    let cron = CronTimes::parse("* * * * *", "UTC", TimeDelta::zero()).unwrap();
    ScheduleRules { timing: ScheduleTiming::Cron(Box::new(cron)), ..every_minute() }
}

/// Decided up to a time, and due at the next full minute.
fn decided(seconds: i64) -> DueTimes {
    DueTimes {
        next_at: Some(at(seconds - seconds.rem_euclid(60) + 60)),
        decided_until: Some(at(seconds)),
        owed_until: None,
    }
}

#[test]
fn a_schedule_that_is_disabled_or_paused_rests() {
    for schedule in [every_minute(), by_the_minute()] {
        for resting in [
            ScheduleRules { enabled: false, ..schedule.clone() },
            ScheduleRules { paused: true, ..schedule.clone() },
            ScheduleRules { repeat_count: Some(3), ..schedule.clone() },
        ] {
            assert_eq!(resting.due(decided(0), at(61), at(-9999), NOTHING), DueDecision::Suspend);
            assert_eq!(resting.after_run(decided(0), at(61)).next_at, None);
            assert_eq!(resting.resumed(decided(0), None, at(61), false).next_at, None);
            assert_eq!(resting.changed(decided(0), at(61), false, false).next_at, None);
            assert!(resting.upcoming(decided(0), false, at(61), 3).is_empty());
        }
        let one_left = ScheduleRules { repeat_count: Some(4), ..schedule };
        assert!(matches!(one_left.due(decided(0), at(61), at(-9999), NOTHING), DueDecision::Start { .. }));
    }
}

#[test]
fn behind_another_run_a_wait_is_waited_again_or_the_run_queues() {
    let due = every_minute().due(due_at(100), at(130), at(0), OTHER);
    assert_eq!(due, DueDecision::Skip { dues: due_at(190) });
    let schedule = ScheduleRules { overlap: Overlap::Queue, ..every_minute() };
    assert_eq!(schedule.due(due_at(100), at(130), at(0), OTHER), start(100));
}

#[test]
fn what_history_does_not_reach_counts_as_now() {
    assert_eq!(every_minute().due(due_at(100), at(9000), at(500), NOTHING), start(9000));
}

#[test]
fn waits_from_the_end_of_a_run() {
    assert_eq!(every_minute().after_run(DueTimes::default(), at(1000)), due_at(1060));
}

#[test]
fn a_wait_that_goes_on_runs_what_is_overdue_at_once_and_waits_for_the_rest() {
    let schedule = every_minute();
    let resumed =
        |last: Option<i64>, own| schedule.resumed(DueTimes::default(), last.map(at), at(1000), own).next_at;
    assert_eq!(resumed(None, false), Some(at(1000)));
    assert_eq!(resumed(Some(100), false), Some(at(1000)));
    assert_eq!(resumed(Some(990), false), Some(at(1050)));
    assert_eq!(resumed(Some(100), true), None);
}

#[test]
fn a_changed_wait_takes_effect_at_once_where_it_is_shorter() {
    let changed = |dues| every_minute().changed(dues, at(100), false, false);
    assert_eq!(changed(DueTimes::default()), due_at(100), "what wakes is due at once");
    assert_eq!(changed(due_at(3700)), due_at(160));
    assert_eq!(changed(due_at(130)), due_at(130));
    assert_eq!(changed(due_at(40)), due_at(40));
    assert_eq!(
        every_minute().changed(due_at(40), at(100), true, false),
        DueTimes::default(),
        "its run is going"
    );
    assert_eq!(
        every_minute().changed(decided(40), at(100), false, true).decided_until,
        None,
        "it was cron before"
    );
}

#[test]
fn the_next_runs_of_a_wait_are_known_as_far_as_they_are() {
    let ended = ScheduleRules { repeat_count: Some(3), ..every_minute() };
    let two_left = ScheduleRules { repeat_count: Some(5), ..every_minute() };
    let inactive = ScheduleRules { enabled: false, ..every_minute() };
    type Case = (&'static str, ScheduleRules, Option<i64>, bool, &'static [i64]);
    let cases: [Case; 7] = [
        ("due later", every_minute(), Some(1030), false, &[1030, 1090, 1150]),
        ("overdue", every_minute(), Some(10), false, &[1000, 1060, 1120]),
        ("its run is going", every_minute(), None, true, &[1060, 1120, 1180]),
        ("nothing is due", every_minute(), None, false, &[]),
        ("two are left", two_left, Some(1030), false, &[1030, 1090]),
        ("none is left", ended, None, true, &[]),
        ("inactive", inactive, Some(1030), false, &[]),
    ];
    for (name, schedule, due, going, expected) in cases {
        let expected: Vec<_> = expected.iter().copied().map(at).collect();
        let dues = DueTimes { next_at: due.map(at), ..DueTimes::default() };
        assert_eq!(schedule.upcoming(dues, going, at(1000), 3), expected, "{name}");
    }
}

#[test]
fn the_first_run_by_cron_is_at_its_time() {
    let begun = by_the_minute().changed(DueTimes::default(), at(70), false, false);
    assert_eq!(begun, DueTimes { next_at: Some(at(120)), decided_until: Some(at(70)), owed_until: None });
    let due = by_the_minute().due(begun, at(120), at(-9999), NOTHING);
    let dues = DueTimes { next_at: None, decided_until: Some(at(120)), owed_until: None };
    assert_eq!(due, DueDecision::Start { scheduled_at: at(120), dues });
    assert_eq!(by_the_minute().due(begun, at(120), at(-9999), OWN), DueDecision::Suspend);
}

#[test]
fn a_run_that_ends_before_the_next_time_waits_for_it() {
    let running = DueTimes { next_at: None, ..decided(120) };
    for overlap in [Overlap::Skip, Overlap::Queue] {
        let ended = ScheduleRules { overlap, ..by_the_minute() }.after_run(running, at(150));
        assert_eq!((ended.next_at, ended.owed_until), (Some(at(180)), None), "{overlap}");
    }
}

#[test]
fn what_comes_while_a_run_is_going_is_dropped_or_runs_right_after() {
    let running = DueTimes { next_at: None, ..decided(120) };
    assert_eq!(
        by_the_minute().after_run(running, at(290)),
        DueTimes { decided_until: Some(at(290)), ..decided(290) }
    );
    let queues = ScheduleRules { overlap: Overlap::Queue, ..by_the_minute() };
    let mut dues = queues.after_run(running, at(290));
    // Each of them, and then the regular time.
    for expected in [180, 240] {
        assert_eq!(dues.next_at, Some(at(expected)));
        let DueDecision::Start { scheduled_at, dues: next } = queues.due(dues, at(291), at(-9999), NOTHING)
        else {
            panic!("{dues:?} is due");
        };
        assert_eq!(scheduled_at, at(expected));
        dues = queues.after_run(next, at(295));
    }
    assert_eq!(dues.next_at, Some(at(300)));
}

#[test]
fn behind_another_run_a_time_is_dropped_or_its_run_queues() {
    assert_eq!(
        by_the_minute().due(decided(60), at(125), at(-9999), OTHER),
        DueDecision::Skip { dues: decided(125) }
    );
    let queues = ScheduleRules { overlap: Overlap::Queue, ..by_the_minute() };
    let due = queues.due(decided(60), at(125), at(-9999), OTHER);
    assert!(matches!(due, DueDecision::Start { scheduled_at, .. } if scheduled_at == at(120)), "{due:?}");
}

/// What runs after nothing did from minute 1 to so many seconds, each run of no length.
fn caught_up(schedule: &ScheduleRules, now: i64, oldest: i64) -> Vec<i64> {
    let mut dues = decided(60);
    let mut runs = Vec::new();
    while dues.next_at.is_some_and(|next| next <= at(now)) {
        dues = match schedule.due(dues, at(now), at(oldest), NOTHING) {
            DueDecision::Start { scheduled_at, dues } => {
                runs.push((scheduled_at - at(0)).num_seconds());
                schedule.after_run(dues, at(now))
            }
            DueDecision::Skip { dues } => dues,
            DueDecision::Suspend => panic!("{dues:?} rests"),
        };
    }
    assert_eq!(dues.next_at, Some(at(now - now.rem_euclid(60) + 60)), "then at the regular time");
    runs
}

#[test]
fn what_was_missed_runs_once_or_not_or_each() {
    let hourly = CronTimes::parse("0 * * * *", "UTC", TimeDelta::zero()).unwrap();
    for (catch_up, late, on_time) in [
        (CatchUp::RunOnce, vec![300], vec![120]),
        (CatchUp::Skip, vec![300], vec![120]),
        (CatchUp::RunEach, vec![120, 180, 240, 300], vec![120]),
    ] {
        let schedule = ScheduleRules { catch_up, ..by_the_minute() };
        assert_eq!(caught_up(&schedule, 330, -9999), late, "{catch_up}");
        assert_eq!(caught_up(&schedule, 121, -9999), on_time, "{catch_up}");
        let hourly = ScheduleRules { timing: ScheduleTiming::Cron(Box::new(hourly.clone())), ..schedule };
        let missed = DueTimes { next_at: Some(at(3600)), ..decided(60) };
        let due = hourly.due(missed, at(3700), at(-9999), NOTHING);
        assert_eq!(matches!(due, DueDecision::Skip { .. }), catch_up == CatchUp::Skip, "{due:?}");
        let due = hourly.due(missed, at(3659), at(-9999), NOTHING);
        assert!(matches!(due, DueDecision::Start { .. }), "a minute is no outage: {due:?}");
    }
}

#[test]
fn of_a_long_outage_the_latest_hundred_run_and_nothing_that_history_does_not_reach() {
    let each = ScheduleRules { catch_up: CatchUp::RunEach, ..by_the_minute() };
    let runs = caught_up(&each, 60 * 1000, -9999);
    assert_eq!((runs.len(), runs[0], runs[99]), (MAX_OWED, 60 * 901, 60 * 1000));
    assert_eq!(caught_up(&each, 60 * 1000, 60 * 998), [60 * 999, 60 * 1000]);
    let once = ScheduleRules { catch_up: CatchUp::RunOnce, ..by_the_minute() };
    assert_eq!(caught_up(&once, 60 * 1000, 60 * 1000 + 1), [0; 0], "all of it is too old");
}

#[test]
fn what_is_caught_up_does_not_bring_along_what_comes_meanwhile() {
    let each = ScheduleRules { catch_up: CatchUp::RunEach, ..by_the_minute() };
    let DueDecision::Start { dues, .. } = each.due(decided(60), at(250), at(-9999), NOTHING) else {
        panic!("it is due")
    };
    // 120 runs until 310; 180 and 240 are owed, and 300 came while a run was going.
    let after_first = each.after_run(dues, at(310));
    assert_eq!(after_first.next_at, Some(at(180)));
    let DueDecision::Start { dues, .. } = each.due(after_first, at(310), at(-9999), NOTHING) else {
        panic!("it is due")
    };
    let DueDecision::Start { scheduled_at, dues } =
        each.due(each.after_run(dues, at(311)), at(311), at(-9999), NOTHING)
    else {
        panic!("it is due")
    };
    assert_eq!(scheduled_at, at(240));
    assert_eq!(each.after_run(dues, at(312)).next_at, Some(at(360)));
}

#[test]
fn a_pause_is_caught_up_and_a_time_without_a_plan_is_not() {
    let paused = ScheduleRules { paused: true, ..by_the_minute() };
    let dues = paused.changed(decided(60), at(130), false, false);
    assert_eq!(dues, DueTimes { next_at: None, ..decided(60) });
    let resumed = by_the_minute().resumed(dues, None, at(310), false);
    assert_eq!(resumed.next_at, Some(at(310)));
    let due = by_the_minute().due(resumed, at(310), at(-9999), NOTHING);
    assert!(matches!(due, DueDecision::Start { scheduled_at, .. } if scheduled_at == at(300)), "{due:?}");
    let short = by_the_minute().resumed(dues, None, at(110), false);
    assert_eq!(short.next_at, Some(at(120)), "nothing was missed");
    assert_eq!(by_the_minute().resumed(dues, None, at(310), true).next_at, None, "its run is going");

    let disabled = ScheduleRules { enabled: false, ..by_the_minute() };
    assert_eq!(disabled.changed(decided(60), at(130), false, false), DueTimes::default());
    assert_eq!(by_the_minute().changed(DueTimes::default(), at(310), false, false), decided(310));
    assert_eq!(paused.changed(DueTimes::default(), at(310), false, false).decided_until, Some(at(310)));
}

#[test]
fn other_times_begin_anew_and_other_changes_leave_what_is_due() {
    let schedule = by_the_minute();
    assert_eq!(schedule.changed(decided(60), at(310), false, true), decided(310));
    assert_eq!(schedule.changed(decided(60), at(310), false, false), decided(60), "what is due stays due");
    let running = DueTimes { next_at: None, ..decided(60) };
    assert_eq!(schedule.changed(running, at(310), true, false), running);
    let anew = schedule.changed(running, at(310), true, true);
    assert_eq!((anew.next_at, anew.decided_until), (None, Some(at(310))));
    assert_eq!(schedule.changed(running, at(310), false, false), decided(310), "it has runs again");
}

#[test]
fn a_time_that_never_comes_is_never_due() {
    let never = CronTimes::parse("0 0 30 2 *", "UTC", TimeDelta::zero()).unwrap();
    let schedule = ScheduleRules { timing: ScheduleTiming::Cron(Box::new(never)), ..by_the_minute() };
    assert_eq!(schedule.changed(DueTimes::default(), at(0), false, false).next_at, None);
    assert!(schedule.upcoming(DueTimes::default(), true, at(0), 3).is_empty());
}

#[test]
fn the_next_runs_by_cron_are_its_times() {
    let minutes = |schedule: &ScheduleRules, dues, own| -> Vec<i64> {
        let times = schedule.upcoming(dues, own, at(310), 3);
        times.iter().map(|time| (*time - at(0)).num_seconds()).collect()
    };
    let schedule = by_the_minute();
    let running = DueTimes { next_at: None, ..decided(240) };
    assert_eq!(minutes(&schedule, decided(300), false), [360, 420, 480]);
    assert_eq!(minutes(&schedule, decided(240), false), [310, 360, 420], "what is overdue counts as now");
    assert_eq!(minutes(&schedule, running, true), [360, 420, 480]);
    let queues = ScheduleRules { overlap: Overlap::Queue, ..schedule.clone() };
    assert_eq!(minutes(&queues, running, true), [310, 360, 420], "one waits behind the run that is going");
    let late = ScheduleRules { catch_up: CatchUp::Skip, ..schedule.clone() };
    assert_eq!(
        minutes(
            &late,
            DueTimes { next_at: Some(at(300)), decided_until: Some(at(299)), owed_until: None },
            false
        ),
        [310, 360, 420]
    );
    let one_left = ScheduleRules { repeat_count: Some(4), ..schedule };
    assert_eq!(minutes(&one_left, decided(300), false), [360]);
}

proptest! {
    #[test]
    fn never_starts_behind_its_own_run(
        enabled in any::<bool>(), other in any::<bool>(), runs in 0..5_u32, repeat in proptest::option::of(1..5_u32), by_cron in any::<bool>(),
        overlap in prop_oneof![Just(Overlap::Skip), Just(Overlap::Queue)],
    ) {
        let timing = if by_cron { by_the_minute().timing } else { every_minute().timing };
        let schedule = ScheduleRules { enabled, overlap, repeat_count: repeat, run_count: runs, timing, ..every_minute() };
        prop_assert_eq!(schedule.due(decided(60), at(121), at(0), ActiveExecutions { own: true, other }), DueDecision::Suspend);
    }

    #[test]
    fn a_start_is_never_in_the_future_nor_before_history(due in 0..1000_i64, late in 0..1000_i64, oldest in 0..2000_i64) {
        let now = at(due + late);
        let oldest = at(oldest).min(now);
        for schedule in [every_minute(), by_the_minute()] {
            match schedule.due(DueTimes { next_at: Some(at(due)), ..decided(due) }, now, oldest, NOTHING) {
                DueDecision::Start { scheduled_at, .. } => prop_assert!(scheduled_at <= now && scheduled_at >= oldest),
                DueDecision::Skip { dues } => prop_assert!(dues.next_at > Some(now)),
                DueDecision::Suspend => prop_assert!(false),
            }
        }
    }

    /// Whatever happens, by cron no time runs twice, none runs before it came, and the schedule never stops.
    #[test]
    fn by_cron_every_time_runs_at_most_once_and_in_order(
        steps in proptest::collection::vec((0..400_i64, 0..5_u8), 1..60), overlap in 0..2_usize, catch_up in 0..3_usize,
    ) {
        let schedule = ScheduleRules { overlap: Overlap::ALL[overlap], catch_up: CatchUp::ALL[catch_up], ..by_the_minute() };
        let (mut now, mut running, mut started) = (0, false, Vec::new());
        let mut dues = schedule.changed(DueTimes::default(), at(now), false, false);
        for (wait, what) in steps {
            now += wait;
            if running {
                dues = schedule.after_run(dues, at(now));
                running = false;
            } else if what == 0 {
                dues = schedule.resumed(DueTimes { next_at: None, ..dues }, None, at(now), false);
            } else if dues.next_at.is_some_and(|next| next <= at(now)) {
                match schedule.due(dues, at(now), at(-1), ActiveExecutions { own: false, other: what == 1 }) {
                    DueDecision::Start { scheduled_at, dues: next } => {
                        prop_assert!(scheduled_at <= at(now));
                        prop_assert!(started.last().is_none_or(|last| *last < scheduled_at), "{started:?} {scheduled_at}");
                        started.push(scheduled_at);
                        dues = next;
                        running = true;
                    }
                    DueDecision::Skip { dues: next } => dues = next,
                    DueDecision::Suspend => prop_assert!(false),
                }
            }
            prop_assert!(running || dues.next_at.is_some(), "{dues:?}");
        }
    }
}
