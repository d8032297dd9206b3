//! The waits between two runs of a loop, and the log lines about runs that fail.

use std::time::Duration;

use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use crate::commands::fleet::error::FleetError;

/// Returns two thirds to four thirds of an interval, so that replicas drift apart.
pub(super) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(2.0 / 3.0..4.0 / 3.0))
}

/// Waits. Returns false when the process stops.
pub(super) async fn pause(stop: &CancellationToken, wait: Duration) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some()
}

/// Waits until woken, at most for `wait`. Returns false when the process stops.
pub(super) async fn pause_until(
    stop: &CancellationToken,
    wait: Duration,
    woken: impl Future<Output = ()>,
) -> bool {
    // Woken or not, the loop runs.
    stop.run_until_cancelled(tokio::time::timeout(wait, woken)).await.is_some()
}

/// Logs once that the runs of a loop fail, and once that they succeed again.
pub(super) struct LoopHealth {
    name: &'static str,
    failing: bool,
}

impl LoopHealth {
    /// Creates the health of a loop that has not failed.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, failing: false }
    }

    /// Records a run, and returns its value if it succeeded.
    pub(super) fn record<T, E: Into<FleetError>>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                if self.failing {
                    tracing::info!(task = self.name, "loop recovered");
                }
                self.failing = false;
                Some(value)
            }
            Err(error) => {
                let error = error.into();
                if self.failing {
                    tracing::debug!(task = self.name, %error, "loop failed again");
                } else {
                    tracing::warn!(task = self.name, %error, "loop failed, trying again");
                }
                self.failing = true;
                None
            }
        }
    }
}
