//! `grpc.health.v1`. The server is ready while the database is reachable, its schema matches this
//! build, and history has partitions for the next days. A process that responds at all is alive.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_kit::clock;
use sea_orm::FromQueryResult;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::store::db::Databases;
use crate::store::schema::{self, SchemaError};
use crate::values;

const INTERVAL: Duration = Duration::from_secs(2);
/// Time ahead for which history partitions must exist.
const PARTITIONS_AHEAD: TimeDelta = TimeDelta::days(2);

/// Reason why a server is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The database is unreachable or has another schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// History partitions end too soon.
    #[error("history partitions end at {until}: the maintenance loop does not add new ones")]
    Partitions {
        /// End of the last partition.
        until: DateTime<Utc>,
    },
}

#[derive(FromQueryResult)]
struct PartitionEnd {
    until: DateTime<Utc>,
}

/// Reports readiness at intervals until the server stops; from then on it reports not ready.
pub(crate) async fn report(
    reporter: HealthReporter,
    services: Vec<&'static str>,
    databases: Databases,
    stop: CancellationToken,
) {
    let mut was_ready = None;
    loop {
        let checked = check(&databases).await;
        let is_ready = checked.is_ok();
        if was_ready != Some(is_ready) {
            match &checked {
                Ok(()) => tracing::info!("ready"),
                Err(error) => tracing::warn!(%error, "not ready"),
            }
            set(&reporter, &services, is_ready).await;
            was_ready = Some(is_ready);
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.cancelled() => break,
        }
    }
    set(&reporter, &services, false).await;
}

async fn set(reporter: &HealthReporter, services: &[&'static str], is_ready: bool) {
    let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    // By protocol, the empty name is the server as a whole.
    for service in services.iter().chain(&[""]) {
        reporter.set_service_status(service, status).await;
    }
}

/// Checks whether the server is ready.
///
/// # Errors
/// Fails with the reason if it is not.
pub async fn check(databases: &Databases) -> Result<(), NotReady> {
    schema::check(databases).await?;
    let rows: Vec<PartitionEnd> = databases
        .find("SELECT history_partitions_end() AS until", values![])
        .await
        .map_err(SchemaError::Store)?;
    match rows.first() {
        Some(PartitionEnd { until }) if *until >= clock::utc_now() + PARTITIONS_AHEAD => Ok(()),
        Some(PartitionEnd { until }) => Err(NotReady::Partitions { until: *until }),
        None => Err(NotReady::Partitions { until: DateTime::UNIX_EPOCH }),
    }
}
