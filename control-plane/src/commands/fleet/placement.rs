//! Which tenants' rows can be claimed together. On plain Postgres all of them; on a distributed database those of one shard.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::FleetError;
use crate::store::db::{Databases, FleetTx, Retryable, Transaction, Tx};
use crate::store::error::StoreError;
use crate::values;

/// Rows of one transaction, at most.
const MAX_BATCH: usize = 128;
/// Tenants whose group is remembered, at most.
const MAX_REMEMBERED: usize = 100_000;
/// How often work is tried when shards move under it.
const MAX_TRIES: u32 = 3;

/// What is done with some items of one placement group, in one transaction.
pub trait GroupTransaction: Sync {
    /// What it works on.
    type Item: Send + Sync;
    /// What it comes to.
    type Output: Send;
    /// How it fails.
    type Error: From<StoreError> + Into<FleetError> + Retryable + Send;
    /// Whose an item is.
    fn tenant(item: &Self::Item) -> Uuid;
    /// Does the work; may run several times.
    fn run(
        &self,
        tx: &Tx,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// Remembers the group of each tenant; cheap to clone.
#[derive(Clone)]
pub struct Placement {
    databases: Databases,
    groups: Arc<Mutex<HashMap<Uuid, i32>>>,
}

impl Placement {
    /// Remembers nothing yet.
    pub fn new(databases: Databases) -> Self {
        Self { databases, groups: Arc::default() }
    }

    /// Items by the placement group of their tenants, in batches. Items of tenants that do not exist are left out.
    pub async fn split<T>(
        &self,
        items: Vec<T>,
        tenant: impl Fn(&T) -> Uuid,
    ) -> Result<Vec<Vec<T>>, StoreError> {
        self.learn(items.iter().map(&tenant)).await?;
        let mut groups: BTreeMap<i32, Vec<Vec<T>>> = BTreeMap::new();
        let known = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        for item in items {
            let Some(group) = known.get(&tenant(&item)) else { continue };
            let batches = groups.entry(*group).or_default();
            match batches.last_mut() {
                Some(batch) if batch.len() < MAX_BATCH => batch.push(item),
                Some(_) | None => batches.push(vec![item]),
            }
        }
        Ok(groups.into_values().flatten().collect())
    }

    /// Forgets all groups: a shard has moved.
    pub fn forget(&self) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn learn(&self, tenants: impl Iterator<Item = Uuid>) -> Result<(), StoreError> {
        #[derive(FromQueryResult)]
        struct Row {
            id: Uuid,
            placement: i32,
        }
        let unknown: Vec<Uuid> = {
            let mut known = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() > MAX_REMEMBERED {
                known.clear();
            }
            let mut unknown: Vec<Uuid> = tenants.filter(|tenant| !known.contains_key(tenant)).collect();
            unknown.sort_unstable();
            unknown.dedup();
            unknown
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let rows: Vec<Row> = self
            .databases
            .find(
                "SELECT id, placement_group(id) AS placement FROM tenants WHERE id = ANY($1)",
                values![unknown],
            )
            .await?;
        let mut known = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(rows.into_iter().map(|row| (row.id, row.placement)));
        Ok(())
    }

    /// Runs work over items, group by group and batch by batch, each in a transaction of its own.
    pub async fn run<G: GroupTransaction>(
        &self,
        work: &G,
        items: Vec<G::Item>,
    ) -> Result<Vec<G::Output>, FleetError> {
        let mut done = Vec::new();
        let mut left = self.split(items, G::tenant).await?;
        let mut tries = 1;
        while let Some(batch) = left.pop() {
            match self.databases.run_fleet(&InGroup { work, items: &batch }).await.map_err(Into::into) {
                Ok(result) => done.push(result),
                Err(FleetError::Store(StoreError::StaleGroup(_))) if tries < MAX_TRIES => {
                    tries += 1;
                    self.forget();
                    left.push(batch);
                    left = self.split(left.into_iter().flatten().collect(), G::tenant).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

struct InGroup<'a, G: GroupTransaction> {
    work: &'a G,
    items: &'a [G::Item],
}

impl<G: GroupTransaction> Transaction<FleetTx> for InGroup<'_, G> {
    type Output = G::Output;
    type Error = G::Error;

    async fn run(&self, tx: &FleetTx) -> Result<G::Output, G::Error> {
        self.work.run(tx, self.items).await
    }
}
