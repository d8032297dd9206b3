//! What decides when a schedule is due, from the columns of its plan, its config and itself.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_domain::schedule::{CronTimes, InvalidCron, ScheduleRules, ScheduleTiming, offset};
use orchid_domain::{ConfigId, PlanId};
use uuid::Uuid;

use crate::store::error::StoreError;

/// The columns.
pub(crate) struct ScheduleColumns<'a> {
    pub(crate) plan_id: Uuid,
    pub(crate) config_id: Uuid,
    /// Plan and config are.
    pub(crate) enabled: bool,
    pub(crate) paused: bool,
    pub(crate) wait_seconds: i32,
    pub(crate) cron: Option<&'a str>,
    pub(crate) timezone: Option<&'a str>,
    pub(crate) spread_seconds: Option<i32>,
    pub(crate) overlap: &'a str,
    pub(crate) catch_up: &'a str,
    pub(crate) repeat_count: Option<i32>,
    pub(crate) run_count: i32,
}

impl ScheduleColumns<'_> {
    /// What they say.
    ///
    /// # Errors
    /// One does not read.
    pub(crate) fn rules(&self) -> Result<ScheduleRules, StoreError> {
        self.with(self.timing().map_err(|error| StoreError::corrupt("plans.cron", error))?)
    }

    /// What they say, for a batch that must not fail by one plan: where its cron text does not read any more (a zone was renamed, say),
    /// its schedule rests.
    ///
    /// # Errors
    /// Anything else does not read.
    pub(crate) fn rules_or_suspended(&self) -> Result<ScheduleRules, StoreError> {
        match self.timing() {
            Ok(timing) => self.with(timing),
            Err(error) => {
                tracing::error!(plan_id = %self.plan_id, %error, "a schedule rests");
                Ok(ScheduleRules { enabled: false, ..self.with(ScheduleTiming::Wait(TimeDelta::zero()))? })
            }
        }
    }

    fn timing(&self) -> Result<ScheduleTiming, InvalidCron> {
        let Some(cron) = self.cron else {
            return Ok(ScheduleTiming::Wait(TimeDelta::seconds(self.wait_seconds.into())));
        };
        let spread = self.spread_seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(0);
        let offset = offset(PlanId(self.plan_id), ConfigId(self.config_id), spread);
        Ok(ScheduleTiming::Cron(Box::new(CronTimes::parse(cron, self.timezone.unwrap_or("UTC"), offset)?)))
    }

    fn with(&self, timing: ScheduleTiming) -> Result<ScheduleRules, StoreError> {
        let count =
            |number: i32| u32::try_from(number).map_err(|error| StoreError::corrupt("schedules", error));
        Ok(ScheduleRules {
            enabled: self.enabled,
            paused: self.paused,
            timing,
            overlap: self.overlap.parse().map_err(|error| StoreError::corrupt("plans.overlap", error))?,
            catch_up: self.catch_up.parse().map_err(|error| StoreError::corrupt("plans.catch_up", error))?,
            repeat_count: self.repeat_count.map(count).transpose()?,
            run_count: count(self.run_count)?,
        })
    }
}

/// What stands for no time in a parameter that is a list: those hold no nulls.
pub(crate) fn or_epoch(time: Option<DateTime<Utc>>) -> DateTime<Utc> {
    time.unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ScheduleColumns<'static> {
        ScheduleColumns {
            plan_id: Uuid::from_u128(1),
            config_id: Uuid::from_u128(1),
            enabled: true,
            paused: false,
            wait_seconds: 300,
            cron: Some("0 5 * * *"),
            timezone: Some("Europe/Berlin"),
            spread_seconds: Some(3600),
            overlap: "skip",
            catch_up: "run_each",
            repeat_count: None,
            run_count: 0,
        }
    }

    #[test]
    fn each_config_has_an_offset_of_its_own() {
        let of = |config| {
            ScheduleColumns { config_id: Uuid::from_u128(config), ..rules() }.rules().unwrap().timing
        };
        let expected = |seconds| {
            CronTimes::parse("0 5 * * *", "Europe/Berlin", TimeDelta::seconds(seconds))
                .map(Box::new)
                .map(ScheduleTiming::Cron)
        };
        assert_eq!(Ok(of(1)), expected(813));
        assert_eq!(Ok(of(2)), expected(1772));
    }

    #[test]
    fn a_cron_text_that_does_not_read_any_more_rests_alone() {
        let unreadable = ScheduleColumns { timezone: Some("Mars/Olympus"), ..rules() };
        assert!(unreadable.rules().is_err());
        assert!(!unreadable.rules_or_suspended().unwrap().enabled);
        assert!(ScheduleColumns { overlap: "both", ..rules() }.rules_or_suspended().is_err());
    }
}
