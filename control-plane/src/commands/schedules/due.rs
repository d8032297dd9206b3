//! When a schedule is due after its plan, its config or itself was changed by hand.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_domain::schedule::Schedule as Rules;

use crate::store::{error::StoreError, schedules::Schedule};

/// What decides when a schedule is due.
pub(super) fn rules(row: &Schedule) -> Result<Rules, StoreError> {
    let count = |number: i32| u32::try_from(number).map_err(|error| StoreError::corrupt("schedules", error));
    Ok(Rules {
        active: row.plan_enabled && row.config_enabled && !row.paused,
        wait: TimeDelta::seconds(row.wait_seconds.into()),
        overlap: row.overlap.parse().map_err(|error| StoreError::corrupt("plans.overlap", error))?,
        repeat_count: row.repeat_count.map(count).transpose()?,
        run_count: count(row.run_count)?,
    })
}

/// When it is due from now on; none while it rests, or while its scheduled run is going, whose end moves it on.
pub(super) fn next_due(row: &Schedule, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
    if row.current_execution_id.is_some() {
        return Ok(None);
    }
    let latest = rules(row)?.after_run(now);
    // A shorter wait takes effect at once; what was due before stays due.
    Ok(latest.map(|latest| row.next_due_at.map_or(now, |due| due.min(latest))))
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
            next_due_at: None,
            current_execution_id: None,
            last_execution_id: None,
            run_count: 2,
            plan_enabled: true,
            config_enabled: true,
            wait_seconds: 60,
            overlap: "skip".to_owned(),
            repeat_count: None,
        }
    }

    #[test]
    fn what_rests_is_not_due() {
        let resting = [
            Schedule { plan_enabled: false, next_due_at: Some(at(5)), ..schedule() },
            Schedule { config_enabled: false, next_due_at: Some(at(5)), ..schedule() },
            Schedule { paused: true, next_due_at: Some(at(5)), ..schedule() },
            Schedule { repeat_count: Some(2), ..schedule() },
            Schedule { current_execution_id: Some(Uuid::nil()), ..schedule() },
        ];
        for schedule in resting {
            assert_eq!(next_due(&schedule, at(100)).unwrap(), None, "{schedule:?}");
        }
    }

    #[test]
    fn what_wakes_is_due_at_once() {
        assert_eq!(next_due(&schedule(), at(100)).unwrap(), Some(at(100)));
        assert_eq!(
            next_due(&Schedule { repeat_count: Some(3), ..schedule() }, at(100)).unwrap(),
            Some(at(100))
        );
    }

    #[test]
    fn a_shorter_wait_takes_effect_at_once_and_a_longer_one_next_time() {
        let due_at =
            |seconds| next_due(&Schedule { next_due_at: Some(at(seconds)), ..schedule() }, at(100)).unwrap();
        assert_eq!(due_at(3700), Some(at(160)));
        assert_eq!(due_at(130), Some(at(130)));
        assert_eq!(due_at(40), Some(at(40)));
    }
}
