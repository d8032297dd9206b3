//! Due times of schedules: when a plan runs next for a config, either some time after its last
//! execution or by cron.
//!
//! A schedule stores its [`DueTimes`]. With cron that includes up to which time everything is
//! decided. A time is decided once its execution was started or the time was dropped. So times that
//! were missed during an outage are known afterwards, and no time runs twice.

mod cron;

use chrono::{DateTime, TimeDelta, Utc};

pub use cron::{CronTimes, InvalidCron, offset};

use crate::text::text_enum;

text_enum! {
    /// The treatment of a time that is due while an execution is active.
    Overlap as "overlap" {
        /// The time is dropped.
        Skip = "skip",
        /// Its execution waits and starts right after the active one.
        Queue = "queue",
    }
}

text_enum! {
    /// The treatment of times that were missed during an outage.
    CatchUp as "catch-up" {
        /// One execution runs for all of them.
        RunOnce = "run_once",
        /// They are dropped.
        Skip = "skip",
        /// Each gets its execution, one after the other.
        RunEach = "run_each",
    }
}

/// Maximum number of missed or queued times that get an execution each. Of more, the latest do.
pub const MAX_OWED: usize = 100;
/// A time that is no older than this was not missed: a server restarted, or a database was slow.
const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// The times at which a plan runs for a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleTiming {
    /// This long after the end of the last execution.
    Wait(TimeDelta),
    /// At the times of a cron text.
    Cron(Box<CronTimes>),
}

/// The rules of a schedule, taken from the schedule, its plan and its config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRules {
    /// True if plan and config are enabled.
    pub enabled: bool,
    /// True if the schedule is paused.
    pub paused: bool,
    /// The times at which it runs.
    pub timing: ScheduleTiming,
    /// The treatment of a time that is due while an execution is active.
    pub overlap: Overlap,
    /// The treatment of missed times, with cron.
    pub catch_up: CatchUp,
    /// Number of scheduled executions after which it ends.
    pub repeat_count: Option<u32>,
    /// Number of scheduled executions so far.
    pub run_count: u32,
}

/// The due times of a schedule, as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueTimes {
    /// Time at which it is due; none when it is suspended or its execution has not ended.
    pub next_at: Option<DateTime<Utc>>,
    /// With cron: every time up to this one is decided; none when none was since it was enabled.
    pub decided_until: Option<DateTime<Utc>>,
    /// With cron: undecided times up to this one get their execution however late, one after the
    /// other.
    pub owed_until: Option<DateTime<Utc>>,
}

/// A decision about a schedule that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueDecision {
    /// Start an execution. Nothing is due until it has ended.
    Start {
        /// The time that the execution is for.
        scheduled_at: DateTime<Utc>,
        /// The new due times.
        due: DueTimes,
    },
    /// Drop the time that is due.
    Skip {
        /// The new due times.
        due: DueTimes,
    },
    /// Nothing is due any more.
    Suspend,
}

/// The active executions of a plan and config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActiveExecutions {
    /// True if the schedule's last execution has not ended.
    pub own: bool,
    /// True if another execution that saves progress has not ended.
    pub other: bool,
}

impl ScheduleRules {
    /// Returns whether it is enabled, not paused, and has executions left.
    fn is_active(&self) -> bool {
        self.enabled && !self.paused && self.repeat_count.is_none_or(|count| self.run_count < count)
    }

    /// Returns the next time of a cron text as due, with everything up to now decided.
    fn due_next(&self, cron: &CronTimes, now: DateTime<Utc>) -> DueTimes {
        let next_at = if self.is_active() { cron.after(now) } else { None };
        DueTimes { next_at, decided_until: Some(now), owed_until: None }
    }

    /// Decides what to do with a schedule that is due.
    ///
    /// `oldest` is the oldest time that the history reaches back to. With cron, older times are
    /// dropped. With a wait, an older time counts as now.
    pub fn decide_due(
        &self,
        due: DueTimes,
        now: DateTime<Utc>,
        oldest: DateTime<Utc>,
        active: ActiveExecutions,
    ) -> DueDecision {
        if !self.is_active() || active.own {
            return DueDecision::Suspend;
        }
        let dropped = active.other && self.overlap == Overlap::Skip;
        match &self.timing {
            ScheduleTiming::Wait(wait) if dropped => {
                DueDecision::Skip { due: DueTimes { next_at: Some(now + *wait), ..DueTimes::default() } }
            }
            ScheduleTiming::Wait(_) => {
                let due_at = due.next_at.unwrap_or(now);
                let scheduled_at = if due_at < oldest { now } else { due_at };
                DueDecision::Start { scheduled_at, due: DueTimes::default() }
            }
            ScheduleTiming::Cron(cron) if dropped => DueDecision::Skip { due: self.due_next(cron, now) },
            ScheduleTiming::Cron(cron) => match self.next_start(cron, due, now, oldest) {
                Some((scheduled_at, owed_until)) => {
                    let due = DueTimes { next_at: None, decided_until: Some(scheduled_at), owed_until };
                    DueDecision::Start { scheduled_at, due }
                }
                None => DueDecision::Skip { due: self.due_next(cron, now) },
            },
        }
    }

    /// Returns the time that gets its execution now, and the time up to which more are owed one;
    /// none when every time that has passed is dropped.
    fn next_start(
        &self,
        cron: &CronTimes,
        due: DueTimes,
        now: DateTime<Utc>,
        oldest: DateTime<Utc>,
    ) -> Option<(DateTime<Utc>, Option<DateTime<Utc>>)> {
        let since = due.decided_until?.max(oldest);
        if let Some(until) = due.owed_until.map(|until| until.min(now))
            && let Some(owed) = cron.after(since).filter(|time| *time <= until)
        {
            return Some((owed, Some(until)));
        }
        let times = cron.between(since, now, MAX_OWED);
        let (first, last) = (*times.first()?, *times.last()?);
        match self.catch_up {
            CatchUp::RunEach if first < last => Some((first, Some(last))),
            CatchUp::Skip if now - last > ON_TIME => None,
            CatchUp::RunEach | CatchUp::Skip | CatchUp::RunOnce => Some((last, None)),
        }
    }

    /// Returns the due times after the schedule's execution ended now. With cron, times that passed
    /// meanwhile are dropped, or owed an execution each.
    pub fn after_execution(&self, due: DueTimes, now: DateTime<Utc>) -> DueTimes {
        let cron = match &self.timing {
            ScheduleTiming::Wait(wait) => {
                return DueTimes { next_at: self.is_active().then(|| now + *wait), ..DueTimes::default() };
            }
            ScheduleTiming::Cron(cron) => cron,
        };
        if !self.is_active() {
            return DueTimes { next_at: None, ..due };
        }
        let Some(decided_until) = due.decided_until else { return self.due_next(cron, now) };
        let owed =
            cron.after(decided_until).filter(|time| due.owed_until.is_some_and(|until| *time <= until));
        match (owed, self.overlap) {
            (Some(next), _) => DueTimes { next_at: Some(next), ..due },
            (None, Overlap::Skip) => self.due_next(cron, now),
            (None, Overlap::Queue) => {
                let times = cron.between(decided_until, now, MAX_OWED);
                let Some(first) = times.first() else { return self.due_next(cron, now) };
                // Times before the first are more than MAX_OWED, and dropped.
                let decided_until = Some(*first - TimeDelta::microseconds(1));
                DueTimes { next_at: Some(*first), decided_until, owed_until: times.last().copied() }
            }
        }
    }

    /// Returns the due times after a change of the plan or config, or of a new schedule. `anew`
    /// says that the timing itself changed.
    pub fn after_change(&self, due: DueTimes, now: DateTime<Utc>, own_active: bool, anew: bool) -> DueTimes {
        if !self.enabled {
            return DueTimes::default();
        }
        let cron = match &self.timing {
            ScheduleTiming::Wait(wait) => {
                let latest = (self.is_active() && !own_active).then(|| now + *wait);
                // A shorter wait takes effect at once. A longer one does not delay what is due
                // already.
                let next_at = latest.map(|latest| due.next_at.map_or(now, |due| due.min(latest)));
                return DueTimes { next_at, ..DueTimes::default() };
            }
            ScheduleTiming::Cron(cron) => cron,
        };
        let due = if anew || due.decided_until.is_none() { self.due_next(cron, now) } else { due };
        if own_active || !self.is_active() {
            return DueTimes { next_at: None, ..due };
        }
        if due.next_at.is_none() { self.due_next(cron, now) } else { due }
    }

    /// Returns the due times after a pause. An overdue wait runs at once, and missed times of a
    /// cron text are caught up. `last_ended_at` is the end of the last scheduled execution; none
    /// when there was none, or the history does not reach back to it.
    pub fn after_resume(
        &self,
        due: DueTimes,
        last_ended_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        own_active: bool,
    ) -> DueTimes {
        if own_active || !self.is_active() {
            // The end of its execution decides what is due.
            return DueTimes { next_at: None, ..due };
        }
        match &self.timing {
            ScheduleTiming::Wait(wait) => {
                let due_at = last_ended_at.map_or(now, |ended_at| ended_at + *wait);
                DueTimes { next_at: Some(due_at.max(now)), ..DueTimes::default() }
            }
            ScheduleTiming::Cron(cron) => match due.decided_until {
                Some(decided) => DueTimes { next_at: cron.after(decided).map(|time| time.max(now)), ..due },
                None => self.due_next(cron, now),
            },
        }
    }

    /// Returns the starts of the next executions, soonest first, at most `count`. A forecast: what
    /// is overdue starts now, an active execution ends now, and every later one takes no time.
    pub fn upcoming(
        &self,
        due: DueTimes,
        own_active: bool,
        now: DateTime<Utc>,
        count: usize,
    ) -> Vec<DateTime<Utc>> {
        if !self.is_active() {
            return Vec::new();
        }
        let due = if own_active { self.after_execution(due, now) } else { due };
        let left = self.repeat_count.map_or(u32::MAX, |runs| runs.saturating_sub(self.run_count));
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        let first = match &self.timing {
            ScheduleTiming::Wait(_) => due.next_at.map(|due_at| due_at.max(now)),
            ScheduleTiming::Cron(_) if due.next_at.is_some_and(|due_at| due_at <= now) => {
                match self.decide_due(due, now, DateTime::<Utc>::MIN_UTC, ActiveExecutions::default()) {
                    DueDecision::Start { .. } => Some(now),
                    DueDecision::Skip { due } => due.next_at,
                    DueDecision::Suspend => None,
                }
            }
            ScheduleTiming::Cron(_) => due.next_at,
        };
        let next = |time: &DateTime<Utc>| match &self.timing {
            ScheduleTiming::Wait(wait) => time.checked_add_signed(*wait),
            ScheduleTiming::Cron(cron) => cron.after(*time),
        };
        std::iter::successors(first, next).take(count).collect()
    }
}

#[cfg(test)]
mod tests;
