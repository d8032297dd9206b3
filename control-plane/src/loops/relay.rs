//! Rings the doorbell for ready executions, in fair order.
//!
//! It rings only as far as executors have free slots. An entry that no executor can take would wait
//! in Redis, where later work with a higher priority could not overtake it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, jittered, pause, pause_until};
use crate::commands::fleet::acquire::order::fair_order;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::doorbell::{Doorbell, DoorbellEntry};
use crate::settings::LoopSettings;
use crate::store::db::Tx;
use crate::store::fleet::ready::{self, ReadyCandidate};
use crate::store::fleet::{leases, sessions};
use crate::store::keys::ExecutionKey;

/// Time for which a ring counts as a taken slot.
const RING_HOLDS_SLOT: TimeDelta = TimeDelta::seconds(5);
/// Maximum rings of one pool in one run.
const MAX_RINGS: usize = 1000;
/// Minimum time between two runs. Commits in between are handled together.
const MIN_PAUSE: Duration = Duration::from_millis(2);
/// Minimum time between two runs while they fail, since each commit would wake the relay in vain.
const MIN_PAUSE_FAILING: Duration = Duration::from_millis(500);

pub(super) async fn run(fleet: Fleet, doorbell: Doorbell, settings: LoopSettings, stop: CancellationToken) {
    let mut health = LoopHealth::new("relay");
    let relay = Relay { fleet, doorbell, rering_after: settings.relay_rering_after };
    loop {
        let succeeded = health.record(relay.ring_pools(clock::utc_now()).await).is_some();
        let wait = jittered(settings.relay_interval);
        let min_pause = if succeeded { MIN_PAUSE } else { wait.max(MIN_PAUSE_FAILING) };
        if !pause(&stop, min_pause).await || !pause_until(&stop, wait, relay.fleet.wakeups.ready()).await {
            return;
        }
    }
}

struct Relay {
    fleet: Fleet,
    doorbell: Doorbell,
    rering_after: Duration,
}

/// The executors of a pool that take work.
#[derive(Default)]
struct PoolCapacity {
    sessions: Vec<Uuid>,
    slots: i64,
}

impl Relay {
    async fn ring_pools(&self, now: DateTime<Utc>) -> Result<(), FleetError> {
        let mut pools: HashMap<String, PoolCapacity> = HashMap::new();
        for session in
            sessions::find_live(&self.fleet.databases).await?.into_iter().filter(|session| !session.draining)
        {
            let capacity = pools.entry(session.pool).or_default();
            capacity.sessions.push(session.id);
            capacity.slots += i64::from(session.slots);
        }
        for (pool, capacity) in pools {
            self.ring_pool(now, &pool, capacity).await?;
        }
        Ok(())
    }

    async fn ring_pool(
        &self,
        now: DateTime<Utc>,
        pool: &str,
        capacity: PoolCapacity,
    ) -> Result<(), FleetError> {
        let databases = &self.fleet.databases;
        let mut held = leases::count_of_sessions(databases, capacity.sessions).await?;
        held.extend(ready::count_rung(databases, pool, now - RING_HOLDS_SLOT).await?);
        let taken: i64 = held.iter().map(|(_, count)| count).sum();
        let free = usize::try_from(capacity.slots - taken).unwrap_or(0).min(MAX_RINGS);
        if free == 0 {
            return Ok(());
        }
        // A tenant may fill all free slots when no other tenant has work.
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let candidates = ready::find_ringable(databases, pool, now, self.rering_after, limit).await?;
        if candidates.is_empty() {
            return Ok(());
        }
        let by_key: HashMap<ExecutionKey, ReadyCandidate> =
            candidates.iter().map(|candidate| (candidate.key(), candidate.clone())).collect();
        let ordered = fair_order(candidates, &sum_by_tenant(held), free);
        self.ring(now, pool, ordered, &by_key).await
    }

    async fn ring(
        &self,
        now: DateTime<Utc>,
        pool: &str,
        ordered: Vec<ExecutionKey>,
        by_key: &HashMap<ExecutionKey, ReadyCandidate>,
    ) -> Result<(), FleetError> {
        let rung = ordered
            .iter()
            .map(|key| (*key, by_key.get(key).map_or(0, |candidate| candidate.rings)))
            .collect();
        // Marked before ringing: a replica that dies in between delays the work until it is rung
        // again, and two replicas never ring for the same row at once.
        let marked: HashSet<ExecutionKey> =
            self.fleet.placement.run(&MarkRung { now }, rung).await?.into_iter().flatten().collect();
        let entries: Vec<DoorbellEntry> = ordered
            .iter()
            .filter(|key| marked.contains(key))
            .filter_map(|key| by_key.get(key))
            .map(doorbell_entry)
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.doorbell.ring(pool, &entries).await {
            self.fleet.placement.run(&UnmarkRung, marked.into_iter().collect()).await?;
            return Err(error.into());
        }
        tracing::debug!(pool, entries = entries.len(), "rang the doorbell");
        Ok(())
    }
}

fn sum_by_tenant(held: Vec<(Uuid, i64)>) -> Vec<(Uuid, i64)> {
    let mut sums: HashMap<Uuid, i64> = HashMap::new();
    for (tenant, count) in held {
        *sums.entry(tenant).or_default() += count;
    }
    sums.into_iter().collect()
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
