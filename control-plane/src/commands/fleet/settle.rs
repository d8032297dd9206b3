//! Settles decided transitions: the runs' rows and everything that belongs to them, in the caller's one transaction.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Effect, Origin, Transition};
use uuid::Uuid;

use super::announce::{self, End};
use super::progress::ExecutionError;
use super::turn;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::announcements::{self, Announcement};
use crate::store::fleet::attempts::{self, ClosedAttempt};
use crate::store::fleet::ready::{self, NewReadyRow};
use crate::store::fleet::runs::{self, ExecutionChange, HistoryEntry, LockedExecution};
use crate::store::fleet::schedules::ScheduleKey;
use crate::store::fleet::{ExecutionKey, leases};

/// A decided transition of a locked run, and what its rows will say.
#[derive(Clone, Debug)]
pub struct DecidedTransition {
    /// The run as the decision saw it.
    pub run: LockedExecution,
    /// The decision.
    pub transition: Transition,
    /// What else is known.
    pub facts: TransitionFacts,
}

/// What is known of a transition beside the decision. What is empty leaves what is stored.
#[derive(Clone, Debug, Default)]
pub struct TransitionFacts {
    /// Seq of the call that ended the attempt; 0 where none did.
    pub final_seq: i64,
    /// Seq of the checkpoint that came with it; 0 where none did.
    pub checkpoint_seq: i64,
    /// How long the attempt ran.
    pub running_ms: i64,
    /// What a parked run waits for.
    pub waiting_for: String,
    /// Something was ignored, skipped or limited.
    pub partial: bool,
    /// Every loop ended by itself.
    pub complete: bool,
    /// What the run did, encoded.
    pub progress: Vec<u8>,
    /// Why it ended.
    pub fault: Option<ExecutionError>,
    /// The last request that a heartbeat told of.
    pub last_request: String,
    /// Why a cancel was asked for.
    pub cancel_reason: String,
    /// For the history, in words.
    pub detail: String,
}

/// What came of settling.
#[derive(Debug, Default)]
pub struct AppliedTransitions {
    /// Terminal events, committed with the rest.
    pub announcements: Vec<Announcement>,
    /// Ready rows were inserted: the relay may ring.
    pub work_is_ready: bool,
}

impl ExecutionChange {
    /// What a decision writes, with nothing known beside it.
    pub(super) fn of(run: &LockedExecution, transition: &Transition) -> Self {
        Self::with(run, transition, &TransitionFacts::default())
    }

    fn with(run: &LockedExecution, transition: &Transition, facts: &TransitionFacts) -> Self {
        let mut not_before = None;
        let mut closes = false;
        for effect in &transition.effects {
            match effect {
                Effect::EnterReady { not_before: until } => not_before = *until,
                Effect::CloseLease(_) => closes = true,
                Effect::LeaveReady
                | Effect::OpenLease
                | Effect::PromoteNext
                | Effect::Announce
                | Effect::Record => {}
            }
        }
        Self {
            key: run.key,
            from: run.state,
            fence: run.fence,
            to: transition.next,
            losses: transition.losses,
            cancel_requested: transition.cancel_requested,
            must_cancel: transition.must_cancel,
            cancel_reason: facts.cancel_reason.clone(),
            not_before,
            waiting_for: facts.waiting_for.clone(),
            partial: facts.partial,
            complete: facts.complete,
            closes_after_ms: closes.then_some(facts.running_ms),
            checkpoint_seq: facts.checkpoint_seq,
            progress: facts.progress.clone(),
            error: facts.fault.as_ref().map(ExecutionError::encode).unwrap_or_default(),
        }
    }
}

/// The rows that some transitions ask for.
#[derive(Default)]
struct Rows {
    closings: Vec<ClosedAttempt>,
    unleased: Vec<ExecutionKey>,
    left_ready: Vec<ExecutionKey>,
    entered_ready: Vec<NewReadyRow>,
    history: Vec<HistoryEntry>,
    turns: Vec<(ScheduleKey, Option<Uuid>)>,
    announcements: Vec<Announcement>,
}

/// Writes transitions of locked runs. `handed`: their announcements go to the caller's executor at once.
pub async fn settle(
    tx: &Tx,
    now: DateTime<Utc>,
    settlements: &[DecidedTransition],
    handed: bool,
) -> Result<AppliedTransitions, StoreError> {
    let moves: Vec<ExecutionChange> = settlements
        .iter()
        .map(|entry| ExecutionChange::with(&entry.run, &entry.transition, &entry.facts))
        .collect();
    let moved: HashSet<ExecutionKey> = runs::apply(tx, now, &moves).await?.into_iter().collect();
    let mut rows = Rows::default();
    for settlement in settlements {
        if !moved.contains(&settlement.run.key) {
            return Err(StoreError::corrupt(
                "plan_executions",
                format!("{} changed under its lock", settlement.run.key.execution_id),
            ));
        }
        rows.add(settlement, now)?;
    }
    attempts::close(tx, now, &rows.closings).await?;
    leases::delete(tx, &rows.unleased).await?;
    ready::delete(tx, &rows.left_ready).await?;
    ready::insert(tx, now, &rows.entered_ready).await?;
    runs::record(tx, now, &rows.history).await?;
    announcements::insert(tx, now, &rows.announcements, handed.then_some(now)).await?;
    let passed = if rows.turns.is_empty() { false } else { turn::pass(tx, now, &rows.turns).await? };
    let work_is_ready = passed || !rows.entered_ready.is_empty();
    Ok(AppliedTransitions { announcements: rows.announcements, work_is_ready })
}

impl Rows {
    fn add(&mut self, settlement: &DecidedTransition, now: DateTime<Utc>) -> Result<(), StoreError> {
        let DecidedTransition { run, transition, facts } = settlement;
        for effect in &transition.effects {
            match effect {
                Effect::EnterReady { not_before } => {
                    self.entered_ready.push(NewReadyRow::of(run, *not_before, transition.losses));
                }
                Effect::LeaveReady => self.left_ready.push(run.key),
                // Grants write their own rows: they are many at a time and know more.
                Effect::OpenLease => {}
                Effect::CloseLease(verdict) => {
                    self.unleased.push(run.key);
                    self.closings.push(ClosedAttempt {
                        key: run.key,
                        attempt: run.attempt,
                        verdict: *verdict,
                        final_seq: facts.final_seq,
                        last_request: facts.last_request.clone(),
                    });
                }
                Effect::PromoteNext => {
                    if run.persists || run.origin == Origin::Schedule {
                        let schedule = ScheduleKey {
                            tenant_id: run.key.tenant_id,
                            plan_id: run.plan_id,
                            config_id: run.config_id,
                        };
                        self.turns.push((schedule, Some(run.key.execution_id)));
                    }
                }
                Effect::Announce => self.announcements.push(announcement(settlement, now)?),
                Effect::Record => self.history.push(HistoryEntry {
                    key: run.key,
                    state: transition.next,
                    attempt: run.attempt,
                    cause: transition.cause.as_str(),
                    detail: facts.detail.clone(),
                }),
            }
        }
        Ok(())
    }
}

fn announcement(settlement: &DecidedTransition, now: DateTime<Utc>) -> Result<Announcement, StoreError> {
    let DecidedTransition { run, transition, facts } = settlement;
    let stored = run.progress.as_deref().unwrap_or_default();
    let end = End {
        state: transition.next,
        partial: facts.partial,
        complete: facts.complete,
        progress: if facts.progress.is_empty() { stored } else { &facts.progress },
        fault: facts.fault.as_ref(),
    };
    announce::completed(run, &end, now)
}
