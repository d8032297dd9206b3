//! When a plan runs next for a config: so long after the end of the run before, or at the times of a cron text.
//!
//! Of a schedule are stored its [`DueTimes`]: when it is due, and for cron how far its times are decided. A time is decided once its run was
//! started, or once it was dropped; so what was missed while nothing ran is known afterwards, and nothing is run twice.

mod cron;

use chrono::{DateTime, TimeDelta, Utc};

pub use cron::{CronTimes, InvalidCron, offset};

use crate::text::text_enum;

text_enum! {
    /// What becomes of a due run while one is going.
    Overlap as "overlap" {
        /// It is dropped.
        Skip = "skip",
        /// It waits, and runs right after.
        Queue = "queue",
    }
}

text_enum! {
    /// What becomes of the times that were missed while nothing ran.
    CatchUp as "catch-up" {
        /// One run stands for all of them.
        RunOnce = "run_once",
        /// They are dropped.
        Skip = "skip",
        /// Each gets its run, one after the other.
        RunEach = "run_each",
    }
}

/// So many times that were missed, or came while a run was going, get runs of their own; of more, the latest.
pub const MAX_OWED: usize = 100;
/// A time that is no older than this is no missed one: a server is restarted, a database is slow.
const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// When a plan runs for a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleTiming {
    /// So long after the end of the run before.
    Wait(TimeDelta),
    /// At these times.
    Cron(Box<CronTimes>),
}

/// What of a schedule, its plan and its config decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRules {
    /// Plan and config are enabled.
    pub enabled: bool,
    /// Somebody paused it.
    pub paused: bool,
    /// When it runs.
    pub timing: ScheduleTiming,
    /// What becomes of a due run while one is going.
    pub overlap: Overlap,
    /// What becomes of missed times, by cron.
    pub catch_up: CatchUp,
    /// Scheduled runs until it ends.
    pub repeat_count: Option<u32>,
    /// Scheduled runs so far.
    pub run_count: u32,
}

/// How a schedule stands in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueTimes {
    /// When it is due; none: it rests, or its run is going.
    pub next_at: Option<DateTime<Utc>>,
    /// By cron: every time up to this one is decided; none: nothing was, since it was enabled.
    pub decided_until: Option<DateTime<Utc>>,
    /// By cron: what is not decided up to this time gets its run however late, one after the other.
    pub owed_until: Option<DateTime<Utc>>,
}

/// What to do with a schedule whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueDecision {
    /// Start a run; nothing is due until it has ended.
    Start {
        /// The time that it counts as.
        scheduled_at: DateTime<Utc>,
        /// How the schedule stands then.
        dues: DueTimes,
    },
    /// Drop what is due.
    Skip {
        /// How the schedule stands then.
        dues: DueTimes,
    },
    /// Nothing is due any more.
    Suspend,
}

/// What else is going of its plan and config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActiveExecutions {
    /// Its last scheduled run has not ended.
    pub own: bool,
    /// Another run that saves progress has not.
    pub other: bool,
}

impl ScheduleRules {
    /// It is enabled, not paused, and has runs left.
    fn is_active(&self) -> bool {
        self.enabled && !self.paused && self.repeat_count.is_none_or(|count| self.run_count < count)
    }

    /// Due at its next time; everything up to now is decided.
    fn at_next(&self, cron: &CronTimes, now: DateTime<Utc>) -> DueTimes {
        let next_at = if self.is_active() { cron.after(now) } else { None };
        DueTimes { next_at, decided_until: Some(now), owed_until: None }
    }

    /// The schedule is due. `oldest`: history does not reach further back. What is older is dropped by cron, and counts as now by
    /// waiting.
    pub fn due(
        &self,
        dues: DueTimes,
        now: DateTime<Utc>,
        oldest: DateTime<Utc>,
        going: ActiveExecutions,
    ) -> DueDecision {
        if !self.is_active() || going.own {
            return DueDecision::Suspend;
        }
        let dropped = going.other && self.overlap == Overlap::Skip;
        match &self.timing {
            ScheduleTiming::Wait(wait) if dropped => {
                DueDecision::Skip { dues: DueTimes { next_at: Some(now + *wait), ..DueTimes::default() } }
            }
            ScheduleTiming::Wait(_) => {
                let due_at = dues.next_at.unwrap_or(now);
                let scheduled_at = if due_at < oldest { now } else { due_at };
                DueDecision::Start { scheduled_at, dues: DueTimes::default() }
            }
            ScheduleTiming::Cron(cron) if dropped => DueDecision::Skip { dues: self.at_next(cron, now) },
            ScheduleTiming::Cron(cron) => match self.turn(cron, dues, now, oldest) {
                Some((scheduled_at, owed_until)) => {
                    let dues = DueTimes { next_at: None, decided_until: Some(scheduled_at), owed_until };
                    DueDecision::Start { scheduled_at, dues }
                }
                None => DueDecision::Skip { dues: self.at_next(cron, now) },
            },
        }
    }

    /// Which time gets its run now, and up to when more are owed one; none: nothing that is to be run has come.
    fn turn(
        &self,
        cron: &CronTimes,
        dues: DueTimes,
        now: DateTime<Utc>,
        oldest: DateTime<Utc>,
    ) -> Option<(DateTime<Utc>, Option<DateTime<Utc>>)> {
        let since = dues.decided_until?.max(oldest);
        if let Some(until) = dues.owed_until.map(|until| until.min(now))
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

    /// Its scheduled run ended now. By cron, what came while it was going is dropped, or owed a run each.
    pub fn after_run(&self, dues: DueTimes, now: DateTime<Utc>) -> DueTimes {
        let cron = match &self.timing {
            ScheduleTiming::Wait(wait) => {
                return DueTimes { next_at: self.is_active().then(|| now + *wait), ..DueTimes::default() };
            }
            ScheduleTiming::Cron(cron) => cron,
        };
        if !self.is_active() {
            return DueTimes { next_at: None, ..dues };
        }
        let Some(decided_until) = dues.decided_until else { return self.at_next(cron, now) };
        let owed =
            cron.after(decided_until).filter(|time| dues.owed_until.is_some_and(|until| *time <= until));
        match (owed, self.overlap) {
            (Some(next), _) => DueTimes { next_at: Some(next), ..dues },
            (None, Overlap::Skip) => self.at_next(cron, now),
            (None, Overlap::Queue) => {
                let times = cron.between(decided_until, now, MAX_OWED);
                let Some(first) = times.first() else { return self.at_next(cron, now) };
                // Those before the first, too many, are dropped.
                let decided_until = Some(*first - TimeDelta::microseconds(1));
                DueTimes { next_at: Some(*first), decided_until, owed_until: times.last().copied() }
            }
        }
    }

    /// Plan or config were changed, or the schedule is new. `anew`: what its times are has changed.
    pub fn changed(&self, dues: DueTimes, now: DateTime<Utc>, own_run_going: bool, anew: bool) -> DueTimes {
        if !self.enabled {
            return DueTimes::default();
        }
        let cron = match &self.timing {
            ScheduleTiming::Wait(wait) => {
                let latest = (self.is_active() && !own_run_going).then(|| now + *wait);
                // A shorter wait takes effect at once; what was due before stays due.
                let next_at = latest.map(|latest| dues.next_at.map_or(now, |due| due.min(latest)));
                return DueTimes { next_at, ..DueTimes::default() };
            }
            ScheduleTiming::Cron(cron) => cron,
        };
        let dues = if anew || dues.decided_until.is_none() { self.at_next(cron, now) } else { dues };
        if own_run_going || !self.is_active() {
            return DueTimes { next_at: None, ..dues };
        }
        if dues.next_at.is_none() { self.at_next(cron, now) } else { dues }
    }

    /// It goes on after a pause: what is overdue runs at once by waiting, and by cron is caught up. `last_ended_at`: the end of its last
    /// scheduled run; none: it never had one, or history has forgotten it.
    pub fn resumed(
        &self,
        dues: DueTimes,
        last_ended_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        own_run_going: bool,
    ) -> DueTimes {
        if own_run_going || !self.is_active() {
            // The end of its run says what is due.
            return DueTimes { next_at: None, ..dues };
        }
        match &self.timing {
            ScheduleTiming::Wait(wait) => {
                let due_at = last_ended_at.map_or(now, |ended_at| ended_at + *wait);
                DueTimes { next_at: Some(due_at.max(now)), ..DueTimes::default() }
            }
            ScheduleTiming::Cron(cron) => match dues.decided_until {
                Some(decided) => DueTimes { next_at: cron.after(decided).map(|time| time.max(now)), ..dues },
                None => self.at_next(cron, now),
            },
        }
    }

    /// When its next runs would start, soonest first, at most `count`: what is overdue counts as now, a run that is going as one
    /// that ends now, and every later one as a run of no length.
    pub fn upcoming(
        &self,
        dues: DueTimes,
        own_run_going: bool,
        now: DateTime<Utc>,
        count: usize,
    ) -> Vec<DateTime<Utc>> {
        if !self.is_active() {
            return Vec::new();
        }
        let dues = if own_run_going { self.after_run(dues, now) } else { dues };
        let left = self.repeat_count.map_or(u32::MAX, |runs| runs.saturating_sub(self.run_count));
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        let first = match &self.timing {
            ScheduleTiming::Wait(_) => dues.next_at.map(|due_at| due_at.max(now)),
            ScheduleTiming::Cron(_) if dues.next_at.is_some_and(|due_at| due_at <= now) => {
                match self.due(dues, now, DateTime::<Utc>::MIN_UTC, ActiveExecutions::default()) {
                    DueDecision::Start { .. } => Some(now),
                    DueDecision::Skip { dues } => dues.next_at,
                    DueDecision::Suspend => None,
                }
            }
            ScheduleTiming::Cron(_) => dues.next_at,
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
