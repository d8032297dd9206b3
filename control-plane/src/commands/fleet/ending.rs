//! What Complete, Park and Release have in common: each shows a lease and a last checkpoint, and ends the attempt. All are
//! idempotent: the attempt's row remembers the seq and the verdict of the call that ended it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, Transition, TransitionRefusal, decide};
use orchid_domain::lease::{AttemptEnd, ClaimVerdict, EndingCall, judge_ending_call};
use uuid::Uuid;

use super::checkpoint::{by_key, keep, save};
use super::claims::{LeaseResults, OpenedItem};
use super::progress::ExecutionError;
use super::settle::{AppliedTransitions, DecidedTransition, TransitionFacts, settle};
use super::{
    CheckpointUpdate, Fleet, FleetError, GroupTransaction, LeaseResult, LeaseVerdict, Session, cursors,
};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::announcements::Announcement;
use crate::store::fleet::runs::{self, LockWait, LockedExecution};
use crate::store::fleet::{ExecutionKey, attempts, checkpoints};

/// The end of one attempt, as its executor tells it.
#[derive(Clone, Debug)]
pub struct AttemptEnding {
    /// Which call it is.
    pub call: EndingCall,
    /// What happens to the run.
    pub event: ExecutionEvent,
    /// The last checkpoint; seq 0: none was made by this attempt.
    pub checkpoint: CheckpointUpdate,
    /// Something was ignored, skipped or limited.
    pub partial: bool,
    /// Every loop ended by itself.
    pub complete: bool,
    /// Why it ended.
    pub fault: Option<ExecutionError>,
    /// What a parked run waits for.
    pub waiting_for: String,
}

/// What became of a batch of ends.
#[derive(Debug, Default)]
pub struct EndedAttempts {
    /// One for each item, in the order of the call.
    pub results: Vec<LeaseResult>,
    /// Terminal events of this call.
    pub announcements: Vec<Announcement>,
}

/// Ends attempts.
pub(super) async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<(Vec<u8>, AttemptEnding)>,
) -> Result<EndedAttempts, FleetError> {
    let (mut results, opened) =
        LeaseResults::open(&fleet.sealer, session.id, items, |ending: &AttemptEnding| {
            ending.checkpoint.check()
        });
    let mut announcements = Vec::new();
    for (verdicts, settled) in fleet.placement.run(&End { now }, opened).await? {
        results.note(verdicts);
        announcements.extend(settled.announcements);
        if settled.work_is_ready {
            fleet.wakeups.work_is_ready();
        }
    }
    Ok(EndedAttempts { results: results.into_vec(), announcements })
}

struct End {
    now: DateTime<Utc>,
}

impl GroupTransaction for End {
    type Item = OpenedItem<AttemptEnding>;
    type Output = (Vec<(usize, LeaseVerdict)>, AppliedTransitions);
    type Error = StoreError;

    fn tenant(item: &Self::Item) -> Uuid {
        item.token.key.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[Self::Item]) -> Result<Self::Output, StoreError> {
        let keys: Vec<ExecutionKey> = items.iter().map(|item| item.token.key).collect();
        let locked = by_key(runs::lock(tx, &keys, LockWait::Wait).await?);
        let ends = ends_of(tx, items, &locked).await?;
        let excesses = cursors::excesses(tx, &held_of(items, &locked)).await?;
        let mut verdicts = Vec::with_capacity(items.len());
        let mut settlements = Vec::new();
        let mut saved = Vec::new();
        let mut written = Vec::new();
        let mut dropped = Vec::new();
        for OpenedItem { index, token, item } in items {
            let run = locked.get(&token.key);
            let end = ends.get(&(token.key, token.attempt));
            let holder = run.map(LockedExecution::holder);
            let standing =
                judge_ending_call(&token.claim(), holder.as_ref(), end, item.call, item.checkpoint.seq);
            if let (ClaimVerdict::Held, Some(words)) = (standing, excesses.get(index)) {
                verdicts.push((*index, LeaseVerdict::Invalid(words.clone())));
                continue;
            }
            verdicts.push((*index, standing.into()));
            let (ClaimVerdict::Held, Some(run)) = (standing, run) else { continue };
            let settlement = settlement(run, item)?;
            if item.checkpoint.seq > run.checkpoint_seq {
                let keeps = settlement.transition.next != State::Succeeded || item.partial;
                if keeps {
                    saved.push((run, &item.checkpoint))
                } else {
                    written.push((run, &item.checkpoint))
                }
            }
            if settlement.transition.next == State::Succeeded && !item.partial && run.checkpoint_seq > 0 {
                dropped.push(run.key);
            }
            settlements.push(settlement);
        }
        save(tx, self.now, &saved).await?;
        keep(tx, self.now, &written).await?;
        // Nothing goes on from a run that did all it should.
        checkpoints::delete(tx, &dropped).await?;
        let handed = items.iter().all(|item| item.item.call == EndingCall::Complete);
        let settled = settle(tx, self.now, &settlements, handed).await?;
        Ok((verdicts, settled))
    }
}

/// The checkpoints of items that hold their lease, of those that are new.
fn held_of<'a>(
    items: &'a [OpenedItem<AttemptEnding>],
    locked: &'a HashMap<ExecutionKey, LockedExecution>,
) -> Vec<cursors::CursorCandidate<'a>> {
    let held = items.iter().filter_map(|OpenedItem { index, token, item }| {
        let run = locked.get(&token.key).filter(|run| run.lease_id == Some(token.lease_id))?;
        (item.checkpoint.seq > run.checkpoint_seq).then_some((*index, run, &item.checkpoint))
    });
    held.collect()
}

/// How the attempts of those items ended that do not hold their lease any more: a repeated call is told the same again.
async fn ends_of(
    tx: &Tx,
    items: &[OpenedItem<AttemptEnding>],
    locked: &HashMap<ExecutionKey, LockedExecution>,
) -> Result<HashMap<(ExecutionKey, i32), AttemptEnd>, StoreError> {
    let gone: Vec<(ExecutionKey, i32)> = items
        .iter()
        .filter(|item| {
            locked.get(&item.token.key).is_none_or(|run| run.lease_id != Some(item.token.lease_id))
        })
        .map(|item| (item.token.key, item.token.attempt))
        .collect();
    Ok(attempts::ends(tx, &gone).await?.into_iter().collect())
}

/// The checkpoint that came along is accepted first.
fn decide_end(run: &LockedExecution, ending: &AttemptEnding) -> Result<Transition, TransitionRefusal> {
    let mut at = run.snapshot();
    if ending.checkpoint.seq > run.checkpoint_seq {
        at = at.after(&decide(at, ending.checkpoint.accepted_by(run))?);
    }
    decide(at, ending.event)
}

fn settlement(run: &LockedExecution, ending: &AttemptEnding) -> Result<DecidedTransition, StoreError> {
    let transition = decide_end(run, ending).map_err(|refusal| StoreError::corrupt("ending", refusal))?;
    let fault = ending.fault.clone();
    let facts = TransitionFacts {
        final_seq: ending.checkpoint.seq,
        checkpoint_seq: ending.checkpoint.seq,
        running_ms: ending.checkpoint.running_ms,
        waiting_for: ending.waiting_for.clone(),
        partial: ending.partial,
        complete: ending.complete,
        progress: if ending.checkpoint.seq > run.checkpoint_seq {
            ending.checkpoint.progress.encode()
        } else {
            Vec::new()
        },
        detail: fault
            .as_ref()
            .map(|fault| fault.message.clone())
            .unwrap_or_else(|| ending.waiting_for.clone()),
        fault,
        ..TransitionFacts::default()
    };
    Ok(DecidedTransition { run: run.clone(), transition, facts })
}
