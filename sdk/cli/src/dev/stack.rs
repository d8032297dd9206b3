//! The whole stack: started in order, tended while it runs, stopped in order. The only file that knows all its parts.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use orchid_kit::{
    clock,
    servers::{PostgresOptions, PostgresServer, RedisServer, ServerError},
    tasks::TaskGroup,
};
use orchid_sdk::{Client, Credentials, admin::v1::CreateTenantRequest};
use tokio::{time, try_join};
use tonic::Code;

use super::{
    broker::Broker,
    logs, programs,
    recipes::{self, Addresses},
    secrets::Secrets,
    service::{Service, run_once},
    state::{DevState, KafkaState},
    upstream::Upstream,
};
use crate::{console::Console, output::text};

const MIGRATED_WITHIN: Duration = Duration::from_secs(60);
const TEND_EVERY: Duration = Duration::from_millis(100);
/// How often a server may fail to start again before that is worth a line.
const QUIET_FAILURES: u32 = 20;
/// A little more than what executors are given to drain.
const PATIENCE: Duration = Duration::from_secs(8);

/// How the stack shall be.
#[derive(Debug, Clone)]
pub(crate) struct StackOptions {
    /// The control plane's port, when it is free.
    pub port: u16,
    /// Where everything is kept.
    pub data: PathBuf,
    /// How many executors.
    pub executors: usize,
    /// A broker to use instead of the built-in one.
    pub kafka: Option<String>,
    /// Private address ranges that plans may reach, besides loopback.
    pub allow_private: Vec<String>,
    /// Whether to forget what the data folder holds.
    pub fresh: bool,
    /// Whether to show the children's logs.
    pub logs: bool,
}

/// A running stack.
pub(crate) struct Stack {
    folder: PathBuf,
    state: DevState,
    services: Vec<Service>,
    postgres: PostgresServer,
    redis: RedisServer,
    /// Of Postgres and Redis: starts that failed since the end.
    failures: (u32, u32),
    tasks: TaskGroup,
    console: Console,
    /// In this process; gone with it.
    _broker: Option<Broker>,
    /// Held for as long as the folder is in use.
    _lock: File,
}

impl Stack {
    /// Starts everything, and returns when everything serves.
    pub(crate) async fn start(options: &StackOptions, console: Console) -> anyhow::Result<Self> {
        let folder = std::path::absolute(&options.data)?;
        let lock = prepare(&folder, options.fresh)?;
        let secrets = Secrets::of(&folder)?;
        let (control_plane, executor) =
            (programs::find(programs::CONTROL_PLANE)?, programs::find(programs::EXECUTOR)?);
        let mut tasks = TaskGroup::new();
        let (kafka, broker) = broker(options.kafka.as_deref())?;
        let upstream = Upstream::start(&folder, &secrets.upstream_key, &mut tasks).await?;
        let durable = PostgresOptions::default();
        let (postgres, redis) = try_join!(PostgresServer::start(&folder, &durable), async {
            RedisServer::start(&folder.join("redis")).await
        })?;
        let addresses = Addresses {
            postgres: ["orchid_app", "orchid_fleet", "postgres"].map(|role| postgres.url(role, "postgres")),
            redis: redis.url(),
        };
        let logs_folder = folder.join("logs");
        let listen = listen_address(options.port, console)?;
        let recipe =
            |command| recipes::control_plane(control_plane.clone(), command, &addresses, &secrets, &listen);
        run_once(&recipe("migrate"), &logs_folder, MIGRATED_WITHIN).await?;
        let mut services = vec![Service::start(recipe("serve"), &logs_folder).await?];
        let grpc = services[0].address().to_owned();
        let executors = (1..=options.executors).map(|number| {
            let needs = recipes::ExecutorNeeds {
                control_plane: &grpc,
                kafka: &kafka,
                create_topics: broker.is_none(),
                allow_private: &options.allow_private,
            };
            let recipe = recipes::executor(executor.clone(), number, &addresses, &secrets, &needs);
            Service::start(recipe, &logs_folder)
        });
        services.extend(try_join_all(executors).await?);
        create_tenant(&grpc, &secrets).await?;
        let state = DevState {
            pid: std::process::id(),
            grpc,
            tenant: secrets.tenant,
            kafka,
            postgres: postgres.url("postgres", "postgres"),
            redis: redis.url(),
            upstream: upstream.url(),
            variables: variables(&upstream.url(), &secrets),
            logs: logs_folder,
        };
        state.save(&folder)?;
        let mut stack = Self {
            folder,
            state,
            services,
            postgres,
            redis,
            failures: (0, 0),
            tasks,
            console,
            _broker: broker,
            _lock: lock,
        };
        if options.logs {
            stack.follow_logs();
        }
        Ok(stack)
    }

    /// Where everything is.
    pub(crate) fn state(&self) -> &DevState {
        &self.state
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The children, in the order of their start.
    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    /// Keeps everything running; returns never. Cancel safe.
    pub(crate) async fn tend(&mut self) {
        loop {
            time::sleep(TEND_EVERY).await;
            self.tend_servers().await;
            let now = clock::monotonic();
            for service in &mut self.services {
                service.tend(now, self.console);
            }
        }
    }

    /// A server is tried again at every turn: what a killed Postgres leaves needs a moment to go.
    async fn tend_servers(&mut self) {
        if let Some(status) = self.postgres.process().exit_status() {
            let again = self.postgres.restart().await;
            self.failures.0 = self.tell_restart("postgres", &status.to_string(), again, self.failures.0);
        }
        if let Some(status) = self.redis.process().exit_status() {
            let again = self.redis.restart().await;
            self.failures.1 = self.tell_restart("redis", &status.to_string(), again, self.failures.1);
        }
    }

    /// Says that a server runs again, or that it still does not; gives the number of failures since its end.
    fn tell_restart(&self, name: &str, ending: &str, again: Result<(), ServerError>, failures: u32) -> u32 {
        match again {
            Ok(()) => {
                self.console.notice(format!("{name} ended ({ending}), and runs again"));
                0
            }
            Err(error) => {
                if failures == QUIET_FAILURES {
                    let error = text::shortened(&error.to_string(), 300);
                    self.console.notice(format!("{name} ended, and does not start again: {error}"));
                }
                failures + 1
            }
        }
    }

    /// Stops everything: executors first, so that their runs are handed back, then what they need.
    pub(crate) async fn stop(mut self) {
        DevState::remove(&self.folder);
        let mut control_plane = self.services.remove(0);
        for executor in &mut self.services {
            executor.ask_to_stop();
        }
        for executor in &mut self.services {
            executor.stopped(PATIENCE).await;
        }
        control_plane.ask_to_stop();
        control_plane.stopped(PATIENCE).await;
        tokio::join!(self.redis.stop(), self.postgres.stop());
        if let Err(error) = self.tasks.join(PATIENCE).await {
            self.console.notice(format!("{error}"));
        }
    }

    fn follow_logs(&mut self) {
        let folder = self.state.logs.clone();
        let logs = self
            .services
            .iter()
            .map(|service| (service.name().to_owned(), folder.join(format!("{}.log", service.name()))));
        logs::follow(logs.collect(), self.console, &mut self.tasks);
    }
}

/// Makes the folder, empties it where asked, and takes it for this process alone.
fn prepare(folder: &Path, fresh: bool) -> anyhow::Result<File> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another orchid dev uses {}: stop it, or choose another folder with --data",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the data folder"),
    }
    if fresh {
        PostgresServer::wipe(folder)?;
        for name in ["secrets.json", "dev.json", "upstream.address"] {
            // A folder that was never used has none.
            let _ = fs::remove_file(folder.join(name));
        }
        let _ = fs::remove_dir_all(folder.join("logs"));
    }
    fs::create_dir_all(folder.join("logs"))?;
    Ok(lock)
}

/// The broker that was named, or one in this process.
fn broker(named: Option<&str>) -> anyhow::Result<(KafkaState, Option<Broker>)> {
    let mut kafka = KafkaState {
        brokers: String::new(),
        topic_responses: "api-responses".to_owned(),
        topic_errors: "api-errors".to_owned(),
        topic_events: "execution-events".to_owned(),
    };
    let own = match named {
        Some(_) => None,
        None => Some(Broker::start(&kafka)?),
    };
    kafka.brokers = own.as_ref().map(Broker::brokers).or(named).unwrap_or_default().to_owned();
    Ok((kafka, own))
}

/// The wanted port, or a free one when it is taken.
fn listen_address(port: u16, console: Console) -> anyhow::Result<String> {
    if TcpListener::bind(("127.0.0.1", port)).is_ok() {
        return Ok(format!("127.0.0.1:{port}"));
    }
    let free = orchid_kit::servers::free_port()?;
    console.notice(format!("port {port} is taken: the control plane listens on {free}"));
    Ok(format!("127.0.0.1:{free}"))
}

async fn create_tenant(grpc: &str, secrets: &Secrets) -> anyhow::Result<()> {
    let client = Client::connect(grpc, Credentials::Development { tenant: None }).await?;
    let request = CreateTenantRequest {
        id: secrets.tenant.to_string(),
        display_name: "Development".to_owned(),
        pool: recipes::POOL.to_owned(),
        ..CreateTenantRequest::default()
    };
    match client.tenants().create_tenant(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(orchid_sdk::Error::from(status)).context("cannot create the development tenant"),
    }
}

/// What `${NAME}` stands for in applied files.
fn variables(upstream: &str, secrets: &Secrets) -> BTreeMap<String, String> {
    [("UPSTREAM_URL", upstream.to_owned()), ("UPSTREAM_API_KEY", secrets.upstream_key.clone())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}
