//! The development stack: starts all parts in order, supervises them and stops them in order. The
//! only file that knows every part.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use orchid_kit::clock;
use orchid_kit::servers::{PostgresOptions, PostgresServer, RedisServer, ServerError};
use orchid_kit::tasks::TaskGroup;
use orchid_sdk::admin::v1::CreateTenantRequest;
use orchid_sdk::{Client, Credentials};
use tokio::{time, try_join};
use tonic::Code;

use super::broker::MockBroker;
use super::child_settings::{self, ServerAddresses};
use super::secrets::DevSecrets;
use super::service::{ChildService, run_once};
use super::state::{DevState, KafkaState};
use super::upstream::DemoUpstream;
use super::{logs, programs};
use crate::console::Console;
use crate::output::text;

const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);
const SUPERVISE_INTERVAL: Duration = Duration::from_millis(100);
/// The failed restarts of a server before they are reported: what a killed Postgres leaves behind
/// needs a moment to disappear.
const SILENT_FAILURES: u32 = 20;
/// The time that a part has to stop; longer than the drain time of executors (5 s).
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// The options of a stack.
#[derive(Debug, Clone)]
pub(crate) struct StackOptions {
    /// The preferred port of the control plane.
    pub port: u16,
    /// The data folder.
    pub data: PathBuf,
    /// The number of executors.
    pub executors: usize,
    /// A broker to use instead of the built-in one.
    pub kafka: Option<String>,
    /// Private address ranges that plans may reach besides loopback.
    pub allow_private: Vec<String>,
    /// Whether to delete the data of earlier starts.
    pub fresh: bool,
    /// Whether to print the logs of the child processes.
    pub logs: bool,
}

/// A running stack.
pub(crate) struct DevStack {
    folder: PathBuf,
    state: DevState,
    services: Vec<ChildService>,
    postgres: PostgresServer,
    redis: RedisServer,
    /// Failed restarts of Postgres and of Redis since they last ran.
    failed_restarts: (u32, u32),
    tasks: TaskGroup,
    console: Console,
    /// The built-in broker; lives in this process.
    _broker: Option<MockBroker>,
    /// The lock on the data folder.
    _lock: File,
}

impl DevStack {
    /// Starts everything and returns when everything serves.
    ///
    /// # Errors
    /// When the data folder is in use or a part does not start.
    pub(crate) async fn start(options: &StackOptions, console: Console) -> anyhow::Result<Self> {
        let folder = std::path::absolute(&options.data)?;
        let lock = prepare(&folder, options.fresh)?;
        let secrets = DevSecrets::load_or_create(&folder)?;
        let (control_plane, executor) =
            (programs::find(programs::CONTROL_PLANE)?, programs::find(programs::EXECUTOR)?);
        let mut tasks = TaskGroup::new();
        let (kafka, broker) = broker(options.kafka.as_deref())?;
        let upstream = DemoUpstream::start(&folder, &secrets.upstream_key, &mut tasks).await?;
        let durable = PostgresOptions::default();
        let (postgres, redis) = try_join!(PostgresServer::start(&folder, &durable), async {
            RedisServer::start(&folder.join("redis")).await
        })?;
        let addresses = ServerAddresses {
            postgres: ["orchid_app", "orchid_fleet", "postgres"].map(|role| postgres.url(role, "postgres")),
            redis: redis.url(),
        };
        let logs_folder = folder.join("logs");
        let listen = listen_address(options.port, console)?;
        let control_plane_settings = |command| {
            child_settings::control_plane(control_plane.clone(), command, &addresses, &secrets, &listen)
        };
        run_once(&control_plane_settings("migrate"), &logs_folder, MIGRATION_TIMEOUT).await?;
        let mut services = vec![ChildService::start(control_plane_settings("serve"), &logs_folder).await?];
        let grpc = services[0].address().to_owned();
        let executors = (1..=options.executors).map(|number| {
            let executor_options = child_settings::ExecutorOptions {
                control_plane: &grpc,
                kafka: &kafka,
                create_topics: broker.is_none(),
                allow_private: &options.allow_private,
            };
            let settings =
                child_settings::executor(executor.clone(), number, &addresses, &secrets, &executor_options);
            ChildService::start(settings, &logs_folder)
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
            failed_restarts: (0, 0),
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

    /// Returns the addresses of all parts.
    pub(crate) fn state(&self) -> &DevState {
        &self.state
    }

    /// Returns the data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the child processes, in the order of their start: the control plane, then executors.
    pub(crate) fn services(&self) -> &[ChildService] {
        &self.services
    }

    /// Restarts every part that ends; never returns. Cancel safe.
    pub(crate) async fn supervise(&mut self) {
        loop {
            time::sleep(SUPERVISE_INTERVAL).await;
            self.restart_servers().await;
            let now = clock::monotonic();
            for service in &mut self.services {
                service.supervise(now, self.console);
            }
        }
    }

    /// Restarts Postgres and Redis if they have ended. A failed restart is repeated at the next
    /// check.
    async fn restart_servers(&mut self) {
        if let Some(status) = self.postgres.process().exit_status() {
            let restarted = self.postgres.restart().await;
            self.failed_restarts.0 =
                self.report_restart("postgres", &status.to_string(), restarted, self.failed_restarts.0);
        }
        if let Some(status) = self.redis.process().exit_status() {
            let restarted = self.redis.restart().await;
            self.failed_restarts.1 =
                self.report_restart("redis", &status.to_string(), restarted, self.failed_restarts.1);
        }
    }

    /// Prints that a server runs again, or once that it does not; returns the number of failed
    /// restarts since it last ran.
    fn report_restart(
        &self,
        name: &str,
        status: &str,
        restarted: Result<(), ServerError>,
        failures: u32,
    ) -> u32 {
        match restarted {
            Ok(()) => {
                self.console.notice(format!("{name} ended ({status}) and was restarted"));
                0
            }
            Err(error) => {
                if failures == SILENT_FAILURES {
                    let error = text::shortened(&error.to_string(), 300);
                    self.console.notice(format!("{name} ended and cannot be restarted: {error}"));
                }
                failures + 1
            }
        }
    }

    /// Stops everything: executors first, so that they release their executions, then the servers
    /// that they need.
    pub(crate) async fn stop(mut self) {
        DevState::remove(&self.folder);
        let mut control_plane = self.services.remove(0);
        for executor in &mut self.services {
            executor.ask_to_stop();
        }
        for executor in &mut self.services {
            executor.wait_stopped(STOP_TIMEOUT).await;
        }
        control_plane.ask_to_stop();
        control_plane.wait_stopped(STOP_TIMEOUT).await;
        tokio::join!(self.redis.stop(), self.postgres.stop());
        if let Err(error) = self.tasks.join(STOP_TIMEOUT).await {
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

/// Creates and locks the data folder, and with `fresh` deletes the data of earlier starts.
fn prepare(folder: &Path, fresh: bool) -> anyhow::Result<File> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the data folder {}", folder.display()))?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another `orchid dev` uses {}: stop it, or choose another folder with --data",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the data folder"),
    }
    if fresh {
        PostgresServer::wipe(folder)?;
        for name in ["secrets.json", "dev.json", "upstream.address"] {
            // A folder that was never used has no such file.
            let _ = fs::remove_file(folder.join(name));
        }
        let _ = fs::remove_dir_all(folder.join("logs"));
    }
    fs::create_dir_all(folder.join("logs"))?;
    Ok(lock)
}

/// Returns the named broker, or starts one in this process.
fn broker(named: Option<&str>) -> anyhow::Result<(KafkaState, Option<MockBroker>)> {
    let mut kafka = KafkaState {
        brokers: String::new(),
        topic_responses: "api-responses".to_owned(),
        topic_errors: "api-errors".to_owned(),
        topic_events: "execution-events".to_owned(),
    };
    let built_in = match named {
        Some(_) => None,
        None => Some(MockBroker::start(&kafka)?),
    };
    kafka.brokers = built_in.as_ref().map(MockBroker::brokers).or(named).unwrap_or_default().to_owned();
    Ok((kafka, built_in))
}

/// Returns the address to listen on: the preferred port, or a free one if it is taken.
fn listen_address(port: u16, console: Console) -> anyhow::Result<String> {
    if TcpListener::bind(("127.0.0.1", port)).is_ok() {
        return Ok(format!("127.0.0.1:{port}"));
    }
    let free = orchid_kit::servers::free_port()?;
    console.notice(format!("port {port} is taken: the control plane uses {free} instead"));
    Ok(format!("127.0.0.1:{free}"))
}

async fn create_tenant(grpc: &str, secrets: &DevSecrets) -> anyhow::Result<()> {
    let client = Client::connect(grpc, Credentials::Development { tenant: None }).await?;
    let request = CreateTenantRequest {
        id: secrets.tenant.to_string(),
        display_name: "Development".to_owned(),
        pool: child_settings::POOL.to_owned(),
        ..CreateTenantRequest::default()
    };
    match client.tenants().create_tenant(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(orchid_sdk::Error::from(status)).context("cannot create the development tenant"),
    }
}

/// Returns the values of `${NAME}` in applied files.
fn variables(upstream: &str, secrets: &DevSecrets) -> BTreeMap<String, String> {
    [("UPSTREAM_URL", upstream.to_owned()), ("UPSTREAM_API_KEY", secrets.upstream_key.clone())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}
