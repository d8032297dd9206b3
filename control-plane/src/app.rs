//! Composition root of `serve`, the only file that knows every part. It builds and starts the
//! parts, and stops them in order: new calls are refused first, then running calls and loops end,
//! then the connections close.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use orchid_kit::address_file::write_address;
use orchid_kit::shutdown::ShutdownSignals;
use orchid_kit::tasks::{TaskExit, TaskGroup};
use orchid_plan::ServerLimits;

use crate::api::ApiContext;
use crate::api::server::{self, ServeError};
use crate::commands::document_checks::DocumentChecks;
use crate::commands::executions::watch::WatchHub;
use crate::commands::fleet::{Fleet, FleetSettings, Wakeups};
use crate::doorbell::Doorbell;
use crate::keys::{MasterKeys, TokenSealer};
use crate::loops::{self, replicas, replicas::Replica};
use crate::settings::{KeySettings, Settings};
use crate::store::db::Databases;
use crate::store::schema;

/// Time that running calls and loops have to end after a stop signal.
const DRAIN: Duration = Duration::from_secs(15);

/// Serves until a stop signal arrives. Writes the address to the file `announce_to` once the port
/// is open.
pub async fn serve(settings: Settings, announce_to: Option<&Path>) -> anyhow::Result<()> {
    let mut signals = ShutdownSignals::install().context("cannot install the signal handlers")?;
    let databases = connect(&settings).await?;
    schema::check(&databases).await?;
    let master_keys = Arc::new(master_keys(&settings.keys)?);
    let sealer = Arc::new(TokenSealer::new(master_keys.clone())?);
    let replica = Replica::new(databases.clone(), master_keys.clone());
    // Before anything is sealed: other replicas must be able to open it.
    replica.register().await.context("cannot register with the other replicas")?;
    let plan_limits = ServerLimits::default();
    let fleet = Fleet::new(
        databases.clone(),
        sealer.clone(),
        master_keys.clone(),
        Wakeups::default(),
        fleet_settings(&settings, &plan_limits),
    );
    let doorbell = Doorbell::new(settings.redis.url.expose(), &settings.redis.prefix)
        .context("redis.url is not usable")?;

    let mut tasks = TaskGroup::new();
    tasks.start("replicas", replicas::run(replica, tasks.stop_token()));
    loops::start(&mut tasks, &fleet, &doorbell, &settings.loops, &settings.executions);
    let api = Arc::new(ApiContext {
        databases: databases.clone(),
        keys: master_keys,
        sealer,
        watches: WatchHub::new(databases.clone(), tasks.stop_token()),
        checks: DocumentChecks::new(threads()),
        plan_limits,
        fleet,
        stop: tasks.stop_token(),
    });
    let listening = server::listen(settings.listen)?;
    let address = listening.address;
    let serving = server::serve(api, settings, listening, &mut tasks, rand::random())?;
    tracing::info!(%address, "listening");
    if let Some(path) = announce_to {
        write_address(path, &address.to_string())?;
    }
    let served = run(serving, tasks, &mut signals).await;
    databases.close().await;
    served
}

async fn run(
    serving: impl Future<Output = Result<(), ServeError>> + Send,
    mut tasks: TaskGroup,
    signals: &mut ShutdownSignals,
) -> anyhow::Result<()> {
    tokio::pin!(serving);
    let ended = tokio::select! {
        served = &mut serving => return served.context("the gRPC server stopped unexpectedly"),
        // A loop never ends by itself. Without it the server would degrade silently, so it stops.
        ended = tasks.next_ended() => Some(ended),
        signal = signals.next() => {
            tracing::info!(%signal, "stopping");
            None
        }
    };
    tasks.stop_token().cancel();
    let drain = async {
        let (served, joined) = tokio::join!(tokio::time::timeout(DRAIN, &mut serving), tasks.join(DRAIN));
        match served {
            Ok(served) => served?,
            Err(_) => {
                tracing::warn!(
                    drain_ms = DRAIN.as_millis(),
                    "calls did not end in time; closing their connections"
                )
            }
        }
        joined.context("background loops did not end in time")
    };
    tokio::select! {
        drained = drain => drained?,
        signal = signals.next() => tracing::warn!(%signal, "second signal, stopping at once"),
    }
    match ended {
        None => Ok(()),
        Some(ended) => match ended.exit {
            TaskExit::Panicked(text) => anyhow::bail!("{} panicked: {text}", ended.name),
            TaskExit::Finished | TaskExit::Aborted => anyhow::bail!("{} ended unexpectedly", ended.name),
        },
    }
}

/// Returns the number of threads that this machine runs at a time.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

async fn connect(settings: &Settings) -> anyhow::Result<Databases> {
    let postgres = &settings.postgres;
    Databases::connect(postgres.app_url.expose(), postgres.fleet_url.expose(), postgres.pool_size)
        .await
        .context("cannot connect to Postgres (run `orchid-control-plane migrate` first on a new database)")
}

fn master_keys(settings: &KeySettings) -> anyhow::Result<MasterKeys> {
    let KeySettings { current: (id, key), others } = settings;
    let others = others.iter().map(|(id, key)| (id.as_str(), key.expose()));
    MasterKeys::new((id, key.expose()), others)
        .context("cannot use keys.master, keys.others or keys.previous")
}

fn fleet_settings(settings: &Settings, limits: &ServerLimits) -> FleetSettings {
    FleetSettings {
        lease_ttl: settings.lease_ttl,
        park_after: settings.executions.park_after,
        max_wait: settings.executions.max_wait,
        max_body_bytes: limits.body_bytes,
        max_nesting_depth: limits.nesting_depth,
        redis_prefix: settings.redis.prefix.clone(),
    }
}
