//! When a schedule would run next, as far as that is known now.

use chrono::{DateTime, TimeDelta, Utc};

use super::GetSchedule;
use crate::{
    commands::CommandError,
    store::{
        db::{TenantTx, Work},
        schedules::Schedule,
    },
};

/// Which schedule, how far.
pub struct ListNextRuns {
    /// Which schedule.
    pub schedule: GetSchedule,
    /// At most this many times.
    pub count: usize,
    /// When it is asked.
    pub now: DateTime<Utc>,
}

impl Work<TenantTx> for ListNextRuns {
    type Done = Vec<DateTime<Utc>>;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Done, CommandError> {
        let schedule = self.schedule.run(tx).await?;
        Ok(next_runs(&schedule, self.count, self.now))
    }
}

/// Runs are taken to last no time; while a scheduled one is going, the next is a whole wait away at the least.
fn next_runs(schedule: &Schedule, count: usize, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    if !schedule.plan_enabled || !schedule.config_enabled || schedule.paused {
        return Vec::new();
    }
    let wait = TimeDelta::seconds(i64::from(schedule.wait_seconds));
    let first = match (schedule.next_due_at, schedule.current_execution_id) {
        (Some(due), _) => due.max(now),
        (None, Some(_)) => now + wait,
        (None, None) => return Vec::new(),
    };
    let left = schedule
        .repeat_count
        .map_or(count, |repeat| usize::try_from(repeat.saturating_sub(schedule.run_count)).unwrap_or(0));
    let mut times = Vec::new();
    let mut next = Some(first);
    while let Some(time) = next.filter(|_| times.len() < count.min(left)) {
        times.push(time);
        next = time.checked_add_signed(wait);
    }
    times
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn schedule() -> Schedule {
        Schedule {
            id: Uuid::nil(),
            plan_id: Uuid::nil(),
            config_id: Uuid::nil(),
            plan_key: String::new(),
            integration_key: String::new(),
            config_key: String::new(),
            paused: false,
            next_due_at: Some(at(130)),
            current_execution_id: None,
            last_execution_id: None,
            run_count: 3,
            plan_enabled: true,
            config_enabled: true,
            wait_seconds: 60,
            repeat_count: None,
        }
    }

    #[test]
    fn times_end_with_the_last_of_repeat_count() {
        let last_two = Schedule { repeat_count: Some(5), ..schedule() };
        assert_eq!(next_runs(&last_two, 5, at(100)), [at(130), at(190)]);
        assert_eq!(next_runs(&schedule(), 3, at(100)), [at(130), at(190), at(250)]);
    }

    #[test]
    fn what_is_overdue_runs_now_and_what_rests_never() {
        assert_eq!(next_runs(&schedule(), 1, at(500)), [at(500)]);
        assert!(next_runs(&Schedule { paused: true, ..schedule() }, 5, at(100)).is_empty());
        assert!(next_runs(&Schedule { next_due_at: None, ..schedule() }, 5, at(100)).is_empty());
    }

    #[test]
    fn behind_a_run_that_is_going_a_whole_wait_passes() {
        let going = Schedule { next_due_at: None, current_execution_id: Some(Uuid::nil()), ..schedule() };
        assert_eq!(next_runs(&going, 1, at(100)), [at(160)]);
    }
}
