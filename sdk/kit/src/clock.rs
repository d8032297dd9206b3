//! The only place that reads the machine's clocks. Logic takes times as values; composition roots get them here.

use std::time::Instant;

use chrono::{DateTime, Utc};

/// The wall clock. May jump; never subtract two of these to measure a duration.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban points at")]
pub fn utc_now() -> DateTime<Utc> {
    Utc::now()
}

/// The clock that only goes forward. Under tokio's paused time it stands still with it.
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_monotonic_clock_follows_paused_time() {
        let before = monotonic();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(monotonic() - before, Duration::from_secs(90));
    }
}
