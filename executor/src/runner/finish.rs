//! The final report of an attempt.
//!
//! Sends the newest checkpoint with a Complete, Park or Release, and repeats it until the control
//! plane responds or the lease is lost.

use orchid_engine::{Checkpoint, ExecutionError, Machine};
use orchid_proto::executor::v1 as wire;

use crate::convert::{InvalidReport, ReleaseReason, ReportOutcome, complete_item, park_item, release_item};
use crate::lease::{LeaseCommand, LeaseHandle};
use crate::report::{Reporter, ReportsClosed};
use crate::runner::checkpoint_writer::CheckpointWriter;
use crate::runner::exit::{AttemptExit, refused_report};

/// Reports how the attempt ended. Returns once there is a response, or without one when the lease
/// is lost.
pub(crate) async fn finish_attempt(
    writer: &mut CheckpointWriter,
    lease: &LeaseHandle,
    machine: Option<&mut Machine>,
    exit: AttemptExit,
) {
    let mut commands = lease.commands();
    tokio::select! {
        // A lost lease is checked first: another attempt may be running by now.
        biased;
        _ = commands.wait_for(|command| *command == LeaseCommand::Lost) => {
            tracing::warn!("lease lost: the end of the attempt is not reported");
        }
        result = report_exit(writer, machine, exit) => {
            if let Err(error) = result {
                tracing::warn!(%error, "end of the attempt not reported");
            }
        }
    }
}

async fn report_exit(
    writer: &mut CheckpointWriter,
    machine: Option<&mut Machine>,
    exit: AttemptExit,
) -> Result<(), ReportsClosed> {
    if matches!(exit, AttemptExit::LeaseLost) {
        return Ok(());
    }
    // Calls must not overtake each other: a later seq that arrives first voids the earlier changes.
    if writer.is_busy() {
        match writer.outcome().await? {
            ReportOutcome::Accepted => {}
            ReportOutcome::LeaseLost(why) => return lease_lost(why),
            ReportOutcome::Invalid(refused) => {
                let real_error = exit.error().cloned();
                return fail_refused_report(writer, refused, real_error).await;
            }
        }
    }
    let checkpoint = machine.and_then(Machine::checkpoint);
    let real_error = exit.error().cloned();
    let item = next_item(writer, checkpoint, &exit);
    match send(writer.reporter(), item, exit).await? {
        ReportOutcome::Accepted => Ok(()),
        ReportOutcome::LeaseLost(why) => lease_lost(why),
        ReportOutcome::Invalid(refused) => fail_refused_report(writer, refused, real_error).await,
    }
}

/// Ends the execution as failed, at the last saved resume state, because its real report was
/// refused. `real_error` is the error of that report, if it had one.
async fn fail_refused_report(
    writer: &mut CheckpointWriter,
    refused: InvalidReport,
    real_error: Option<ExecutionError>,
) -> Result<(), ReportsClosed> {
    match &refused.limit_code {
        Some(code) => tracing::warn!(code, refused.detail, "limit exceeded: the execution fails"),
        None => tracing::error!(refused.detail, "report refused: the execution fails"),
    }
    let exit = refused_report("REPORT_REFUSED", refused.clone(), real_error.as_ref());
    let item = writer.next_item(None);
    match send(writer.reporter(), item, exit).await? {
        ReportOutcome::Accepted => return Ok(()),
        ReportOutcome::LeaseLost(why) => return lease_lost(why),
        ReportOutcome::Invalid(_) => {}
    }
    // The resume state or a text of the error may be what the control plane cannot store.
    let exit = refused_report("REPORT_REFUSED", refused, None);
    let item = writer.empty_item();
    match send(writer.reporter(), item, exit).await? {
        ReportOutcome::Accepted => Ok(()),
        ReportOutcome::LeaseLost(why) => lease_lost(why),
        ReportOutcome::Invalid(refused) => {
            // Dropping the lease is all that is left: the control plane queues the execution again.
            tracing::error!(refused.detail, "report of the failure refused: the lease is dropped");
            Ok(())
        }
    }
}

/// Returns the item of the last report, with the newest checkpoint.
fn next_item(
    writer: &mut CheckpointWriter,
    checkpoint: Option<Checkpoint>,
    exit: &AttemptExit,
) -> wire::CheckpointItem {
    // The server counts losses without progress towards the dead letter, and an accepted checkpoint
    // resets the count. A release without progress must not reset it.
    match exit {
        AttemptExit::Release(_) | AttemptExit::Unsupported(_) if checkpoint.is_none() => writer.empty_item(),
        AttemptExit::Release(_)
        | AttemptExit::Unsupported(_)
        | AttemptExit::Complete(_)
        | AttemptExit::Park { .. }
        | AttemptExit::LeaseLost => writer.next_item(checkpoint),
    }
}

async fn send(
    reporter: &Reporter,
    item: wire::CheckpointItem,
    exit: AttemptExit,
) -> Result<ReportOutcome, ReportsClosed> {
    match exit {
        AttemptExit::Complete(end) => {
            tracing::info!(status = ?end.status, partial = end.partial, "execution ended");
            reporter.complete(complete_item(item, end)).await
        }
        AttemptExit::Park { not_before, reason } => {
            tracing::info!(%not_before, reason, must_cancel = item.needs_upstream_cancel, "execution parked");
            reporter.park(park_item(item, not_before, reason)).await
        }
        AttemptExit::Release(reason) => {
            tracing::info!(?reason, "execution released");
            reporter.release(release_item(item, reason, None)).await
        }
        AttemptExit::Unsupported(error) => {
            reporter.release(release_item(item, ReleaseReason::Unsupported, Some(error))).await
        }
        AttemptExit::LeaseLost => Ok(ReportOutcome::Accepted),
    }
}

fn lease_lost(why: &'static str) -> Result<(), ReportsClosed> {
    tracing::warn!(why, "lease lost");
    Ok(())
}
