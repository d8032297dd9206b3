//! Waits for a condition for as long as the system makes progress.
//!
//! A slow machine must not fail a test, so no wait has a fixed total: it fails when what it
//! observes has not changed for [`STALL_LIMIT`].

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use orchid_kit::stall::StallDetector;
use tokio::time::sleep;

/// The time without any observed change after which a wait fails.
pub const STALL_LIMIT: Duration = Duration::from_secs(60);
/// The bound of every wait: something that changes forever is no progress either.
const CEILING: Duration = Duration::from_secs(15 * 60);
const INTERVAL: Duration = Duration::from_millis(25);

/// Waits until `observe` returns `Ok`, and panics once its `Err`, the state observed instead, stays
/// the same for [`STALL_LIMIT`].
pub async fn eventually<T, P: PartialEq + Debug>(
    what: &str,
    mut observe: impl AsyncFnMut() -> Result<T, P>,
) -> T {
    let started = Instant::now();
    let mut detector = StallDetector::new(STALL_LIMIT, started);
    loop {
        let observed = match observe().await {
            Ok(value) => return value,
            Err(observed) => observed,
        };
        let description = format!("{observed:?}");
        let now = Instant::now();
        assert!(
            !detector.stalled(now, observed),
            "{what}: no progress for {} s, last observed: {description}",
            STALL_LIMIT.as_secs()
        );
        assert!(
            now - started < CEILING,
            "{what}: not within {} s, last observed: {description}",
            CEILING.as_secs()
        );
        sleep(INTERVAL).await;
    }
}

/// Returns `Ok` once a count has reached `wanted`, else the count as the observation of a wait.
///
/// # Errors
/// When `seen` is below `wanted`.
pub fn reached<N: PartialOrd>(seen: N, wanted: N) -> Result<N, N> {
    if seen >= wanted { Ok(seen) } else { Err(seen) }
}

/// Returns `Ok` once a condition holds, else `seen` as the observation of a wait.
///
/// # Errors
/// When the condition does not hold.
pub fn holds<P>(condition: bool, seen: P) -> Result<(), P> {
    if condition { Ok(()) } else { Err(seen) }
}

/// Returns the length of a log: what a process shows of its progress while it starts or ends.
pub fn log_length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |log| log.len())
}
