//! Polls for any work of the pool: slowly while the doorbell works, continuously while it does not.
//!
//! Because of this poll, a lost doorbell entry or a missing Redis costs time but never a job.

use std::time::Duration;

use orchid_kit::backoff::{self, Backoff};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::CurrentSession;
use crate::intake::lease_requester::{LeaseRequest, LeaseRequester};
use crate::lease::SlotPool;

/// Interval between polls while the doorbell works.
const SLOW_INTERVAL: Duration = Duration::from_secs(5);
/// Pause between two polls while the doorbell does not work.
const BROKEN_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a poll that found work although the doorbell works: some entries were lost, and the
/// doorbell brings all others in batches.
const LOST_ENTRIES_PAUSE: Duration = Duration::from_secs(1);
/// Time for which the server holds a poll while the doorbell does not work.
const LONG_POLL: Duration = Duration::from_secs(10);
/// Most leases of one call.
const MAX_LEASES: usize = 128;

/// Polls until `stop` is cancelled. `doorbell_works` tells whether Redis responds.
pub(crate) async fn poll_for_work(
    requester: LeaseRequester,
    session: CurrentSession,
    slots: SlotPool,
    mut doorbell_works: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let mut pause = Duration::ZERO;
    let mut failures = Backoff::new(BROKEN_PAUSE, SLOW_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            // Only the slow interval is worth cutting short.
            () = wait_broken(&mut doorbell_works), if pause > BROKEN_PAUSE => {}
        }
        let current = tokio::select! {
            () = stop.cancelled() => return,
            current = session.wait() => current,
        };
        let Some(current) = current else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            () = slots.wait_free() => {}
        }
        let works = *doorbell_works.borrow_and_update();
        let taken = slots.take(MAX_LEASES);
        if taken.is_empty() {
            // The doorbell took the free slot first.
            pause = BROKEN_PAUSE;
            continue;
        }
        let wait = if works { Duration::ZERO } else { LONG_POLL };
        let started = requester.acquire(&current, LeaseRequest::Any(wait), taken).await;
        if started.is_some() {
            failures.reset();
        }
        pause = match (started, works) {
            (None, _) => failures.next_delay(),
            (Some(0), false) => BROKEN_PAUSE,
            // Spread over the upper half of the interval, so that a fleet does not poll in step.
            (Some(0), true) => backoff::delay(SLOW_INTERVAL, SLOW_INTERVAL, 0, rand::random()),
            // Where there was work, there may be more.
            (Some(_), true) => LOST_ENTRIES_PAUSE,
            (Some(_), false) => Duration::ZERO,
        };
    }
}

/// Waits until the doorbell stops working.
async fn wait_broken(doorbell_works: &mut watch::Receiver<bool>) {
    let is_closed = doorbell_works.wait_for(|works| !works).await.is_err();
    if is_closed {
        // The doorbell has stopped for good, during shutdown: nothing to wait for.
        std::future::pending::<()>().await;
    }
}
