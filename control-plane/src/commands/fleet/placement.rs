//! Splits work by placement group: the tenants whose rows one transaction may touch.
//!
//! Plain Postgres has one group for all tenants. On a distributed database (Citus) a group is a
//! shard, and a transaction that stays inside it needs no two-phase commit.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::error::FleetError;
use crate::store::db::{Databases, FleetTx, Transaction, Tx};
use crate::store::error::StoreError;
use crate::values;

/// Maximum items of one transaction. It bounds how long a transaction holds its locks.
const MAX_BATCH: usize = 128;
/// Maximum tenants whose group is remembered.
const MAX_REMEMBERED: usize = 100_000;
/// Maximum times that groups are looked up again because a shard moved.
const MAX_TRIES: u32 = 3;

/// Work on some items of one placement group, in one transaction.
pub trait GroupTransaction: Sync {
    /// The items.
    type Item: Send + Sync;
    /// The result of one group.
    type Output: Send;
    /// Returns the tenant of an item.
    fn tenant(item: &Self::Item) -> Uuid;
    /// Does the work. A conflict runs it again, so it changes nothing but the database.
    fn run(
        &self,
        tx: &Tx,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Self::Output, FleetError>> + Send;
}

/// Knows the placement group of each tenant. Cloning is cheap.
#[derive(Clone)]
pub struct Placement {
    databases: Databases,
    groups: Arc<Mutex<HashMap<Uuid, i32>>>,
}

impl Placement {
    /// Creates a placement that knows no group yet.
    pub fn new(databases: Databases) -> Self {
        Self { databases, groups: Arc::default() }
    }

    /// Splits items into batches of one placement group each. Items of unknown tenants are left
    /// out.
    ///
    /// # Errors
    /// The lookup of a tenant's group fails.
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

    /// Forgets all groups, because a shard has moved.
    pub fn forget(&self) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Looks up the groups of tenants that are not known yet.
    async fn learn(&self, tenants: impl Iterator<Item = Uuid>) -> Result<(), StoreError> {
        #[derive(FromQueryResult)]
        struct GroupRow {
            id: Uuid,
            placement: i32,
        }
        let unknown: Vec<Uuid> = {
            let mut known = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            // Groups are cheap to learn again, so a full map is simply emptied.
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
        // The lock is not held during the lookup. Two calls may look up the same tenants, with the
        // same result.
        let rows: Vec<GroupRow> = self
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

    /// Runs work on items group by group and batch by batch, each batch in one transaction. Returns
    /// the result of each batch. An item whose own rows make its transaction fail is logged and
    /// left out, so that it concerns no other.
    ///
    /// # Errors
    /// A batch fails for a passing reason. Other batches may be committed.
    pub async fn run<G: GroupTransaction>(
        &self,
        work: &G,
        items: Vec<G::Item>,
    ) -> Result<Vec<G::Output>, FleetError> {
        let GroupResults { outputs, failed } = self.run_each(work, items).await?;
        for (item, error) in failed {
            tracing::error!(
                %error,
                tenant_id = %G::tenant(&item),
                work = std::any::type_name::<G>(),
                "work on one item failed: it is left out"
            );
        }
        Ok(outputs)
    }

    /// Runs work on items like [`run`](Self::run), and returns the items whose transactions fail.
    ///
    /// # Errors
    /// A batch fails for a passing reason. Other batches may be committed.
    pub async fn run_each<G: GroupTransaction>(
        &self,
        work: &G,
        items: Vec<G::Item>,
    ) -> Result<GroupResults<G>, FleetError> {
        let mut results = GroupResults { outputs: Vec::new(), failed: Vec::new() };
        let mut left = self.split(items, G::tenant).await?;
        let mut tries = 1;
        while let Some(mut batch) = left.pop() {
            match self.databases.run_fleet(&GroupBatch { work, items: &batch }).await {
                Ok(output) => results.outputs.push(output),
                // A shard moved between the lookup and the transaction: the batch may span two
                // groups now. Nothing of it is committed, so it is split anew with the rest.
                Err(FleetError::Store(StoreError::StaleGroup(_))) if tries < MAX_TRIES => {
                    tries += 1;
                    self.forget();
                    left.push(batch);
                    left = self.split(left.into_iter().flatten().collect(), G::tenant).await?;
                }
                Err(error @ FleetError::Store(StoreError::StaleGroup(_))) => {
                    // New groups did not help, so the database refuses the statement itself.
                    tracing::error!(%error, tries, "a statement is refused in every placement group");
                    return Err(error);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => match batch.pop() {
                    Some(item) if batch.is_empty() => results.failed.push((item, error)),
                    // One item is enough to fail a transaction. Halving finds it in a number of
                    // steps that grows with the logarithm of the batch.
                    last => {
                        batch.extend(last);
                        let second = batch.split_off(batch.len() / 2);
                        left.extend([batch, second]);
                    }
                },
            }
        }
        Ok(results)
    }
}

/// The results of work on items of several placement groups.
pub struct GroupResults<G: GroupTransaction> {
    /// The result of each batch.
    pub outputs: Vec<G::Output>,
    /// Items whose own rows make their transactions fail, with the errors.
    pub failed: Vec<(G::Item, FleetError)>,
}

/// One batch, as a transaction.
struct GroupBatch<'a, G: GroupTransaction> {
    work: &'a G,
    items: &'a [G::Item],
}

impl<G: GroupTransaction> Transaction<FleetTx> for GroupBatch<'_, G> {
    type Output = G::Output;
    type Error = FleetError;

    async fn run(&self, tx: &FleetTx) -> Result<G::Output, FleetError> {
        self.work.run(tx, self.items).await
    }
}
