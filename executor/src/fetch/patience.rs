//! How long a try may still wait for its upstream.
//!
//! In: work that waits for the upstream. Out: what came of it, or a timeout once all such waits together took longer than
//! the step allows. Waits for ourselves (a shut fence, a full outbox) are no such work, and count for nothing.

use std::time::Duration;

use orchid_engine::{FetchError, FetchErrorKind};
use tokio::time::{Instant, timeout};

pub(super) struct Patience {
    limit: Duration,
    left: Duration,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Patience {
        Patience { limit, left: limit }
    }

    /// Waits for the work; `status` where the head of an answer has come. What is ready at once never times out.
    pub(super) async fn wait<T>(
        &mut self,
        status: Option<u16>,
        work: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let begun = Instant::now();
        let result = timeout(self.left, work).await;
        self.left = self.left.saturating_sub(begun.elapsed());
        result.unwrap_or_else(|_| {
            let message = format!("no whole answer within {} ms", self.limit.as_millis());
            Err(FetchError { kind: FetchErrorKind::Timeout, message, status })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_upstream_add_up_and_others_do_not() {
        let mut patience = Patience::new(Duration::from_secs(3));
        let second = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        };
        for _ in 0..2 {
            patience.wait(None, second()).await.unwrap();
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert!(patience.wait(None, async { Ok(()) }).await.is_ok());
        let late = async {
            tokio::time::sleep(Duration::from_millis(1001)).await;
            Ok(())
        };
        let error = patience.wait(Some(200), late).await.unwrap_err();
        assert_eq!((error.kind, error.status), (FetchErrorKind::Timeout, Some(200)));
        assert_eq!(error.message, "no whole answer within 3000 ms");
        assert!(patience.wait(None, async { Ok(()) }).await.is_ok(), "what is there is taken");
    }
}
