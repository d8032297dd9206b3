//! Keeps the doorbell's streams tidy: makes groups that are missing, deletes entries that nobody acknowledged, removes consumers that
//! are gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pace::{Health, jittered, pause};
use crate::commands::fleet::{Fleet, FleetError};
use crate::doorbell::Doorbell;
use crate::store::fleet::sessions;

const INTERVAL: Duration = Duration::from_secs(10);

pub(super) async fn run(fleet: Fleet, doorbell: Doorbell, stop: CancellationToken) {
    let mut health = Health::new("doorbell keeper");
    loop {
        health.note(pass(&fleet, &doorbell).await);
        if !pause(&stop, jittered(INTERVAL)).await {
            return;
        }
    }
}

async fn pass(fleet: &Fleet, doorbell: &Doorbell) -> Result<(), FleetError> {
    let mut pools: HashMap<String, HashSet<String>> = HashMap::new();
    for session in sessions::find_live(&fleet.databases).await? {
        pools.entry(session.pool).or_default().insert(session.id.to_string());
    }
    for (pool, live) in pools {
        doorbell.tidy(&pool, &live).await?;
    }
    Ok(())
}
