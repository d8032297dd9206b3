//! The time for which one try may still wait for its upstream.
//!
//! The waits of a try (connecting, redirects, the head, pieces of the body) share one budget, the
//! step's timeout. Only waits for the upstream count. Time in which Orchid itself holds back,
//! because of a closed fence or a full outbox, does not.

use std::time::Duration;

use orchid_engine::{FetchError, FetchErrorKind};
use tokio::time::{Instant, timeout};

pub(super) struct TimeoutBudget {
    limit: Duration,
    left: Duration,
}

impl TimeoutBudget {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, left: limit }
    }

    /// Runs `work` for as long as the budget lasts. `status` is set if the head of a response has
    /// arrived. Work that is ready at once succeeds even with an empty budget.
    pub(super) async fn wait<T>(
        &mut self,
        status: Option<u16>,
        work: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let started_at = Instant::now();
        let result = timeout(self.left, work).await;
        self.left = self.left.saturating_sub(started_at.elapsed());
        result.unwrap_or_else(|_| {
            let message = format!("no complete response within {} ms", self.limit.as_millis());
            Err(FetchError { kind: FetchErrorKind::Timeout, message, status, received: None })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waits_for_the_upstream_use_up_the_budget() {
        let mut budget = TimeoutBudget::new(Duration::from_secs(3));
        let second = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        };
        for _ in 0..2 {
            budget.wait(None, second()).await.unwrap();
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert!(budget.wait(None, async { Ok(()) }).await.is_ok());
        let late = async {
            tokio::time::sleep(Duration::from_millis(1001)).await;
            Ok(())
        };
        let error = budget.wait(Some(200), late).await.unwrap_err();
        assert_eq!((error.kind, error.status), (FetchErrorKind::Timeout, Some(200)));
        assert_eq!(error.message, "no complete response within 3000 ms");
        assert!(budget.wait(None, async { Ok(()) }).await.is_ok(), "ready work succeeds");
    }
}
