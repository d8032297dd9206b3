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
