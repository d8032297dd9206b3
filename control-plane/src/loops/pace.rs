//! How a loop waits between two passes, and how it speaks of passes that fail.

use std::time::Duration;

use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use crate::commands::fleet::FleetError;

/// Two thirds to four thirds of an interval, so that replicas drift apart.
pub(super) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(2.0 / 3.0..4.0 / 3.0))
}

/// Waits; false: the process stops.
pub(super) async fn pause(stop: &CancellationToken, wait: Duration) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some()
}

/// Waits until woken or for so long; false: the process stops.
pub(super) async fn pause_until(
    stop: &CancellationToken,
    wait: Duration,
    woken: impl Future<Output = ()>,
) -> bool {
    // Woken or not: the loop looks.
    stop.run_until_cancelled(tokio::time::timeout(wait, woken)).await.is_some()
}

/// Says once that passes fail, and once that they work again.
pub(super) struct Health {
    name: &'static str,
    failing: bool,
}

impl Health {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, failing: false }
    }

    /// The value of a pass that worked.
    pub(super) fn note<T, E: Into<FleetError>>(&mut self, pass: Result<T, E>) -> Option<T> {
        match pass {
            Ok(value) => {
                if self.failing {
                    tracing::info!(task = self.name, "passes work again");
                }
                self.failing = false;
                Some(value)
            }
            Err(error) => {
                let error = error.into();
                if self.failing {
                    tracing::debug!(task = self.name, %error, "pass failed again");
                } else {
                    tracing::warn!(task = self.name, %error, "pass failed; it is tried again");
                }
                self.failing = true;
                None
            }
        }
    }
}
