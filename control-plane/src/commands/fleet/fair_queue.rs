//! The fair queue of each pool: which ready executions come next. The relay and acquire calls both
//! take their work from here.
//!
//! It chooses tenants first, by [`TenantTurns`], and then reads the next rows of the chosen ones.
//! So the cost of a look grows with the slots that it fills, and with the number of tenants that
//! wait, but not with the length of their queues.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use orchid_domain::TenantId;
use orchid_domain::fairness::{PoolSlots, TenantTurns, WaitingTenant};
use orchid_kit::clock;
use uuid::Uuid;

use super::placement::Placement;
use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::store::fleet::ready::ReadyCandidate;
use crate::store::fleet::{ready_queue, sessions};
use crate::store::keys::ExecutionKey;

/// Time for which a ring counts as a taken slot.
pub(crate) const RING_HOLDS_SLOT: TimeDelta = TimeDelta::seconds(5);
/// Maximum times that tenants are chosen again because chosen ones had fewer rows than turns.
const MAX_ROUNDS: usize = 8;
/// A list is read again after this many times as long as reading it took, so that a long list costs
/// a tenth of a core at most, however often it is asked for.
const READ_AGAIN_FACTOR: u32 = 9;

/// The queues of all pools, as this replica has served them. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct FairQueues(Arc<Mutex<HashMap<String, Arc<FairQueue>>>>);

impl FairQueues {
    /// Returns the queue of a pool.
    pub(crate) fn of(&self, pool: &str) -> Arc<FairQueue> {
        // One entry for each pool that an executor has joined, and those are configured.
        let mut queues = lock(&self.0);
        match queues.get(pool) {
            Some(queue) => Arc::clone(queue),
            None => {
                let queue = Arc::new(FairQueue { pool: pool.to_owned(), ..FairQueue::default() });
                Arc::clone(queues.entry(pool.to_owned()).or_insert(queue))
            }
        }
    }
}

/// The queue of one pool.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    pool: String,
    turns: Mutex<TenantTurns>,
    waiting: tokio::sync::Mutex<CachedRead<Vec<WaitingTenant>>>,
    slots: tokio::sync::Mutex<CachedRead<PoolSlots>>,
}

/// Executions that come next, in order. Each is a turn that its tenant has taken.
#[derive(Debug, Default)]
pub(crate) struct NextExecutions {
    pub(crate) candidates: Vec<ReadyCandidate>,
    /// The turn of each candidate.
    turns: Vec<WaitingTenant>,
}

impl FairQueue {
    /// Returns up to `limit` executions that can start and that the doorbell has not rung for.
    ///
    /// Their tenants' turns are taken. [`settle`](Self::settle) gives back those that came to
    /// nothing.
    pub(crate) async fn next(
        &self,
        databases: &Databases,
        placement: &Placement,
        mut slots: PoolSlots,
        limit: usize,
    ) -> Result<NextExecutions, StoreError> {
        let (mut waiting, mut is_fresh) = self.waiting(databases, Freshness::Cached).await?;
        let mut next = NextExecutions::default();
        for _ in 0..MAX_ROUNDS {
            let missing = limit - next.candidates.len();
            if missing == 0 {
                break;
            }
            if waiting.is_empty() && !is_fresh {
                // The tenants that were known have nothing left. Others may have work by now.
                (waiting, is_fresh) = self.waiting(databases, Freshness::New).await?;
            }
            if waiting.is_empty() {
                break;
            }
            let chosen = lock(&self.turns).choose(&waiting, &mut slots, missing);
            let exhausted = self.read_chosen(databases, placement, chosen, &mut next).await?;
            waiting.retain(|tenant| !exhausted.contains(&tenant.tenant));
        }
        Ok(next)
    }

    /// Reads the rows of chosen tenants and appends them in the order of the turns. Returns the
    /// tenants that have no more.
    async fn read_chosen(
        &self,
        databases: &Databases,
        placement: &Placement,
        chosen: Vec<WaitingTenant>,
        next: &mut NextExecutions,
    ) -> Result<HashSet<TenantId>, StoreError> {
        let found: HashSet<ExecutionKey> = next.candidates.iter().map(ReadyCandidate::key).collect();
        let mut rows_of: HashMap<Uuid, i64> = HashMap::new();
        for WaitingTenant { tenant, .. } in &chosen {
            *rows_of.entry(tenant.0).or_default() += 1;
        }
        // The rows of earlier rounds come again.
        for key in &found {
            rows_of.entry(key.tenant_id).and_modify(|rows| *rows += 1);
        }
        let mut rows: HashMap<Uuid, VecDeque<ReadyCandidate>> = HashMap::new();
        for group in placement.split(rows_of.into_iter().collect(), |(tenant, _)| *tenant).await? {
            for row in ready_queue::find_of_tenants(databases, &self.pool, &group).await? {
                if !found.contains(&row.key()) {
                    rows.entry(row.tenant_id).or_default().push_back(row);
                }
            }
        }
        let mut exhausted = HashSet::new();
        for chosen in chosen {
            match rows.get_mut(&chosen.tenant.0).and_then(VecDeque::pop_front) {
                Some(row) => {
                    next.candidates.push(row);
                    next.turns.push(chosen);
                }
                None => {
                    exhausted.insert(chosen.tenant);
                    lock(&self.turns).give_back(&chosen, 1);
                }
            }
        }
        Ok(exhausted)
    }

    /// Gives back the turns of executions that were not started.
    pub(crate) fn settle(&self, next: &NextExecutions, started: &HashSet<ExecutionKey>) {
        let mut turns = lock(&self.turns);
        for (row, turn) in next.candidates.iter().zip(&next.turns) {
            if !started.contains(&row.key()) {
                turns.give_back(turn, 1);
            }
        }
    }

    /// Returns the slots of the pool, as they were a short time ago.
    pub(crate) async fn slots(&self, databases: &Databases) -> Result<PoolSlots, StoreError> {
        let mut slots = self.slots.lock().await;
        slots
            .get(async {
                let live = sessions::find_live(databases).await?;
                let live = live.into_iter().filter(|session| session.pool == self.pool && !session.draining);
                let (ids, slots): (Vec<Uuid>, Vec<i32>) =
                    live.map(|session| (session.id, session.slots)).unzip();
                let total = slots.into_iter().map(|slots| usize::try_from(slots).unwrap_or(0)).sum();
                read_slots(databases, &self.pool, clock::utc_now(), ids, total).await
            })
            .await
    }

    async fn waiting(
        &self,
        databases: &Databases,
        freshness: Freshness,
    ) -> Result<(Vec<WaitingTenant>, bool), StoreError> {
        let mut waiting = self.waiting.lock().await;
        let read = ready_queue::find_waiting_tenants(databases, &self.pool);
        match freshness {
            Freshness::Cached => {
                let is_fresh = waiting.is_due();
                Ok((waiting.get(read).await?, is_fresh))
            }
            Freshness::New => Ok((waiting.read(read).await?, true)),
        }
    }
}

/// The age that a list may have.
enum Freshness {
    Cached,
    New,
}

/// Reads the slots of a pool: those that leases of these sessions take, and those that announced
/// executions will take.
pub(crate) async fn read_slots(
    databases: &Databases,
    pool: &str,
    now: DateTime<Utc>,
    sessions: Vec<Uuid>,
    total: usize,
) -> Result<PoolSlots, StoreError> {
    let mut held = HashMap::new();
    for (tenant, count) in ready_queue::count_held(databases, pool, sessions, now - RING_HOLDS_SLOT).await? {
        held.insert(TenantId(tenant), usize::try_from(count).unwrap_or(0));
    }
    Ok(PoolSlots { total, held })
}

/// The last result of a read, which is used again for a time that follows from its cost.
#[derive(Debug, Default)]
struct CachedRead<T> {
    value: T,
    due_at: Option<Instant>,
}

impl<T: Clone> CachedRead<T> {
    fn is_due(&self) -> bool {
        self.due_at.is_none_or(|due_at| Instant::now() >= due_at)
    }

    async fn get(&mut self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        if self.is_due() { self.read(read).await } else { Ok(self.value.clone()) }
    }

    async fn read(&mut self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let started_at = Instant::now();
        self.value = read.await?;
        let took: Duration = started_at.elapsed();
        self.due_at = Some(Instant::now() + took * READ_AGAIN_FACTOR);
        Ok(self.value.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
