//! The interpreter of effects: collects the rows that decided transitions ask for, and writes them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Beginning, Effect, NextBeginning, Origin};
use uuid::Uuid;

use super::announcement::completed;
use super::decided::DecidedTransition;
use crate::commands::executions::progress::ExecutionError;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::attempts::{self, ClosedAttempt};
use crate::store::executions::change::{self, ExecutionChange};
use crate::store::executions::grant::NewLease;
use crate::store::executions::history::{self, HistoryEntry};
use crate::store::executions::locked::LockedExecution;
use crate::store::fleet::announcements::{self, Announcement};
use crate::store::fleet::leases;
use crate::store::fleet::ready::{self, NewReadyRow};
use crate::store::fleet::schedules::FreedSchedule;
use crate::store::keys::ExecutionKey;

/// The rows that some transitions ask for. Each field is one statement, however many transitions
/// there are.
#[derive(Default)]
pub(super) struct EffectRows {
    /// Leases to open. Their executions change by the statement that grants them.
    pub(super) opened: Vec<NewLease>,
    /// Schedules to promote behind, once all other rows are written.
    pub(super) freed: Vec<FreedSchedule>,
    /// Terminal events.
    pub(super) announcements: Vec<Announcement>,
    changes: Vec<ExecutionChange>,
    closed: Vec<ClosedAttempt>,
    unleased: Vec<ExecutionKey>,
    left_ready: Vec<ExecutionKey>,
    entered_ready: Vec<NewReadyRow>,
    history: Vec<HistoryEntry>,
}

impl EffectRows {
    /// Collects the rows of transitions, with the change of each execution's own row. An execution
    /// that is granted changes by the statement of the grant instead.
    pub(super) fn of(decided: &[DecidedTransition], now: DateTime<Utc>) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        for transition in decided {
            let change = rows.add(transition, now)?;
            rows.changes.extend(change);
        }
        Ok(rows)
    }

    /// Collects the rows of transitions whose executions were just inserted in their states, so
    /// that nothing changes them.
    pub(super) fn of_created(decided: &[DecidedTransition], now: DateTime<Utc>) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        for transition in decided {
            rows.add(transition, now)?;
        }
        Ok(rows)
    }

    /// Interprets the effects of one transition: adds its rows, and returns the change of the
    /// execution's own row, or none when a grant changes it.
    fn add(
        &mut self,
        decided: &DecidedTransition,
        now: DateTime<Utc>,
    ) -> Result<Option<ExecutionChange>, StoreError> {
        let DecidedTransition { execution, transition, facts } = decided;
        let mut change = row_change(decided);
        let mut attempt = execution.attempt;
        let (mut is_granted, mut is_recorded) = (false, false);
        let mut next = None;
        for effect in &transition.effects {
            match effect {
                Effect::Begin(beginning) => change.beginning = *beginning,
                Effect::SetNext(beginning) => next = Some(*beginning),
                Effect::EnterReady { not_before } => {
                    change.not_before = *not_before;
                    self.entered_ready.push(NewReadyRow::of(execution, *not_before, transition.losses));
                }
                Effect::LeaveReady => self.left_ready.push(execution.key),
                Effect::OpenLease => {
                    is_granted = true;
                    // The grant's UPDATE does the same, under the same row lock.
                    attempt += 1;
                    let lease_id = Uuid::new_v4();
                    self.opened.push(NewLease { key: execution.key, lease_id, losses: execution.losses });
                }
                Effect::CloseLease(verdict) => {
                    change.closes_after_ms = Some(facts.attempt_ms);
                    self.unleased.push(execution.key);
                    self.closed.push(ClosedAttempt {
                        key: execution.key,
                        attempt: execution.attempt,
                        verdict: *verdict,
                        final_seq: facts.final_seq,
                        last_request: facts.last_request.clone(),
                    });
                }
                Effect::PromoteNext => self.freed.extend(freed_schedule(execution, next)),
                Effect::Announce => self.announcements.push(completed(decided, now)?),
                Effect::Record => is_recorded = true,
            }
        }
        // Recorded last: the entry names the attempt that an opened lease begins.
        if is_recorded {
            self.history.push(HistoryEntry {
                key: execution.key,
                state: transition.next,
                attempt,
                cause: transition.cause,
                detail: facts.detail.clone(),
            });
        }
        Ok((!is_granted).then_some(change))
    }

    /// Returns whether work enters the ready queue.
    pub(super) fn work_is_ready(&self) -> bool {
        !self.entered_ready.is_empty()
    }

    /// Deletes the ready rows that transitions leave, and returns the keys of those that existed.
    pub(super) async fn leave_ready(&mut self, tx: &Tx) -> Result<HashSet<ExecutionKey>, StoreError> {
        let left = std::mem::take(&mut self.left_ready);
        Ok(ready::delete(tx, &left).await?.into_iter().collect())
    }

    /// Drops the rows of grants that did not find a ready row.
    pub(super) fn retain_grants(&mut self, taken: &HashSet<ExecutionKey>) {
        self.opened.retain(|lease| taken.contains(&lease.key));
        self.history.retain(|entry| taken.contains(&entry.key));
    }

    /// Writes all rows but leases to open and promotions. `handed_at` is set when the caller's
    /// response carries the announcements.
    pub(super) async fn write(
        &mut self,
        tx: &Tx,
        now: DateTime<Utc>,
        handed_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        self.change_executions(tx, now).await?;
        attempts::close(tx, now, &self.closed).await?;
        leases::delete(tx, &self.unleased).await?;
        // A cancel may leave the queue and enter it anew: the old row goes first, the key is the
        // same.
        self.leave_ready(tx).await?;
        ready::insert(tx, now, &self.entered_ready).await?;
        history::record(tx, now, &self.history).await?;
        announcements::insert(tx, now, &self.announcements, handed_at).await
    }

    /// Changes the executions' own rows. Their locks are held since the decision, so that a row
    /// that does not match any more means a bug, not a lost race.
    async fn change_executions(&self, tx: &Tx, now: DateTime<Utc>) -> Result<(), StoreError> {
        let changed: HashSet<ExecutionKey> =
            change::apply_changes(tx, now, &self.changes).await?.into_iter().collect();
        match self.changes.iter().find(|change| !changed.contains(&change.key)) {
            None => Ok(()),
            Some(change) => Err(StoreError::corrupt(
                "plan_executions",
                format!("{} changed under its lock", change.key.execution_id),
            )),
        }
    }
}

/// Returns what a transition writes into its execution's row, before its effects add to it.
fn row_change(decided: &DecidedTransition) -> ExecutionChange {
    let DecidedTransition { execution, transition, facts } = decided;
    ExecutionChange {
        key: execution.key,
        from: execution.state,
        fence: execution.fence,
        to: transition.next,
        losses: transition.losses,
        cancel_requested: transition.cancel_requested,
        needs_upstream_cancel: transition.needs_upstream_cancel,
        cancel_reason: facts.cancel_reason.clone(),
        not_before: None,
        waiting_for: facts.waiting_for.clone(),
        partial: facts.partial,
        complete: facts.complete,
        closes_after_ms: None,
        checkpoint_seq: facts.checkpoint_seq,
        progress: facts.progress.clone(),
        error: facts.error.as_ref().map(ExecutionError::encode).unwrap_or_default(),
        beginning: Beginning::Fresh,
    }
}

/// Returns the schedule that the execution's end frees. An execution that saves nothing holds a
/// schedule only when the schedule started it.
fn freed_schedule(execution: &LockedExecution, next: Option<NextBeginning>) -> Option<FreedSchedule> {
    let holds = execution.persists || execution.origin == Origin::Schedule;
    holds.then(|| FreedSchedule {
        key: execution.schedule_key(),
        execution_id: Some(execution.key.execution_id),
        revision: execution.plan_revision,
        next,
    })
}
