//! Rings the doorbell for ready work, in the order of fairness, and only as far as executors have free slots: what rings for nobody would
//! only wait in Redis, out of order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::{Health, jittered, pause, pause_until};
use crate::commands::fleet::acquire::in_turn;
use crate::commands::fleet::{Fleet, FleetError, GroupTransaction};
use crate::doorbell::{Doorbell, Ring};
use crate::settings::LoopSettings;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::ready::{self, ReadyCandidate};
use crate::store::fleet::{ExecutionKey, leases, sessions};

/// A ring counts as a taken slot for so long.
const RING_HOLDS_SLOT: TimeDelta = TimeDelta::seconds(5);
/// Rings of one pool in one pass, at most.
const MAX_RINGS: usize = 1000;
/// The least time between two passes: commits in between are taken together.
const BREATH: Duration = Duration::from_millis(2);

pub(super) async fn run(fleet: Fleet, doorbell: Doorbell, settings: LoopSettings, stop: CancellationToken) {
    let mut health = Health::new("relay");
    let relay = Relay { fleet, doorbell, rering_after: settings.relay_rering_after };
    loop {
        let worked = health.note(relay.pass(clock::utc_now()).await).is_some();
        let wait = jittered(settings.relay_interval);
        // While a server is away every commit would wake it in vain.
        let breath = if worked { BREATH } else { wait.max(Duration::from_millis(500)) };
        if !pause(&stop, breath).await || !pause_until(&stop, wait, relay.fleet.wakeups.ready()).await {
            return;
        }
    }
}

struct Relay {
    fleet: Fleet,
    doorbell: Doorbell,
    rering_after: Duration,
}

/// What a pool's executors can take.
#[derive(Default)]
struct Capacity {
    sessions: Vec<Uuid>,
    slots: i64,
}

impl Relay {
    async fn pass(&self, now: DateTime<Utc>) -> Result<(), FleetError> {
        let mut pools: HashMap<String, Capacity> = HashMap::new();
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

    async fn ring_pool(&self, now: DateTime<Utc>, pool: &str, capacity: Capacity) -> Result<(), FleetError> {
        let databases = &self.fleet.databases;
        let mut held = leases::count_of_sessions(databases, capacity.sessions).await?;
        held.extend(ready::count_rung(databases, pool, now - RING_HOLDS_SLOT).await?);
        let taken: i64 = held.iter().map(|(_, count)| count).sum();
        let free = usize::try_from(capacity.slots - taken).unwrap_or(0).min(MAX_RINGS);
        if free == 0 {
            return Ok(());
        }
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let candidates = ready::find_ringable(databases, pool, now, self.rering_after, limit).await?;
        if candidates.is_empty() {
            return Ok(());
        }
        let by_key: HashMap<ExecutionKey, ReadyCandidate> =
            candidates.iter().map(|candidate| (candidate.key(), candidate.clone())).collect();
        let turns = in_turn(candidates, &summed(held), free);
        self.ring(now, pool, turns, &by_key).await
    }

    async fn ring(
        &self,
        now: DateTime<Utc>,
        pool: &str,
        turns: Vec<ExecutionKey>,
        by_key: &HashMap<ExecutionKey, ReadyCandidate>,
    ) -> Result<(), FleetError> {
        let rung =
            turns.iter().map(|key| (*key, by_key.get(key).map_or(0, |candidate| candidate.rings))).collect();
        let marked: HashSet<ExecutionKey> =
            self.fleet.placement.run(&Mark { now }, rung).await?.into_iter().flatten().collect();
        let rings: Vec<Ring> = turns
            .iter()
            .filter(|key| marked.contains(key))
            .filter_map(|key| by_key.get(key))
            .map(entry)
            .collect();
        if rings.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.doorbell.ring(pool, &rings).await {
            self.fleet.placement.run(&Unmark, marked.into_iter().collect()).await?;
            return Err(error.into());
        }
        tracing::debug!(pool, rings = rings.len(), "rang");
        Ok(())
    }
}

fn summed(held: Vec<(Uuid, i64)>) -> Vec<(Uuid, i64)> {
    let mut sums: HashMap<Uuid, i64> = HashMap::new();
    for (tenant, count) in held {
        *sums.entry(tenant).or_default() += count;
    }
    sums.into_iter().collect()
}

fn entry(candidate: &ReadyCandidate) -> Ring {
    Ring {
        execution_id: candidate.execution_id,
        tenant_id: candidate.tenant_id,
        traceparent: candidate.traceparent.clone().unwrap_or_default(),
    }
}

/// Claims rings, so that two replicas do not ring for the same.
struct Mark {
    now: DateTime<Utc>,
}

impl GroupTransaction for Mark {
    /// ScheduleLock, and how often it rang when it was found.
    type Item = (ExecutionKey, i32);
    type Output = Vec<ExecutionKey>;
    type Error = StoreError;

    fn tenant(item: &Self::Item) -> Uuid {
        item.0.tenant_id
    }

    async fn run(&self, tx: &Tx, rung: &[Self::Item]) -> Result<Vec<ExecutionKey>, StoreError> {
        let mut rung = rung.to_vec();
        rung.sort_unstable();
        ready::mark_rung(tx, self.now, &rung).await
    }
}

/// Takes rings back that did not reach the doorbell.
struct Unmark;

impl GroupTransaction for Unmark {
    type Item = ExecutionKey;
    type Output = ();
    type Error = StoreError;

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
        ready::unmark_rung(tx, keys).await
    }
}
