use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    ActiveExecutions, CatchUp, CronTimes, DueDecision, DueTimes, MAX_OWED, Overlap, ScheduleRules,
    ScheduleTiming,
};

const NOTHING: ActiveExecutions = ActiveExecutions { own: false, other: false };
const OWN: ActiveExecutions = ActiveExecutions { own: true, other: false };
const OTHER: ActiveExecutions = ActiveExecutions { own: false, other: true };

/// Returns a time this many seconds after a full hour.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn due_at(seconds: i64) -> DueTimes {
    DueTimes { next_at: Some(at(seconds)), ..DueTimes::default() }
}

fn start(seconds: i64) -> DueDecision {
    DueDecision::Start { scheduled_at: at(seconds), due: DueTimes::default() }
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

/// Runs at each full minute.
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
fn disabled_paused_or_finished_schedule_is_suspended() {
    for schedule in [every_minute(), by_the_minute()] {
        for suspended in [
            ScheduleRules { enabled: false, ..schedule.clone() },
            ScheduleRules { paused: true, ..schedule.clone() },
            ScheduleRules { repeat_count: Some(3), ..schedule.clone() },
        ] {
            assert_eq!(suspended.decide_due(decided(0), at(61), at(-9999), NOTHING), DueDecision::Suspend);
            assert_eq!(suspended.after_execution(decided(0), at(61)).next_at, None);
            assert_eq!(suspended.after_resume(decided(0), None, at(61), false).next_at, None);
            assert_eq!(suspended.after_change(decided(0), at(61), false, false).next_at, None);
            assert!(suspended.upcoming(decided(0), false, at(61), 3).is_empty());
        }
        let one_left = ScheduleRules { repeat_count: Some(4), ..schedule };
        assert!(matches!(
            one_left.decide_due(decided(0), at(61), at(-9999), NOTHING),
            DueDecision::Start { .. }
        ));
    }
}

#[test]
fn wait_behind_another_execution_is_skipped_or_queued() {
    let due = every_minute().decide_due(due_at(100), at(130), at(0), OTHER);
    assert_eq!(due, DueDecision::Skip { due: due_at(190) });
    let schedule = ScheduleRules { overlap: Overlap::Queue, ..every_minute() };
    assert_eq!(schedule.decide_due(due_at(100), at(130), at(0), OTHER), start(100));
}

#[test]
fn wait_older_than_the_history_counts_as_now() {
    assert_eq!(every_minute().decide_due(due_at(100), at(9000), at(500), NOTHING), start(9000));
}

#[test]
fn wait_counts_from_the_end_of_the_execution() {
    assert_eq!(every_minute().after_execution(DueTimes::default(), at(1000)), due_at(1060));
}

#[test]
fn resumed_wait_runs_overdue_at_once_and_waits_the_rest() {
    let schedule = every_minute();
    let resumed = |last: Option<i64>, own| {
        schedule.after_resume(DueTimes::default(), last.map(at), at(1000), own).next_at
    };
    assert_eq!(resumed(None, false), Some(at(1000)));
    assert_eq!(resumed(Some(100), false), Some(at(1000)));
    assert_eq!(resumed(Some(990), false), Some(at(1050)));
    assert_eq!(resumed(Some(100), true), None);
}

#[test]
fn shorter_wait_takes_effect_at_once() {
    let changed = |due_times| every_minute().after_change(due_times, at(100), false, false);
    assert_eq!(changed(DueTimes::default()), due_at(100), "a schedule that starts is due at once");
    assert_eq!(changed(due_at(3700)), due_at(160));
    assert_eq!(changed(due_at(130)), due_at(130));
    assert_eq!(changed(due_at(40)), due_at(40));
    assert_eq!(
        every_minute().after_change(due_at(40), at(100), true, false),
        DueTimes::default(),
        "its execution is active"
    );
    assert_eq!(
        every_minute().after_change(decided(40), at(100), false, true).decided_until,
        None,
        "it was cron before"
    );
}

#[test]
fn upcoming_executions_of_a_wait() {
    let ended = ScheduleRules { repeat_count: Some(3), ..every_minute() };
    let two_left = ScheduleRules { repeat_count: Some(5), ..every_minute() };
    let inactive = ScheduleRules { enabled: false, ..every_minute() };
    type Case = (&'static str, ScheduleRules, Option<i64>, bool, &'static [i64]);
    let cases: [Case; 7] = [
        ("due later", every_minute(), Some(1030), false, &[1030, 1090, 1150]),
        ("overdue", every_minute(), Some(10), false, &[1000, 1060, 1120]),
        ("its execution is active", every_minute(), None, true, &[1060, 1120, 1180]),
        ("nothing is due", every_minute(), None, false, &[]),
        ("two are left", two_left, Some(1030), false, &[1030, 1090]),
        ("none is left", ended, None, true, &[]),
        ("inactive", inactive, Some(1030), false, &[]),
    ];
    for (name, schedule, due, going, expected) in cases {
        let expected: Vec<_> = expected.iter().copied().map(at).collect();
        let due_times = DueTimes { next_at: due.map(at), ..DueTimes::default() };
        assert_eq!(schedule.upcoming(due_times, going, at(1000), 3), expected, "{name}");
    }
}

#[test]
fn first_cron_execution_is_at_its_time() {
    let begun = by_the_minute().after_change(DueTimes::default(), at(70), false, false);
    assert_eq!(begun, DueTimes { next_at: Some(at(120)), decided_until: Some(at(70)), owed_until: None });
    let due = by_the_minute().decide_due(begun, at(120), at(-9999), NOTHING);
    let due_times = DueTimes { next_at: None, decided_until: Some(at(120)), owed_until: None };
    assert_eq!(due, DueDecision::Start { scheduled_at: at(120), due: due_times });
    assert_eq!(by_the_minute().decide_due(begun, at(120), at(-9999), OWN), DueDecision::Suspend);
}

#[test]
fn early_end_waits_for_the_next_cron_time() {
    let running = DueTimes { next_at: None, ..decided(120) };
    for overlap in [Overlap::Skip, Overlap::Queue] {
        let ended = ScheduleRules { overlap, ..by_the_minute() }.after_execution(running, at(150));
        assert_eq!((ended.next_at, ended.owed_until), (Some(at(180)), None), "{overlap}");
    }
}

#[test]
fn cron_times_during_an_execution_are_dropped_or_queued() {
    let running = DueTimes { next_at: None, ..decided(120) };
    assert_eq!(
        by_the_minute().after_execution(running, at(290)),
        DueTimes { decided_until: Some(at(290)), ..decided(290) }
    );
    let queues = ScheduleRules { overlap: Overlap::Queue, ..by_the_minute() };
    let mut due_times = queues.after_execution(running, at(290));
    // Each of them, and then the regular time.
    for expected in [180, 240] {
        assert_eq!(due_times.next_at, Some(at(expected)));
        let DueDecision::Start { scheduled_at, due: next } =
            queues.decide_due(due_times, at(291), at(-9999), NOTHING)
        else {
            panic!("{due_times:?} is due");
        };
        assert_eq!(scheduled_at, at(expected));
        due_times = queues.after_execution(next, at(295));
    }
    assert_eq!(due_times.next_at, Some(at(300)));
}

#[test]
fn cron_time_behind_another_execution_is_dropped_or_queued() {
    assert_eq!(
        by_the_minute().decide_due(decided(60), at(125), at(-9999), OTHER),
        DueDecision::Skip { due: decided(125) }
    );
    let queues = ScheduleRules { overlap: Overlap::Queue, ..by_the_minute() };
    let due = queues.decide_due(decided(60), at(125), at(-9999), OTHER);
    assert!(matches!(due, DueDecision::Start { scheduled_at, .. } if scheduled_at == at(120)), "{due:?}");
}

/// Returns the times that run after an outage from minute 1 to `now`, in seconds. Each execution
/// takes no time.
fn caught_up(schedule: &ScheduleRules, now: i64, oldest: i64) -> Vec<i64> {
    let mut due_times = decided(60);
    let mut runs = Vec::new();
    while due_times.next_at.is_some_and(|next| next <= at(now)) {
        due_times = match schedule.decide_due(due_times, at(now), at(oldest), NOTHING) {
            DueDecision::Start { scheduled_at, due: due_times } => {
                runs.push((scheduled_at - at(0)).num_seconds());
                schedule.after_execution(due_times, at(now))
            }
            DueDecision::Skip { due: due_times } => due_times,
            DueDecision::Suspend => panic!("{due_times:?} is suspended"),
        };
    }
    assert_eq!(due_times.next_at, Some(at(now - now.rem_euclid(60) + 60)), "then at the regular time");
    runs
}

#[test]
fn missed_times_run_once_never_or_each() {
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
        let due = hourly.decide_due(missed, at(3700), at(-9999), NOTHING);
        assert_eq!(matches!(due, DueDecision::Skip { .. }), catch_up == CatchUp::Skip, "{due:?}");
        let due = hourly.decide_due(missed, at(3659), at(-9999), NOTHING);
        assert!(matches!(due, DueDecision::Start { .. }), "a minute is no outage: {due:?}");
    }
}

#[test]
fn long_outage_catches_up_the_latest_hundred_in_history() {
    let each = ScheduleRules { catch_up: CatchUp::RunEach, ..by_the_minute() };
    let runs = caught_up(&each, 60 * 1000, -9999);
    assert_eq!((runs.len(), runs[0], runs[99]), (MAX_OWED, 60 * 901, 60 * 1000));
    assert_eq!(caught_up(&each, 60 * 1000, 60 * 998), [60 * 999, 60 * 1000]);
    let once = ScheduleRules { catch_up: CatchUp::RunOnce, ..by_the_minute() };
    assert_eq!(caught_up(&once, 60 * 1000, 60 * 1000 + 1), [0; 0], "all of it is too old");
}

#[test]
fn catching_up_owes_no_times_that_come_meanwhile() {
    let each = ScheduleRules { catch_up: CatchUp::RunEach, ..by_the_minute() };
    let DueDecision::Start { due: due_times, .. } = each.decide_due(decided(60), at(250), at(-9999), NOTHING)
    else {
        panic!("it is due")
    };
    // 120 runs until 310; 180 and 240 are owed, and 300 came while an execution was active.
    let after_first = each.after_execution(due_times, at(310));
    assert_eq!(after_first.next_at, Some(at(180)));
    let DueDecision::Start { due: due_times, .. } = each.decide_due(after_first, at(310), at(-9999), NOTHING)
    else {
        panic!("it is due")
    };
    let DueDecision::Start { scheduled_at, due: due_times } =
        each.decide_due(each.after_execution(due_times, at(311)), at(311), at(-9999), NOTHING)
    else {
        panic!("it is due")
    };
    assert_eq!(scheduled_at, at(240));
    assert_eq!(each.after_execution(due_times, at(312)).next_at, Some(at(360)));
}

#[test]
fn pause_is_caught_up_but_a_disabled_plan_is_not() {
    let paused = ScheduleRules { paused: true, ..by_the_minute() };
    let due_times = paused.after_change(decided(60), at(130), false, false);
    assert_eq!(due_times, DueTimes { next_at: None, ..decided(60) });
    let resumed = by_the_minute().after_resume(due_times, None, at(310), false);
    assert_eq!(resumed.next_at, Some(at(310)));
    let due = by_the_minute().decide_due(resumed, at(310), at(-9999), NOTHING);
    assert!(matches!(due, DueDecision::Start { scheduled_at, .. } if scheduled_at == at(300)), "{due:?}");
    let short = by_the_minute().after_resume(due_times, None, at(110), false);
    assert_eq!(short.next_at, Some(at(120)), "nothing was missed");
    assert_eq!(
        by_the_minute().after_resume(due_times, None, at(310), true).next_at,
        None,
        "its execution is active"
    );

    let disabled = ScheduleRules { enabled: false, ..by_the_minute() };
    assert_eq!(disabled.after_change(decided(60), at(130), false, false), DueTimes::default());
    assert_eq!(by_the_minute().after_change(DueTimes::default(), at(310), false, false), decided(310));
    assert_eq!(paused.after_change(DueTimes::default(), at(310), false, false).decided_until, Some(at(310)));
}

#[test]
fn new_timing_starts_anew_and_other_changes_keep_due_times() {
    let schedule = by_the_minute();
    assert_eq!(schedule.after_change(decided(60), at(310), false, true), decided(310));
    assert_eq!(
        schedule.after_change(decided(60), at(310), false, false),
        decided(60),
        "what is due stays due"
    );
    let running = DueTimes { next_at: None, ..decided(60) };
    assert_eq!(schedule.after_change(running, at(310), true, false), running);
    let anew = schedule.after_change(running, at(310), true, true);
    assert_eq!((anew.next_at, anew.decided_until), (None, Some(at(310))));
    assert_eq!(
        schedule.after_change(running, at(310), false, false),
        decided(310),
        "it has executions left again"
    );
}

#[test]
fn impossible_cron_time_is_never_due() {
    let never = CronTimes::parse("0 0 30 2 *", "UTC", TimeDelta::zero()).unwrap();
    let schedule = ScheduleRules { timing: ScheduleTiming::Cron(Box::new(never)), ..by_the_minute() };
    assert_eq!(schedule.after_change(DueTimes::default(), at(0), false, false).next_at, None);
    assert!(schedule.upcoming(DueTimes::default(), true, at(0), 3).is_empty());
}

#[test]
fn upcoming_executions_by_cron() {
    let minutes = |schedule: &ScheduleRules, due_times, own| -> Vec<i64> {
        let times = schedule.upcoming(due_times, own, at(310), 3);
        times.iter().map(|time| (*time - at(0)).num_seconds()).collect()
    };
    let schedule = by_the_minute();
    let running = DueTimes { next_at: None, ..decided(240) };
    assert_eq!(minutes(&schedule, decided(300), false), [360, 420, 480]);
    assert_eq!(minutes(&schedule, decided(240), false), [310, 360, 420], "what is overdue counts as now");
    assert_eq!(minutes(&schedule, running, true), [360, 420, 480]);
    let queues = ScheduleRules { overlap: Overlap::Queue, ..schedule.clone() };
    assert_eq!(minutes(&queues, running, true), [310, 360, 420], "one waits behind the active execution");
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
    fn schedule_never_starts_while_its_own_execution_is_active(
        enabled in any::<bool>(), other in any::<bool>(), runs in 0..5_u32, repeat in proptest::option::of(1..5_u32), by_cron in any::<bool>(),
        overlap in prop_oneof![Just(Overlap::Skip), Just(Overlap::Queue)],
    ) {
        let timing = if by_cron { by_the_minute().timing } else { every_minute().timing };
        let schedule = ScheduleRules { enabled, overlap, repeat_count: repeat, run_count: runs, timing, ..every_minute() };
        prop_assert_eq!(schedule.decide_due(decided(60), at(121), at(0), ActiveExecutions { own: true, other }), DueDecision::Suspend);
    }

    #[test]
    fn start_is_never_in_the_future_nor_before_the_history(due in 0..1000_i64, late in 0..1000_i64, oldest in 0..2000_i64) {
        let now = at(due + late);
        let oldest = at(oldest).min(now);
        for schedule in [every_minute(), by_the_minute()] {
            match schedule.decide_due(DueTimes { next_at: Some(at(due)), ..decided(due) }, now, oldest, NOTHING) {
                DueDecision::Start { scheduled_at, .. } => prop_assert!(scheduled_at <= now && scheduled_at >= oldest),
                DueDecision::Skip { due: due_times } => prop_assert!(due_times.next_at > Some(now)),
                DueDecision::Suspend => prop_assert!(false),
            }
        }
    }

    /// Whatever happens, no cron time runs twice or early, and the schedule never stops.
    #[test]
    fn cron_times_run_at_most_once_and_in_order(
        steps in proptest::collection::vec((0..400_i64, 0..5_u8), 1..60), overlap in 0..2_usize, catch_up in 0..3_usize,
    ) {
        let schedule = ScheduleRules { overlap: Overlap::ALL[overlap], catch_up: CatchUp::ALL[catch_up], ..by_the_minute() };
        let (mut now, mut running, mut started) = (0, false, Vec::new());
        let mut due_times = schedule.after_change(DueTimes::default(), at(now), false, false);
        for (wait, what) in steps {
            now += wait;
            if running {
                due_times = schedule.after_execution(due_times, at(now));
                running = false;
            } else if what == 0 {
                due_times = schedule.after_resume(DueTimes { next_at: None, ..due_times }, None, at(now), false);
            } else if due_times.next_at.is_some_and(|next| next <= at(now)) {
                match schedule.decide_due(due_times, at(now), at(-1), ActiveExecutions { own: false, other: what == 1 }) {
                    DueDecision::Start { scheduled_at, due: next } => {
                        prop_assert!(scheduled_at <= at(now));
                        prop_assert!(started.last().is_none_or(|last| *last < scheduled_at), "{started:?} {scheduled_at}");
                        started.push(scheduled_at);
                        due_times = next;
                        running = true;
                    }
                    DueDecision::Skip { due: next } => due_times = next,
                    DueDecision::Suspend => prop_assert!(false),
                }
            }
            prop_assert!(running || due_times.next_at.is_some(), "{due_times:?}");
        }
    }
}
