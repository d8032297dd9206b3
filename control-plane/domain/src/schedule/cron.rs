//! Cron times in a time zone, shifted by the offset of each config.
//!
//! `croner` decides what a clock change does to them. A fixed time inside the hour that is left out
//! comes right after it. A fixed time inside the hour that comes twice comes once. A pattern that
//! repeats by the clock (`*/5`, `*`) runs through both passes of that hour.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Year};
use sha2::{Digest, Sha256};

use crate::{ConfigId, PlanId};

/// An invalid cron text or time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// The text does not have 5 fields, or 6 with seconds first, or a field is invalid.
    #[error("{text:?} is not a cron text: {why}")]
    Text {
        /// The text.
        text: String,
        /// The reason.
        why: String,
    },
    /// The zone is not in the IANA database.
    #[error("{0:?} is not an IANA time zone")]
    Zone(String),
}

/// The times at which a plan runs for one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronTimes {
    pattern: Cron,
    zone: Tz,
    offset: TimeDelta,
}

impl CronTimes {
    /// Parses a cron text of 5 fields, or 6 with seconds first. It follows the clock of an IANA
    /// zone, and `offset` delays each time.
    ///
    /// # Errors
    /// The text or the zone is invalid.
    pub fn parse(text: &str, zone: &str, offset: TimeDelta) -> Result<Self, InvalidCron> {
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let pattern = parser
            .parse(text)
            .map_err(|error| InvalidCron::Text { text: text.to_owned(), why: error.to_string() })?;
        let zone = zone.parse().map_err(|_| InvalidCron::Zone(zone.to_owned()))?;
        Ok(Self { pattern, zone, offset })
    }

    /// Returns the first time after this one; none when the text names a day that never comes.
    pub fn after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Whole seconds, because croner ignores anything finer.
        let local = time.checked_sub_signed(self.offset)?.trunc_subsecs(0).with_timezone(&self.zone);
        let next = self.pattern.find_next_occurrence(&local, false).ok()?;
        let next = next.with_timezone(&Utc).checked_add_signed(self.offset)?;
        (next > time).then_some(next)
    }

    /// Returns the times after `since` and up to `until`, soonest first. Of more than `most`, it
    /// returns the latest.
    pub fn between(&self, since: DateTime<Utc>, until: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
        let mut times = Vec::new();
        let mut last = self.at_or_before(until);
        while let Some(time) = last.filter(|time| *time > since && times.len() < most) {
            times.push(time);
            last = self.at_or_before(time - TimeDelta::seconds(1));
        }
        times.reverse();
        times
    }

    fn at_or_before(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = time.checked_sub_signed(self.offset)?.trunc_subsecs(0).with_timezone(&self.zone);
        let last = self.pattern.find_previous_occurrence(&local, true).ok()?;
        let last = last.with_timezone(&Utc).checked_add_signed(self.offset)?;
        (last <= time).then_some(last)
    }
}

/// Returns the offset of a plan for a config: whole seconds below `spread_seconds`, always the
/// same, from the first bits of SHA-256 over both ids.
pub fn offset(plan: PlanId, config: ConfigId, spread_seconds: u32) -> TimeDelta {
    let mut hash = Sha256::new();
    hash.update(plan.0.as_bytes());
    hash.update(config.0.as_bytes());
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    let seconds = u64::from_be_bytes(first).checked_rem(spread_seconds.into()).unwrap_or(0);
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use uuid::Uuid;

    use super::{CronTimes, InvalidCron, offset};
    use crate::{ConfigId, PlanId};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn times(text: &str, zone: &str) -> CronTimes {
        CronTimes::parse(text, zone, TimeDelta::zero()).unwrap()
    }

    fn next(text: &str, zone: &str, since: &str, count: usize) -> Vec<String> {
        let times = times(text, zone);
        std::iter::successors(times.after(at(since)), |time| times.after(*time))
            .take(count)
            .map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
            .collect()
    }

    #[test]
    fn invalid_cron_text_or_zone_names_it() {
        for text in ["", "* * * *", "0 0 0 1 1 * 2026", "61 * * * *", "a * * * *"] {
            let refused = CronTimes::parse(text, "UTC", TimeDelta::zero()).unwrap_err();
            assert!(refused.to_string().starts_with(&format!("{text:?} is not a cron text: ")), "{refused}");
        }
        assert_eq!(
            CronTimes::parse("* * * * *", "Mars/Olympus", TimeDelta::zero()),
            Err(InvalidCron::Zone("Mars/Olympus".to_owned()))
        );
    }

    #[test]
    fn cron_text_has_five_fields_or_six_with_seconds() {
        assert_eq!(
            next("30 5 * * *", "UTC", "2026-01-01T05:30:00Z", 2),
            ["2026-01-02T05:30:00Z", "2026-01-03T05:30:00Z"]
        );
        assert_eq!(
            next("*/20 30 5 * * *", "UTC", "2026-01-01T05:30:20.5Z", 2),
            ["2026-01-01T05:30:40Z", "2026-01-02T05:30:00Z"]
        );
        // 7 is Sunday, as 0 is.
        assert_eq!(next("0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-04T00:00:00Z"]);
        assert_eq!(next("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", 1), [""; 0]);
    }

    #[test]
    fn cron_follows_the_clock_of_its_zone() {
        assert_eq!(
            next("0 9 * * *", "America/New_York", "2026-03-07T00:00:00Z", 3),
            ["2026-03-07T14:00:00Z", "2026-03-08T13:00:00Z", "2026-03-09T13:00:00Z"]
        );
    }

    #[test]
    fn fixed_time_in_the_skipped_hour_comes_right_after_it() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00, which is 01:00 UTC.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            next("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        );
    }

    #[test]
    fn fixed_time_in_the_repeated_hour_comes_once() {
        // Berlin, 2026-10-25: 03:00 becomes 02:00 again, at 01:00 UTC.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        assert_eq!(
            next("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn times_between_keep_the_latest() {
        let hourly = times("0 * * * *", "UTC");
        let between = |since, until, most| hourly.between(at(since), at(until), most);
        assert_eq!(
            between("2026-01-01T00:00:00Z", "2026-01-01T03:00:00.7Z", 100),
            ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z"].map(at)
        );
        assert_eq!(
            between("2026-01-01T00:00:00Z", "2026-01-01T03:00:00Z", 1),
            ["2026-01-01T03:00:00Z"].map(at)
        );
        assert!(between("2026-01-01T00:00:00Z", "2026-01-01T00:59:59Z", 100).is_empty());
        assert!(between("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", 100).is_empty());
    }

    #[test]
    fn offset_is_pinned() {
        let offset = |config, spread| {
            offset(PlanId(Uuid::from_u128(1)), ConfigId(Uuid::from_u128(config)), spread).num_seconds()
        };
        assert_eq!([offset(1, 3600), offset(2, 3600), offset(1, 0)], [813, 1772, 0]);
    }

    proptest! {
        #[test]
        fn offset_is_stable_and_below_its_spread(plan in any::<u128>(), config in any::<u128>(), spread in 0..100_000_u32) {
            let found = offset(PlanId(Uuid::from_u128(plan)), ConfigId(Uuid::from_u128(config)), spread);
            prop_assert!(found >= TimeDelta::zero() && found < TimeDelta::seconds(i64::from(spread.max(1))));
            prop_assert_eq!(found, offset(PlanId(Uuid::from_u128(plan)), ConfigId(Uuid::from_u128(config)), spread));
        }

        /// Mostly around the hours that clocks skip or repeat.
        #[test]
        fn looking_back_finds_the_same_times_as_ahead(
            change in 0..7_usize, before in 0..100_000_i64, shift in 0..5000_i64, which in 0..6_usize, zone in 0..5_usize,
        ) {
            let change = ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z",
                "2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z", "2028-02-29T00:00:00Z"][change];
            let since = at(change) - TimeDelta::milliseconds(before * 1000 - 1);
            let text = ["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 1-3 * * SUN", "*/25 30 1-2 * * *", "0 12 L * *"][which];
            let zone = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"][zone];
            let times = CronTimes::parse(text, zone, TimeDelta::seconds(shift)).unwrap();
            let mut ahead = Vec::new();
            let mut last = since;
            for _ in 0..5 {
                let Some(time) = times.after(last) else { break };
                prop_assert!(time > last, "{time} after {last}");
                ahead.push(time);
                last = time;
            }
            prop_assert_eq!(times.between(since, last, 100), ahead);
        }
    }
}
