//! `grpc.health.v1`: ready while the database can be reached, its schema is this build's, and history has partitions for some days
//! ahead. That the process answers at all is its liveness.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_kit::clock;
use sea_orm::FromQueryResult;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    store::{
        db::Databases,
        schema::{self, SchemaError},
    },
    values,
};

const INTERVAL: Duration = Duration::from_secs(2);
/// History that cannot be written this far ahead makes a server unready.
const PARTITIONS_AHEAD: TimeDelta = TimeDelta::days(2);

/// Why a server is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The database cannot be reached, or has another schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Partitions end too soon.
    #[error("history can be written until {until} only")]
    Partitions {
        /// When they end.
        until: DateTime<Utc>,
    },
}

#[derive(FromQueryResult)]
struct PartitionEnd {
    until: DateTime<Utc>,
}

/// Says whether the server is ready, again and again, until it stops; from then on it is not.
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
    // The empty name is the server as a whole.
    for service in services.iter().chain(&[""]) {
        reporter.set_service_status(service, status).await;
    }
}

/// Whether the server can do its work now.
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
