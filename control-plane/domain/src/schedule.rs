//! When a plan runs next for a config. Time runs from the end of one run to the start of the next.

use chrono::{DateTime, TimeDelta, Utc};

use crate::text::text_enum;

text_enum! {
    /// What becomes of a due run while one is going.
    Overlap as "overlap" {
        /// It is dropped.
        Skip = "skip",
        /// It waits.
        Queue = "queue",
    }
}

/// What of a schedule, its plan and its config decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Plan and config are enabled, and nobody paused it.
    pub active: bool,
    /// From the end of a run to the start of the next.
    pub wait: TimeDelta,
    /// What becomes of a due run while one is going.
    pub overlap: Overlap,
    /// Scheduled runs until it ends.
    pub repeat_count: Option<u32>,
    /// Scheduled runs so far.
    pub run_count: u32,
}

/// What to do with a schedule whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Start a run; nothing is due until it has ended.
    Start {
        /// The time that it counts as.
        scheduled_at: DateTime<Utc>,
    },
    /// Drop the occurrence.
    Skip {
        /// The next one.
        next_due_at: DateTime<Utc>,
    },
    /// Nothing is due any more.
    Rest,
}

impl Schedule {
    fn has_runs_left(&self) -> bool {
        self.repeat_count.is_none_or(|count| self.run_count < count)
    }

    /// The schedule is due. `own_run_going`: its last scheduled run has not ended; `other_run_going`: a run of its plan and config
    /// that saves progress has not. `oldest`: history does not reach further back, so an older occurrence counts as now.
    pub fn due(
        &self,
        due_at: DateTime<Utc>,
        now: DateTime<Utc>,
        oldest: DateTime<Utc>,
        own_run_going: bool,
        other_run_going: bool,
    ) -> Due {
        if !self.active || !self.has_runs_left() || own_run_going {
            return Due::Rest;
        }
        match (other_run_going, self.overlap) {
            (true, Overlap::Skip) => Due::Skip { next_due_at: now + self.wait },
            (true, Overlap::Queue) | (false, Overlap::Skip | Overlap::Queue) => {
                Due::Start { scheduled_at: if due_at < oldest { now } else { due_at } }
            }
        }
    }

    /// When the next run is due after a scheduled one ended; none where the schedule rests.
    pub fn after_run(&self, ended_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (self.active && self.has_runs_left()).then(|| ended_at + self.wait)
    }

    /// When the next run is due once the schedule goes on after a pause: at once if that is overdue. `last_ended_at`: the end of
    /// its last scheduled run; none: it never had one, or history has forgotten it. None while its own run is going, which says
    /// at its end what is due.
    pub fn resumed(
        &self,
        last_ended_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        own_run_going: bool,
    ) -> Option<DateTime<Utc>> {
        if own_run_going {
            return None;
        }
        self.after_run(last_ended_at.unwrap_or(now - self.wait)).map(|due_at| due_at.max(now))
    }

    /// When its next runs would start, soonest first, at most `count`: what is overdue counts as now, a run that is going as one
    /// that ends now, and every later one as a run of no length.
    pub fn upcoming(
        &self,
        next_due_at: Option<DateTime<Utc>>,
        own_run_going: bool,
        now: DateTime<Utc>,
        count: usize,
    ) -> Vec<DateTime<Utc>> {
        let first = match next_due_at {
            Some(due_at) if self.active && self.has_runs_left() => Some(due_at.max(now)),
            None if own_run_going => self.after_run(now),
            Some(_) | None => None,
        };
        let left = self.repeat_count.map_or(u32::MAX, |runs| runs.saturating_sub(self.run_count));
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        std::iter::successors(first, |start| start.checked_add_signed(self.wait)).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::{Due, Overlap, Schedule};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn every_minute() -> Schedule {
        Schedule {
            active: true,
            wait: TimeDelta::minutes(1),
            overlap: Overlap::Skip,
            repeat_count: None,
            run_count: 3,
        }
    }

    #[test]
    fn an_inactive_schedule_rests() {
        let schedule = Schedule { active: false, ..every_minute() };
        assert_eq!(schedule.due(at(100), at(101), at(0), false, false), Due::Rest);
        assert_eq!(schedule.after_run(at(100)), None);
    }

    #[test]
    fn the_last_of_repeat_count_ends_it() {
        let schedule = Schedule { repeat_count: Some(3), ..every_minute() };
        assert_eq!(schedule.due(at(100), at(101), at(0), false, false), Due::Rest);
        assert_eq!(schedule.after_run(at(100)), None);
        let schedule = Schedule { repeat_count: Some(4), ..every_minute() };
        assert_eq!(schedule.due(at(100), at(101), at(0), false, false), Due::Start { scheduled_at: at(100) });
    }

    #[test]
    fn behind_a_triggered_run_it_skips_or_queues() {
        let due = every_minute().due(at(100), at(130), at(0), false, true);
        assert_eq!(due, Due::Skip { next_due_at: at(190) });
        let schedule = Schedule { overlap: Overlap::Queue, ..every_minute() };
        assert_eq!(schedule.due(at(100), at(130), at(0), false, true), Due::Start { scheduled_at: at(100) });
    }

    #[test]
    fn what_history_does_not_reach_counts_as_now() {
        assert_eq!(
            every_minute().due(at(100), at(9000), at(500), false, false),
            Due::Start { scheduled_at: at(9000) }
        );
    }

    #[test]
    fn waits_from_the_end_of_a_run() {
        assert_eq!(every_minute().after_run(at(1000)), Some(at(1060)));
    }

    #[test]
    fn a_resumed_schedule_runs_what_is_overdue_at_once_and_waits_for_the_rest() {
        let schedule = every_minute();
        assert_eq!(schedule.resumed(None, at(1000), false), Some(at(1000)));
        assert_eq!(schedule.resumed(Some(at(100)), at(1000), false), Some(at(1000)));
        assert_eq!(schedule.resumed(Some(at(990)), at(1000), false), Some(at(1050)));
        assert_eq!(schedule.resumed(Some(at(100)), at(1000), true), None);
        assert_eq!(Schedule { active: false, ..schedule }.resumed(None, at(1000), false), None);
        assert_eq!(Schedule { repeat_count: Some(3), ..schedule }.resumed(None, at(1000), false), None);
    }

    #[test]
    fn the_next_runs_are_known_as_far_as_they_are() {
        let ended = Schedule { repeat_count: Some(3), ..every_minute() };
        let two_left = Schedule { repeat_count: Some(5), ..every_minute() };
        let inactive = Schedule { active: false, ..every_minute() };
        type Case = (&'static str, Schedule, Option<i64>, bool, &'static [i64]);
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
            assert_eq!(schedule.upcoming(due.map(at), going, at(1000), 3), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn never_starts_behind_its_own_run(
            active in any::<bool>(), other in any::<bool>(), runs in 0..5_u32, repeat in proptest::option::of(1..5_u32),
            overlap in prop_oneof![Just(Overlap::Skip), Just(Overlap::Queue)],
        ) {
            let schedule = Schedule { active, overlap, repeat_count: repeat, run_count: runs, ..every_minute() };
            prop_assert_eq!(schedule.due(at(100), at(101), at(0), true, other), Due::Rest);
        }

        #[test]
        fn a_start_is_never_in_the_future_nor_before_history(due in 0..1000_i64, late in 0..1000_i64, oldest in 0..2000_i64) {
            let now = at(due + late);
            let oldest = at(oldest).min(now);
            match every_minute().due(at(due), now, oldest, false, false) {
                Due::Start { scheduled_at } => prop_assert!(scheduled_at <= now && scheduled_at >= oldest),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
