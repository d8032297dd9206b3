//! Asking for any work of the pool: slowly while the doorbell rings, all the time while it is broken.
//!
//! In: free slots. Out: asks. It is why a lost doorbell entry, or no Redis at all, costs time and no job.

use std::time::Duration;

use orchid_kit::backoff;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::SessionCell;
use crate::intake::asker::{Ask, Asker};
use crate::worker::Slots;

/// How often an executor with free slots asks beside the doorbell.
const SLOWLY: Duration = Duration::from_secs(5);
/// Between two polls while the doorbell is broken.
const BROKEN_PAUSE: Duration = Duration::from_millis(100);
/// How long a poll waits for work while the doorbell is broken.
const POLL: Duration = Duration::from_secs(10);
/// Most leases of one call.
const MAX_LEASES: usize = 128;

pub(crate) async fn ask_any(
    asker: Asker,
    session: SessionCell,
    slots: Slots,
    mut doorbell_rings: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = broken(&mut doorbell_rings), if pause > BROKEN_PAUSE => {}
        }
        let current = tokio::select! {
            () = stop.cancelled() => return,
            current = session.wait() => current,
        };
        let Some(current) = current else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            () = slots.one_free() => {}
        }
        let rings = *doorbell_rings.borrow_and_update();
        let taken = slots.take(MAX_LEASES);
        if taken.is_empty() {
            pause = BROKEN_PAUSE;
            continue;
        }
        let wait = if rings { Duration::ZERO } else { POLL };
        // Where there was work there may be more.
        let started = asker.ask(&current, Ask::Any(wait), taken).await;
        pause = match (started, rings) {
            (0, false) => BROKEN_PAUSE,
            // Spread over the upper half, so that a fleet does not ask in step.
            (0, true) => backoff::delay(SLOWLY, SLOWLY, 0, rand::random()),
            _ => Duration::ZERO,
        };
    }
}

/// Returns once the doorbell is broken.
async fn broken(doorbell_rings: &mut watch::Receiver<bool>) {
    let gone = doorbell_rings.wait_for(|rings| !rings).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}
