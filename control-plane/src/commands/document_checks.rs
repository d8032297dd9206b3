//! Runs checks of documents on threads of their own.
//!
//! A check may compute for a tenth of a second. On the threads that serve calls, a few of them
//! would delay all calls, heartbeats among them.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::commands::CommandError;

/// The threads that check documents. Clones share them.
#[derive(Clone)]
pub struct DocumentChecks {
    slots: Arc<Semaphore>,
}

impl DocumentChecks {
    /// Creates the threads: as many checks run at a time, others wait in order.
    pub fn new(threads: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(threads.max(1))) }
    }

    /// Runs a check and returns its result.
    ///
    /// # Errors
    /// Fails if the check panics.
    pub async fn run<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CommandError> {
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| CommandError::CheckStopped)?;
        // The slot is free when the check ends, not when its caller has gone.
        let checked = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            check()
        });
        checked.await.map_err(|_| CommandError::CheckStopped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn calls_are_served_while_checks_compute() {
        let checks = DocumentChecks::new(1);
        let (finish, finished) = mpsc::sync_channel::<()>(0);
        let long = checks.run(move || finished.recv_timeout(Duration::from_secs(60)).is_ok());
        let other = async {
            // This runs on the only thread of the test while the check above blocks its own.
            tokio::task::yield_now().await;
            finish.send(()).is_ok()
        };
        let (long, other) = tokio::join!(long, other);
        assert!(long.unwrap() && other);
    }

    #[tokio::test]
    async fn check_that_panics_is_an_error() {
        let checks = DocumentChecks::new(1);
        assert!(checks.run(|| panic!("on purpose")).await.is_err());
        assert_eq!(checks.run(|| 1).await.ok(), Some(1));
    }
}
