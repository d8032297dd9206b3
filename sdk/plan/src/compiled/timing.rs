//! When a plan's runs are due.

use chrono_tz::Tz;
use croner::Cron;

/// When the next run is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Timing {
    /// So long after the end of the one before.
    Wait {
        /// Seconds, 1 or more.
        seconds: u64,
    },
    /// By the clock.
    Cron(Box<CronTiming>),
}

/// `cron` and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct CronTiming {
    /// 5 fields, or 6 with seconds first; it comes at least once.
    pub cron: Cron,
    /// Whose clock.
    pub timezone: Tz,
    /// Each config is due at an offset of its own within so many seconds.
    pub spread_seconds: u64,
}

/// What happens to the runs that were missed while nothing ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUpPolicy {
    /// One run stands for all of them.
    RunOnce,
    /// They are passed over.
    Skip,
    /// Each is run, 100 at most.
    RunEach,
}
