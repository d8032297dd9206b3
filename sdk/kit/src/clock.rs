//! The only module that reads the machine's clocks. Logic takes times as values, and composition
//! roots get them here.

use std::time::Instant;

use chrono::{DateTime, Utc};

/// Returns the wall-clock time. It can jump, so never subtract two of these to measure a duration.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban points at")]
pub fn utc_now() -> DateTime<Utc> {
    Utc::now()
}

/// Returns the monotonic time. It follows tokio's paused time in tests.
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn monotonic_clock_follows_paused_time() {
        let before = monotonic();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(monotonic() - before, Duration::from_secs(90));
    }
}
