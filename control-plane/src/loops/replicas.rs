//! Keeps the register of running replicas, and moves to a new master key in step with it.
//!
//! A replica must not seal with a key that another one cannot open: executors would lose their
//! sessions and leases at every second call. So a replica seals with its current key only once all
//! others have it too. From then on, the data keys of tenants are wrapped with it, until none needs
//! the old key any more.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, jittered, pause};
use crate::commands::tenants::rewrap_data_keys;
use crate::keys::MasterKeys;
use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::store::fleet::replicas::{self, ReplicaRow};

const INTERVAL: Duration = Duration::from_secs(5);
/// Time without a sign after which a replica counts as gone. Longer than a restart of Postgres.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// Maximum number of data keys that are wrapped again in one run.
const REWRAPPED_PER_RUN: i64 = 100;

/// This process in the register of replicas.
pub struct Replica {
    id: Uuid,
    databases: Databases,
    keys: Arc<MasterKeys>,
}

impl Replica {
    /// Creates the entry of this process.
    pub fn new(databases: Databases, keys: Arc<MasterKeys>) -> Self {
        Self { id: Uuid::now_v7(), databases, keys }
    }

    /// Registers this replica, and chooses the key that it seals with.
    ///
    /// # Errors
    /// Fails if the database does.
    pub async fn register(&self) -> Result<(), StoreError> {
        let row = ReplicaRow {
            id: self.id,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            key_ids: self.keys.ids().map(str::to_owned).collect(),
        };
        replicas::upsert(&self.databases, &row).await?;
        let others = replicas::others(&self.databases, self.id, GONE_AFTER).await?;
        let key_ids: Vec<Vec<String>> = others.into_iter().map(|other| other.key_ids).collect();
        let was_current = self.keys.seals_with_current();
        if !self.keys.seal_for(&key_ids) {
            let ours: Vec<&str> = self.keys.ids().collect();
            tracing::error!(
                keys = ours.join(","),
                "another replica can open none of this one's master keys: add one of them to its keys.others"
            );
        }
        let is_current = self.keys.seals_with_current();
        if was_current != is_current {
            tracing::info!(is_current, "another master key seals from now on");
        }
        Ok(())
    }

    /// Wraps data keys with the current master key, if all replicas can open it.
    async fn rewrap(&self) -> Result<(), StoreError> {
        if !self.keys.seals_with_current() {
            return Ok(());
        }
        let rewrapped = rewrap_data_keys(&self.databases, &self.keys, REWRAPPED_PER_RUN).await?;
        if rewrapped > 0 {
            tracing::info!(rewrapped, "data keys wrapped with the current master key");
        }
        Ok(())
    }
}

/// Keeps the register until the process stops, and then leaves it.
pub async fn run(replica: Replica, stop: CancellationToken) {
    let mut health = LoopHealth::new("replicas");
    while pause(&stop, jittered(INTERVAL)).await {
        let ran = async {
            replica.register().await?;
            replica.rewrap().await
        };
        health.record(ran.await);
    }
    // Otherwise the others would wait for this replica's keys for a minute.
    health.record(replicas::delete(&replica.databases, replica.id).await);
}
