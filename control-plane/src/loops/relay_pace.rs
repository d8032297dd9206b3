//! How often the relay looks for work: often while something waits, seldom at rest.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::loop_runtime::jittered;
use crate::settings::LoopSettings;

/// Time between two passes while nothing waits.
const QUIET_INTERVAL: Duration = Duration::from_secs(1);

/// The finding of a pass of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayPass {
    /// Executions wait for free slots, or were announced and may have to be announced again.
    Busy,
    /// Nothing waits. `next` is the time at which the next parked execution can start.
    Quiet { next: Option<DateTime<Utc>> },
}

/// The time between two passes: short while something waits, long at rest.
///
/// A replica that commits work wakes its own relay, and so do freed slots while work waits. So at
/// rest a relay only looks for what a replica left behind that died after its commit.
pub(super) struct RelayPace {
    busy: Duration,
    quiet: Duration,
    /// Time for which the relay stays busy: until what it has announced would be announced again.
    lingers: Duration,
    busy_until: Instant,
}

impl RelayPace {
    /// Creates the pace of a relay at rest.
    pub(super) fn new(settings: &LoopSettings, now: Instant) -> Self {
        Self {
            busy: settings.relay_interval,
            quiet: settings.relay_interval.max(QUIET_INTERVAL),
            lingers: settings.relay_rering_after + QUIET_INTERVAL,
            busy_until: now,
        }
    }

    /// Returns the wait after a pass, which is none if the pass failed.
    pub(super) fn wait_after(
        &mut self,
        pass: Option<RelayPass>,
        now: DateTime<Utc>,
        at: Instant,
    ) -> Duration {
        match pass {
            Some(RelayPass::Quiet { next }) if at >= self.busy_until => {
                let until = next.map_or(self.quiet, |next| (next - now).to_std().unwrap_or_default());
                // A parked execution starts at its time and not at the next look.
                jittered(self.quiet).min(until.max(self.busy))
            }
            Some(RelayPass::Quiet { .. }) | None => jittered(self.busy),
            Some(RelayPass::Busy) => {
                self.busy_until = at + self.lingers;
                jittered(self.busy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn pace(now: Instant) -> RelayPace {
        let millis = Duration::from_millis;
        let settings = LoopSettings {
            scheduler_interval: millis(500),
            relay_interval: millis(50),
            relay_rering_after: millis(5000),
            reaper_interval: millis(1000),
            reaper_grace: millis(5000),
        };
        RelayPace::new(&settings, now)
    }

    const QUIET: Option<RelayPass> = Some(RelayPass::Quiet { next: None });

    #[tokio::test]
    async fn relay_looks_often_until_what_it_announced_is_due_again() {
        let (at, now) = (Instant::now(), DateTime::UNIX_EPOCH);
        let mut pace = pace(at);
        assert!(pace.wait_after(QUIET, now, at) > Duration::from_millis(600), "at rest");
        assert!(pace.wait_after(Some(RelayPass::Busy), now, at) < Duration::from_millis(100));
        let later = |seconds| at + Duration::from_secs(seconds);
        assert!(pace.wait_after(QUIET, now, later(5)) < Duration::from_millis(100));
        assert!(pace.wait_after(QUIET, now, later(7)) > Duration::from_millis(600), "at rest again");
    }

    #[tokio::test]
    async fn relay_at_rest_looks_when_a_parked_execution_can_start() {
        let (at, now) = (Instant::now(), DateTime::UNIX_EPOCH);
        let next = Some(now + TimeDelta::milliseconds(300));
        let wait = pace(at).wait_after(Some(RelayPass::Quiet { next }), now, at);
        assert_eq!(wait, Duration::from_millis(300));
    }
}
