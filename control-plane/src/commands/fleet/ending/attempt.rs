//! Ends attempts, in the transaction of each placement group.
//!
//! Complete, Park and Release each show a lease and a last checkpoint. They are idempotent: the
//! attempt's row remembers the seq and the verdict of the call that ended it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, Transition, TransitionRefusal, decide};
use orchid_domain::lease::{AttemptEnd, ClaimVerdict, EndingCall, judge_ending_call};
use uuid::Uuid;

use crate::commands::executions::progress::ExecutionError;
use crate::commands::executions::transition::apply::{
    AnnouncementRoute, AppliedTransitions, apply_transitions,
};
use crate::commands::executions::transition::decided::{DecidedTransition, TransitionFacts};
use crate::commands::fleet::checkpoint::cursors::{self, CursorCandidate};
use crate::commands::fleet::checkpoint::persist::{save_checkpoints, save_persistent_state};
use crate::commands::fleet::checkpoint::update::CheckpointUpdate;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_results::{LeaseResult, LeaseResults, LeaseStatus, OpenedItem};
use crate::commands::fleet::placement::{GroupResults, GroupTransaction};
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;
use crate::keys::MasterKeys;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::attempts;
use crate::store::executions::locked::{self, LockWait, LockedExecution};
use crate::store::fleet::announcements::Announcement;
use crate::store::fleet::checkpoints;
use crate::store::keys::ExecutionKey;

/// The end of one attempt, as its executor reports it.
#[derive(Clone, Debug)]
pub struct AttemptEnding {
    /// The call that ends it.
    pub call: EndingCall,
    /// The event that the call is to the execution.
    pub event: ExecutionEvent,
    /// The last checkpoint; its seq is 0 when the attempt made none.
    pub checkpoint: CheckpointUpdate,
    /// True if something was ignored, skipped or limited.
    pub partial: bool,
    /// True if every loop ended by itself.
    pub complete: bool,
    /// The error that ended the execution.
    pub error: Option<ExecutionError>,
    /// The reason why a parked execution waits.
    pub waiting_for: String,
}

/// The outcome of a batch of ends.
#[derive(Debug, Default)]
pub struct EndedAttempts {
    /// One result for each item, in the order of the call.
    pub results: Vec<LeaseResult>,
    /// Terminal announcements of this call.
    pub announcements: Vec<Announcement>,
}

/// Ends attempts, each with its lease token, and wakes the relay.
pub(super) async fn end_attempts(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<(Vec<u8>, AttemptEnding)>,
) -> Result<EndedAttempts, FleetError> {
    let check = |ending: &AttemptEnding| ending.checkpoint.check();
    let (mut results, opened) = LeaseResults::open(&fleet.sealer, session.id, items, check);
    let mut announcements = Vec::new();
    let end = EndAttempts { now, master_keys: &fleet.master_keys };
    let GroupResults { outputs, failed } = fleet.placement.run_each(&end, opened).await?;
    results.record_failed(failed);
    for (statuses, applied) in outputs {
        results.record(statuses);
        announcements.extend(applied.announcements);
        if applied.work_is_ready {
            fleet.wakeups.work_is_ready();
        }
    }
    Ok(EndedAttempts { results: results.into_vec(), announcements })
}

struct EndAttempts<'a> {
    now: DateTime<Utc>,
    master_keys: &'a MasterKeys,
}

impl GroupTransaction for EndAttempts<'_> {
    type Item = OpenedItem<AttemptEnding>;
    type Output = (Vec<(usize, LeaseStatus)>, AppliedTransitions);

    fn tenant(item: &Self::Item) -> Uuid {
        item.token.key.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[Self::Item]) -> Result<Self::Output, FleetError> {
        let keys: Vec<ExecutionKey> = items.iter().map(|item| item.token.key).collect();
        let locked: HashMap<ExecutionKey, LockedExecution> = locked::lock(tx, &keys, LockWait::Wait)
            .await?
            .into_iter()
            .map(|execution| (execution.key, execution))
            .collect();
        // Under the locks, so that no other call can end one of these attempts in between.
        let ends = ends_of(tx, items, &locked).await?;
        let excesses = cursors::find_excesses(tx, &new_checkpoints(items, &locked)).await?;
        let mut statuses = Vec::with_capacity(items.len());
        let mut group = GroupEndings::default();
        for OpenedItem { index, token, item } in items {
            let execution = locked.get(&token.key);
            let end = ends.get(&(token.key, token.attempt));
            let holder = execution.map(LockedExecution::holder);
            let seq = item.checkpoint.seq;
            let verdict = judge_ending_call(&token.claim(), holder.as_ref(), end, item.call, seq);
            // The whole item is invalid then: ending the attempt without its last checkpoint would
            // repeat what it emitted since.
            if let (ClaimVerdict::Held, Some(invalid)) = (verdict, excesses.get(index)) {
                statuses.push((*index, LeaseStatus::Invalid(invalid.clone())));
                continue;
            }
            statuses.push((*index, verdict.into()));
            if let (ClaimVerdict::Held, Some(execution)) = (verdict, execution) {
                group.add(execution, item)?;
            }
        }
        Ok((statuses, group.write(tx, self.now, self.master_keys, items).await?))
    }
}

/// The writes of one group.
#[derive(Default)]
struct GroupEndings<'a> {
    /// Last checkpoints to save with their context and cursors.
    saved: Vec<(&'a LockedExecution, &'a CheckpointUpdate)>,
    /// Last checkpoints of which only context and cursors are written.
    persisted: Vec<(&'a LockedExecution, &'a CheckpointUpdate)>,
    /// Executions whose stored checkpoint is deleted.
    finished: Vec<ExecutionKey>,
    decided: Vec<DecidedTransition>,
}

impl<'a> GroupEndings<'a> {
    /// Adds the end of one attempt.
    fn add(&mut self, execution: &'a LockedExecution, item: &'a AttemptEnding) -> Result<(), StoreError> {
        let decided = decide_ending(execution, item)?;
        // Nothing continues an execution that did all it should, so its checkpoint is not needed.
        let is_finished = decided.transition.next == State::Succeeded && !item.partial;
        if item.checkpoint.seq > execution.checkpoint_seq {
            let checkpoint = (execution, &item.checkpoint);
            if is_finished { self.persisted.push(checkpoint) } else { self.saved.push(checkpoint) }
        }
        if is_finished && execution.checkpoint_seq > 0 {
            self.finished.push(execution.key);
        }
        self.decided.push(decided);
        Ok(())
    }

    async fn write(
        self,
        tx: &Tx,
        now: DateTime<Utc>,
        master_keys: &MasterKeys,
        items: &[OpenedItem<AttemptEnding>],
    ) -> Result<AppliedTransitions, FleetError> {
        save_checkpoints(tx, now, master_keys, &self.saved).await?;
        save_persistent_state(tx, now, &self.persisted).await?;
        checkpoints::delete(tx, &self.finished).await?;
        // Only the response to Complete carries announcements.
        let completes = items.iter().all(|item| item.item.call == EndingCall::Complete);
        let route = if completes { AnnouncementRoute::Response } else { AnnouncementRoute::Heartbeat };
        Ok(apply_transitions(tx, now, &self.decided, route).await?)
    }
}

/// Returns the new checkpoints of items that hold their lease.
fn new_checkpoints<'a>(
    items: &'a [OpenedItem<AttemptEnding>],
    locked: &'a HashMap<ExecutionKey, LockedExecution>,
) -> Vec<CursorCandidate<'a>> {
    let held = items.iter().filter_map(|OpenedItem { index, token, item }| {
        let execution = locked.get(&token.key).filter(|held| held.lease_id == Some(token.lease_id))?;
        (item.checkpoint.seq > execution.checkpoint_seq).then_some((*index, execution, &item.checkpoint))
    });
    held.collect()
}

/// Reads how the attempts ended of those items that do not hold their lease any more, so that a
/// repeated call gets the same answer.
async fn ends_of(
    tx: &Tx,
    items: &[OpenedItem<AttemptEnding>],
    locked: &HashMap<ExecutionKey, LockedExecution>,
) -> Result<HashMap<(ExecutionKey, i32), AttemptEnd>, StoreError> {
    let not_held: Vec<(ExecutionKey, i32)> = items
        .iter()
        .filter(|item| {
            locked.get(&item.token.key).is_none_or(|held| held.lease_id != Some(item.token.lease_id))
        })
        .map(|item| (item.token.key, item.token.attempt))
        .collect();
    Ok(attempts::ends(tx, &not_held).await?.into_iter().collect())
}

/// Decides the transition of an end. The checkpoint that came along is accepted first: it forgives
/// losses, and it records whether an upstream still works for the execution.
fn decide_transition(
    execution: &LockedExecution,
    ending: &AttemptEnding,
) -> Result<Transition, TransitionRefusal> {
    let mut snapshot = execution.snapshot();
    if ending.checkpoint.seq > execution.checkpoint_seq {
        snapshot = snapshot.after(&decide(snapshot, ending.checkpoint.acceptance(execution))?);
    }
    decide(snapshot, ending.event)
}

fn decide_ending(
    execution: &LockedExecution,
    ending: &AttemptEnding,
) -> Result<DecidedTransition, StoreError> {
    // The lease is held, so the execution runs, and no ending event is refused while it runs.
    let transition =
        decide_transition(execution, ending).map_err(|refusal| StoreError::corrupt("ending", refusal))?;
    let checkpoint = &ending.checkpoint;
    let is_new = checkpoint.seq > execution.checkpoint_seq;
    let message = ending.error.as_ref().map(|error| error.message.clone());
    let facts = TransitionFacts {
        final_seq: checkpoint.seq,
        checkpoint_seq: checkpoint.seq,
        attempt_ms: checkpoint.attempt_ms,
        waiting_for: ending.waiting_for.clone(),
        partial: ending.partial,
        complete: ending.complete,
        progress: if is_new { checkpoint.progress.encode() } else { Vec::new() },
        // The history shows one text: why it ended, or why it waits.
        detail: message.unwrap_or_else(|| ending.waiting_for.clone()),
        error: ending.error.clone(),
        ..TransitionFacts::default()
    };
    Ok(DecidedTransition { execution: execution.clone(), transition, facts })
}
