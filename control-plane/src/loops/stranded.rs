//! Ends pending executions whose schedule is gone: their config was taken out of the plan while
//! they waited. Nothing else would ever queue or end them, because a schedule is what they wait
//! for.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, decide};
use uuid::Uuid;

use crate::commands::executions::transition::apply::{AnnouncementRoute, apply_transitions};
use crate::commands::executions::transition::decided::{DecidedTransition, TransitionFacts};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::store::db::Tx;
use crate::store::executions::locked::{self, LockWait, LockedExecution};
use crate::store::fleet::schedule_scan::{self, PendingExecution};
use crate::store::fleet::schedules::{self, ScheduleLock};
use crate::store::keys::{ExecutionKey, ScheduleKey};

/// Pending executions of one window.
const WINDOW: usize = 1000;
/// Maximum windows of one run. The next run continues behind them.
const MAX_WINDOWS: usize = 5;
const REASON: &str = "its plan does not run for its config any more";

/// A scan of all pending executions, a few windows at a time.
pub(super) struct StrandedScan {
    after: (DateTime<Utc>, Uuid),
}

impl Default for StrandedScan {
    fn default() -> Self {
        Self { after: (DateTime::UNIX_EPOCH, Uuid::nil()) }
    }
}

impl StrandedScan {
    /// Ends the stranded executions of the next windows.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn end_next(&mut self, fleet: &Fleet, now: DateTime<Utc>) -> Result<(), FleetError> {
        for _ in 0..MAX_WINDOWS {
            let limit = i64::try_from(WINDOW).unwrap_or(i64::MAX);
            let window = schedule_scan::find_pending(&fleet.databases, self.after, limit).await?;
            let stranded: Vec<ExecutionKey> =
                window.iter().filter(|pending| pending.is_stranded).map(PendingExecution::key).collect();
            if !stranded.is_empty() {
                tracing::warn!(executions = stranded.len(), "ending pending executions without a schedule");
                fleet.placement.run(&EndStranded { now }, stranded).await?;
            }
            match window.last() {
                Some(last) if window.len() == WINDOW => self.after = (last.updated_at, last.id),
                Some(_) | None => {
                    *self = Self::default();
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

struct EndStranded {
    now: DateTime<Utc>,
}

impl GroupTransaction for EndStranded {
    type Item = ExecutionKey;
    type Output = ();

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<(), FleetError> {
        let locked = locked::lock(tx, keys, LockWait::Skip).await?;
        // The config may belong to the plan again. Then the new schedule queues the execution.
        let wanted: Vec<ScheduleKey> = locked.iter().map(LockedExecution::schedule_key).collect();
        let found: Vec<ScheduleKey> = schedules::lock(tx, &wanted, ScheduleLock::All)
            .await?
            .into_iter()
            .map(|found| found.key)
            .collect();
        let is_stranded = |execution: &LockedExecution| {
            execution.state == State::Pending && !found.contains(&execution.schedule_key())
        };
        let decided: Vec<DecidedTransition> =
            locked.into_iter().filter(is_stranded).filter_map(decide_cancel).collect();
        apply_transitions(tx, self.now, &decided, AnnouncementRoute::Heartbeat).await?;
        Ok(())
    }
}

fn decide_cancel(execution: LockedExecution) -> Option<DecidedTransition> {
    let transition = decide(execution.snapshot(), ExecutionEvent::CancelRequested).ok()?;
    let facts = TransitionFacts {
        cancel_reason: REASON.to_owned(),
        detail: REASON.to_owned(),
        ..TransitionFacts::default()
    };
    Some(DecidedTransition { execution, transition, facts })
}
