//! The last report of a run.
//!
//! In: how the run left its loop. Out: its newest checkpoint with a Complete, Park or Release, repeated until answered, or
//! nothing once the lease is lost.

use orchid_engine::{Checkpoint, Machine};

use crate::drive::ending::{Exit, system_failure};
use crate::drive::saver::Saver;
use crate::report::{Closed, Verdict, complete_item, park_item, release_item};
use crate::worker::{Lease, Order};

pub(crate) async fn report(saver: &mut Saver, lease: &Lease, machine: Option<&mut Machine>, exit: Exit) {
    let mut orders = lease.orders();
    tokio::select! {
        biased;
        _ = orders.wait_for(|order| *order == Order::Lost) => tracing::warn!("lease lost: nothing is reported"),
        result = settle(saver, machine, exit) => {
            if let Err(error) = result {
                tracing::warn!(%error, "last report not sent");
            }
        }
    }
}

async fn settle(saver: &mut Saver, machine: Option<&mut Machine>, exit: Exit) -> Result<(), Closed> {
    if matches!(exit, Exit::Lost) {
        return Ok(());
    }
    if saver.is_busy() {
        match saver.answered().await? {
            Verdict::Accepted => {}
            Verdict::Lost(why) => return lost(why),
            Verdict::Invalid(detail) => return refused(saver, detail).await,
        }
    }
    let checkpoint = machine.and_then(Machine::checkpoint);
    match send(saver, checkpoint, exit).await? {
        Verdict::Accepted => Ok(()),
        Verdict::Lost(why) => lost(why),
        Verdict::Invalid(detail) => refused(saver, detail).await,
    }
}

/// The run cannot be reported as it went: it ends failed, at the place saved last.
async fn refused(saver: &mut Saver, detail: String) -> Result<(), Closed> {
    tracing::error!(detail, "report refused");
    match send(saver, None, system_failure("REPORT_REFUSED", detail)).await? {
        Verdict::Accepted => Ok(()),
        Verdict::Lost(why) => lost(why),
        Verdict::Invalid(detail) => {
            tracing::error!(detail, "the end of the run was refused: its lease is let go");
            Ok(())
        }
    }
}

async fn send(saver: &mut Saver, checkpoint: Option<Checkpoint>, exit: Exit) -> Result<Verdict, Closed> {
    // A hand-back without progress forgives no losses: poison stays poison.
    let item = match &exit {
        Exit::Release(_) if checkpoint.is_none() => saver.nothing(),
        Exit::Release(_) | Exit::Complete(_) | Exit::Park { .. } | Exit::Lost => saver.item(checkpoint),
    };
    let reporter = saver.reporter();
    match exit {
        Exit::Complete(ending) => {
            tracing::info!(status = ?ending.status, partial = ending.partial, "run ends");
            reporter.complete(complete_item(item, ending)).await
        }
        Exit::Park { not_before, reason } => {
            tracing::info!(%not_before, reason, must_cancel = item.needs_upstream_cancel, "run parks");
            reporter.park(park_item(item, not_before, reason)).await
        }
        Exit::Release(reason) => {
            tracing::info!(?reason, "run is handed back");
            reporter.release(release_item(item, reason)).await
        }
        Exit::Lost => Ok(Verdict::Accepted),
    }
}

fn lost(why: &'static str) -> Result<(), Closed> {
    tracing::warn!(why, "lease lost");
    Ok(())
}
