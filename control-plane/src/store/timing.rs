//! Converts the columns of a plan, a config and a schedule to the rules by which it is due.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_domain::schedule::{CronTimes, InvalidCron, ScheduleRules, ScheduleTiming, offset};
use orchid_domain::{ConfigId, PlanId};
use uuid::Uuid;

use crate::store::error::StoreError;

/// The columns that decide when a schedule is due.
pub(crate) struct ScheduleColumns<'a> {
    pub(crate) plan_id: Uuid,
    pub(crate) config_id: Uuid,
    /// Whether both the plan and the config are enabled.
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
    /// Returns the rules.
    ///
    /// # Errors
    /// Fails if a column holds a value that this build does not know.
    pub(crate) fn rules(&self) -> Result<ScheduleRules, StoreError> {
        self.rules_with(self.timing().map_err(|error| StoreError::corrupt("plans.cron", error))?)
    }

    /// Returns the rules for a batch, which one plan must not fail: if its cron expression or time
    /// zone is no longer valid (a zone may be renamed), its schedule is suspended.
    ///
    /// # Errors
    /// Fails if any other column holds a value that this build does not know.
    pub(crate) fn rules_or_suspended(&self) -> Result<ScheduleRules, StoreError> {
        match self.timing() {
            Ok(timing) => self.rules_with(timing),
            Err(error) => {
                tracing::error!(plan_id = %self.plan_id, %error, "schedule suspended: invalid cron or timezone");
                Ok(ScheduleRules {
                    enabled: false,
                    ..self.rules_with(ScheduleTiming::Wait(TimeDelta::zero()))?
                })
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

    fn rules_with(&self, timing: ScheduleTiming) -> Result<ScheduleRules, StoreError> {
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

/// Returns the epoch for a missing time: list parameters cannot hold nulls.
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
    fn each_config_has_its_own_offset() {
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
    fn invalid_cron_suspends_only_its_schedule() {
        let unreadable = ScheduleColumns { timezone: Some("Mars/Olympus"), ..rules() };
        assert!(unreadable.rules().is_err());
        assert!(!unreadable.rules_or_suspended().unwrap().enabled);
        assert!(ScheduleColumns { overlap: "both", ..rules() }.rules_or_suspended().is_err());
    }
}
