//! Maintains the doorbell's streams: creates missing consumer groups, deletes entries that were
//! never acknowledged, and removes consumers whose session is gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::loop_runtime::{LoopHealth, jittered, pause};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::resources::Fleet;
use crate::doorbell::Doorbell;
use crate::store::fleet::sessions;

const INTERVAL: Duration = Duration::from_secs(10);

pub(super) async fn run(fleet: Fleet, doorbell: Doorbell, stop: CancellationToken) {
    let mut health = LoopHealth::new("stream maintenance");
    loop {
        health.record(maintain_streams(&fleet, &doorbell).await);
        if !pause(&stop, jittered(INTERVAL)).await {
            return;
        }
    }
}

async fn maintain_streams(fleet: &Fleet, doorbell: &Doorbell) -> Result<(), FleetError> {
    let mut pools: HashMap<String, HashSet<String>> = HashMap::new();
    for session in sessions::find_live(&fleet.databases).await? {
        pools.entry(session.pool).or_default().insert(session.id.to_string());
    }
    for (pool, live) in pools {
        doorbell.maintain(&pool, &live).await?;
    }
    Ok(())
}
