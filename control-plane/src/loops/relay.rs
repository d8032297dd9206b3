//! Rings the doorbell for ready executions, in fair order.
//!
//! It rings only as far as executors have free slots. An entry that no executor can take would wait
//! in Redis, where later work with a higher priority could not overtake it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_kit::clock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, pause, pause_until};
use super::relay_pace::{RelayPace, RelayPass};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::fair_queue::read_slots;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::doorbell::{Doorbell, DoorbellEntry};
use crate::settings::LoopSettings;
use crate::store::db::Tx;
use crate::store::fleet::ready::{self, ReadyCandidate};
use crate::store::fleet::{ready_queue, sessions};
use crate::store::keys::ExecutionKey;

/// Maximum rings of one pool in one run.
const MAX_RINGS: usize = 1000;
/// Minimum time between two runs. Commits in between are handled together, so that a busy queue is
/// rung for in batches; after a longer pause, a commit is handled at once.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// Time between two looks at the executors, at parked executions and at rings that were not heard.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Minimum time between two runs while they fail, since each commit would wake the relay in vain.
const MIN_PAUSE_FAILING: Duration = Duration::from_millis(500);

pub(super) async fn run(fleet: Fleet, doorbell: Doorbell, settings: LoopSettings, stop: CancellationToken) {
    let mut health = LoopHealth::new("relay");
    let mut pace = RelayPace::new(&settings, Instant::now());
    let mut relay = Relay {
        fleet,
        doorbell,
        rering_after: settings.relay_rering_after,
        looked_at: None,
        pools: HashMap::new(),
    };
    loop {
        let now = clock::utc_now();
        let pass = health.record(relay.ring_pools(now).await);
        let min_pause =
            if pass.is_some() { MIN_PAUSE } else { settings.relay_interval.max(MIN_PAUSE_FAILING) };
        let wait = pace.wait_after(pass, now, Instant::now());
        if !pause(&stop, min_pause).await || !pause_until(&stop, wait, relay.fleet.wakeups.ready()).await {
            return;
        }
    }
}

struct Relay {
    fleet: Fleet,
    doorbell: Doorbell,
    rering_after: Duration,
    /// Time of the last run that looked at what waits for a time: parked and unheard executions.
    looked_at: Option<Instant>,
    /// Executors by pool, as of that run.
    pools: HashMap<String, PoolCapacity>,
}

/// The executors of a pool that take work.
#[derive(Clone, Default)]
struct PoolCapacity {
    sessions: Vec<Uuid>,
    slots: usize,
}

impl Relay {
    async fn ring_pools(&mut self, now: DateTime<Utc>) -> Result<RelayPass, FleetError> {
        // Runs follow each other closely under load. The executors, and what only time changes, are
        // read less often.
        let is_look_due = self.looked_at.is_none_or(|looked_at| looked_at.elapsed() >= LOOK_INTERVAL);
        if is_look_due {
            self.looked_at = Some(Instant::now());
            self.release_due(now).await?;
            self.pools = self.read_pools().await?;
        }
        let mut is_busy = false;
        for (pool, capacity) in &self.pools {
            is_busy |= self.ring_pool(now, pool, capacity.clone(), is_look_due).await?;
        }
        if is_busy {
            return Ok(RelayPass::Busy);
        }
        if !is_look_due {
            // What waits for a time is not known before the next look.
            return Ok(RelayPass::Quiet { next: Some(now + LOOK_INTERVAL) });
        }
        Ok(RelayPass::Quiet { next: ready_queue::next_parked(&self.fleet.databases).await? })
    }

    async fn read_pools(&self) -> Result<HashMap<String, PoolCapacity>, FleetError> {
        let mut pools: HashMap<String, PoolCapacity> = HashMap::new();
        for session in
            sessions::find_live(&self.fleet.databases).await?.into_iter().filter(|session| !session.draining)
        {
            let capacity = pools.entry(session.pool).or_default();
            capacity.sessions.push(session.id);
            capacity.slots += usize::try_from(session.slots).unwrap_or(0);
        }
        Ok(pools)
    }

    /// Rings for a pool, and returns whether executions wait in it or may wait.
    async fn ring_pool(
        &self,
        now: DateTime<Utc>,
        pool: &str,
        capacity: PoolCapacity,
        is_look_due: bool,
    ) -> Result<bool, FleetError> {
        let Fleet { databases, placement, queues, .. } = &self.fleet;
        let slots = read_slots(databases, pool, now, capacity.sessions, capacity.slots).await?;
        let taken: usize = slots.held.values().sum();
        let free = slots.total.saturating_sub(taken).min(MAX_RINGS);
        if free == 0 {
            return Ok(true);
        }
        // A tenant has had its turn with the first ring, so a repeated one comes before new work.
        let most = i64::try_from(free).unwrap_or(i64::MAX);
        let unheard = if is_look_due {
            ready_queue::find_unheard(databases, pool, now, self.rering_after, most).await?
        } else {
            Vec::new()
        };
        let queue = queues.of(pool);
        let next = queue.next(databases, placement, slots, free - unheard.len()).await?;
        let rung = self.ring(now, pool, unheard.iter().chain(&next.candidates)).await;
        queue.settle(&next, rung.as_ref().unwrap_or(&HashSet::new()));
        rung?;
        Ok(!unheard.is_empty() || !next.candidates.is_empty())
    }

    /// Rings for executions, and returns those that no other replica rang for.
    async fn ring(
        &self,
        now: DateTime<Utc>,
        pool: &str,
        candidates: impl Iterator<Item = &ReadyCandidate> + Clone,
    ) -> Result<HashSet<ExecutionKey>, FleetError> {
        let found: Vec<(ExecutionKey, i32)> =
            candidates.clone().map(|candidate| (candidate.key(), candidate.rings)).collect();
        if found.is_empty() {
            return Ok(HashSet::new());
        }
        // While Redis is down, every run would write marks and clear them again.
        self.doorbell.check().await?;
        // Marked before ringing: a replica that dies in between delays the work until it is rung
        // again, and two replicas never ring for the same row at once.
        let marked: HashSet<ExecutionKey> =
            self.fleet.placement.run(&MarkRung { now }, found).await?.into_iter().flatten().collect();
        let entries: Vec<DoorbellEntry> =
            candidates.filter(|candidate| marked.contains(&candidate.key())).map(doorbell_entry).collect();
        if entries.is_empty() {
            return Ok(marked);
        }
        if let Err(error) = self.doorbell.ring(pool, &entries).await {
            self.fleet.placement.run(&UnmarkRung, marked.into_iter().collect()).await?;
            return Err(error.into());
        }
        tracing::debug!(pool, entries = entries.len(), "rang the doorbell");
        Ok(marked)
    }

    /// Lets parked executions whose time has come join the queue.
    async fn release_due(&self, now: DateTime<Utc>) -> Result<(), FleetError> {
        let due = ready_queue::find_due(&self.fleet.databases, now).await?;
        if !due.is_empty() {
            self.fleet.placement.run(&ReleaseDue { now }, due).await?;
        }
        Ok(())
    }
}

fn doorbell_entry(candidate: &ReadyCandidate) -> DoorbellEntry {
    DoorbellEntry {
        execution_id: candidate.execution_id,
        tenant_id: candidate.tenant_id,
        traceparent: candidate.traceparent.clone().unwrap_or_default(),
    }
}

/// Marks rows as rung, each as one replica's alone.
struct MarkRung {
    now: DateTime<Utc>,
}

impl GroupTransaction for MarkRung {
    /// An execution, and how often the doorbell had rung for it when it was found.
    type Item = (ExecutionKey, i32);
    type Output = Vec<ExecutionKey>;

    fn tenant(item: &Self::Item) -> Uuid {
        item.0.tenant_id
    }

    async fn run(&self, tx: &Tx, rung: &[Self::Item]) -> Result<Vec<ExecutionKey>, FleetError> {
        // Fair order is not key order; rows are locked in key order everywhere.
        let mut rung = rung.to_vec();
        rung.sort_unstable();
        Ok(ready::mark_rung(tx, self.now, &rung).await?)
    }
}

/// Clears the marks of rings that did not reach the doorbell.
struct UnmarkRung;

impl GroupTransaction for UnmarkRung {
    type Item = ExecutionKey;
    type Output = ();

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<(), FleetError> {
        Ok(ready::unmark_rung(tx, keys).await?)
    }
}

/// Lets parked rows join the queue.
struct ReleaseDue {
    now: DateTime<Utc>,
}

impl GroupTransaction for ReleaseDue {
    type Item = ExecutionKey;
    type Output = ();

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, due: &[ExecutionKey]) -> Result<(), FleetError> {
        Ok(ready_queue::release(tx, self.now, due).await?)
    }
}
