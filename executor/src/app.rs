//! The composition root: builds every part from its settings, starts their tasks, and stops them in
//! order.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context as _;
use orchid_kit::tasks::TaskGroup;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::announce::{AnnouncementLoop, Announcer, announcer};
use crate::control::{ControlPlaneClient, CurrentSession};
use crate::fetch::Fetcher;
use crate::health::{self, HealthService};
use crate::heartbeat::{HeartbeatSender, HeartbeatSignals, HeartbeatThread};
use crate::intake::{DoorbellListener, LeaseRequester, SessionRegistrar, poll_for_work};
use crate::lease::{LeaseRegistry, Liveness, SelfFence, SlotPool};
use crate::memory::MemoryBudget;
use crate::metrics;
use crate::plan_cache::PlanCache;
use crate::report::{ReportLoop, reporter};
use crate::runner::{RunnerServices, SlowLane};
use crate::settings::{ControlPlaneSettings, ExecutorSettings, Settings};
use crate::sink::{MessageSink, create_topics};
use crate::worker::{AttemptStart, run_attempts};

/// Attempts may end by themselves for one quarter of the drain time. Then they are handed back.
const FINISH_SHARE: u32 = 4;
/// One sixth of the drain time, at most [`FINAL_TIME`], is reserved for the last heartbeats.
const FINAL_SHARE: u32 = 6;
/// Time limit for each of the last steps of a drain.
const FINAL_TIME: Duration = Duration::from_secs(2);
/// Pause between two of the last heartbeats.
const FINAL_HEARTBEAT_PAUSE: Duration = Duration::from_millis(100);

/// A running executor.
pub struct App {
    address: SocketAddr,
    executor: Arc<ExecutorSettings>,
    /// Tasks that acquire leases. They stop first.
    intake: TaskGroup,
    /// Tasks that must outlive the attempts.
    services: TaskGroup,
    worker: JoinHandle<()>,
    hand_back: CancellationToken,
    draining: CancellationToken,
    heartbeat: HeartbeatThread,
    signals: Arc<HeartbeatSignals>,
    announcer: Announcer,
    leases: Arc<LeaseRegistry>,
    sink: MessageSink,
}

/// Parts that several other parts are built from.
struct SharedParts {
    control: Arc<ControlPlaneClient>,
    session: CurrentSession,
    leases: Arc<LeaseRegistry>,
    slots: SlotPool,
    fence: Arc<SelfFence>,
    liveness: Liveness,
    plans: Arc<PlanCache>,
    sink: MessageSink,
    announcer: Announcer,
}

impl App {
    /// Builds and starts all parts. Returns once the health port listens; the registration
    /// continues in the background.
    ///
    /// # Errors
    ///
    /// Fails when a client, the heartbeat thread or the health port cannot be created.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let Settings { control_plane, executor, redis_url, kafka, fetch, memory, listen, telemetry: _ } =
            settings;
        if kafka.create_topics
            && let Err(error) = create_topics(&kafka).await
        {
            tracing::warn!(%error, "topics not created");
        }
        let executor = Arc::new(executor);
        let memory = MemoryBudget::new(memory.max_bytes);
        metrics::observe_memory(&memory);
        let fence = Arc::new(SelfFence::new());
        let sink = MessageSink::new(&kafka).context("cannot create the kafka producer")?;
        let (announcer, announcement_loop) = announcer(sink.clone(), Arc::clone(&fence));
        let shared = SharedParts {
            control: Arc::new(ControlPlaneClient::new(&control_plane, rand::random_range(0..1024))?),
            session: CurrentSession::default(),
            leases: Arc::new(LeaseRegistry::default()),
            slots: SlotPool::new(executor.slots),
            fence,
            liveness: Liveness::new(),
            plans: Arc::new(PlanCache::default()),
            sink,
            announcer,
        };
        let hand_back = CancellationToken::new();
        let (reporter, report_loop) =
            reporter(Arc::clone(&shared.control), shared.session.clone(), shared.announcer.clone());
        // Building order follows the dependencies: what attempts use, then the heartbeat, and the
        // intake last, so that no lease is acquired before heartbeats can list it.
        let runner_services = Arc::new(RunnerServices {
            fetcher: Fetcher::new(fetch.guard(), Arc::clone(&shared.fence), memory)
                .context("cannot create the http client")?,
            sink: shared.sink.clone(),
            reporter,
            control: Arc::clone(&shared.control),
            plans: Arc::clone(&shared.plans),
            fence: Arc::clone(&shared.fence),
            sink_timeout: kafka.sink_timeout,
            message_max_bytes: kafka.message_max_bytes,
            slow_lane: Arc::new(SlowLane::new(available_parallelism().map_or(1, NonZero::get))),
            hand_back: hand_back.clone(),
        });
        let signals = Arc::new(HeartbeatSignals::default());
        let heartbeat = HeartbeatThread::start(shared.heartbeat(control_plane, Arc::clone(&signals)))?;
        let draining = CancellationToken::new();
        let (services, address) = shared
            .start_services(listen, report_loop, announcement_loop, &executor, draining.clone())
            .await?;
        let redis = redis::Client::open(redis_url.expose()).context("redis.url is invalid")?;
        let (intake, starts) = shared.start_intake(redis);
        #[expect(
            clippy::disallowed_methods,
            reason = "owned here: joined by `stop`, aborted at its deadline"
        )]
        let worker = tokio::spawn(run_attempts(starts, runner_services));
        let SharedParts { announcer, leases, sink, .. } = shared;
        Ok(Self {
            address,
            executor,
            intake,
            services,
            worker,
            hand_back,
            draining,
            heartbeat,
            signals,
            announcer,
            leases,
            sink,
        })
    }

    /// Returns the address of the health port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the executor should stop by itself, because the control plane requests a drain
    /// or a part has failed.
    pub async fn wait_ended(&mut self) {
        tokio::select! {
            () = self.signals.drain_requested.cancelled() => {
                tracing::info!("the control plane requests a drain");
            }
            () = self.sink.wait_broken() => {
                tracing::error!("the kafka producer has failed permanently: the process must be restarted");
            }
            ended = self.intake.next_ended() => tracing::error!(?ended, "an intake task ended"),
            ended = self.services.next_ended() => tracing::error!(?ended, "a service task ended"),
        }
    }

    /// Drains and stops: acquires nothing more, lets attempts end for a while, and hands the others
    /// back at their last checkpoint.
    ///
    /// # Errors
    ///
    /// Fails when a task does not end in time or messages cannot be flushed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let started_at = Instant::now();
        let drain = self.executor.drain;
        self.draining.cancel();
        self.signals.start_draining();
        tracing::info!(running = self.leases.len(), drain_ms = drain.as_millis(), "draining");
        let reserved = FINAL_TIME.min(drain / FINAL_SHARE);
        // Joining the intake drops all senders of the worker's channel, so that the worker can end.
        let intake = self.intake.join(FINAL_TIME).await;
        let has_finished = timeout_at(started_at + drain / FINISH_SHARE, &mut self.worker).await.is_ok();
        if !has_finished {
            self.hand_back.cancel();
            let deadline = started_at + (drain - reserved);
            if timeout_at(deadline, &mut self.worker).await.is_err() {
                tracing::error!(running = self.leases.len(), "attempts aborted: not handed back in time");
                self.worker.abort();
            }
        }
        // From here on heartbeats list no leases, so the control plane queues aborted ones again.
        self.signals.send_now();
        confirm_announcements(&self.announcer, &self.signals, Instant::now() + reserved).await;
        // Only now: until its report has a response, a lease must be listed.
        self.heartbeat.stop().await;
        let services = self.services.join(FINAL_TIME).await;
        let sink = self.sink;
        let flushed = tokio::task::spawn_blocking(move || sink.flush(FINAL_TIME)).await;
        tracing::info!(took_ms = started_at.elapsed().as_millis(), "drained");
        // Errors are returned last, so that one does not skip the remaining steps.
        intake?;
        services?;
        flushed??;
        Ok(())
    }
}

/// Waits for the last heartbeat, and until all announcements are in Kafka and confirmed.
async fn confirm_announcements(announcer: &Announcer, signals: &HeartbeatSignals, deadline: Instant) {
    loop {
        tokio::time::sleep(FINAL_HEARTBEAT_PAUSE).await;
        if announcer.is_idle() || Instant::now() + FINAL_HEARTBEAT_PAUSE > deadline {
            return;
        }
        signals.send_now();
    }
}

impl SharedParts {
    fn heartbeat(
        &self,
        control_plane: ControlPlaneSettings,
        signals: Arc<HeartbeatSignals>,
    ) -> HeartbeatSender {
        HeartbeatSender {
            control_plane,
            session: self.session.clone(),
            leases: Arc::clone(&self.leases),
            slots: self.slots.clone(),
            liveness: self.liveness.clone(),
            announcer: self.announcer.clone(),
            fence: Arc::clone(&self.fence),
            sink: self.sink.clone(),
            signals,
        }
    }

    async fn start_services(
        &self,
        listen: SocketAddr,
        reports: ReportLoop,
        announcements: AnnouncementLoop,
        executor: &Arc<ExecutorSettings>,
        draining: CancellationToken,
    ) -> anyhow::Result<(TaskGroup, SocketAddr)> {
        let (listener, address) =
            health::listen(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let mut tasks = TaskGroup::new();
        let stop = tasks.stop_token();
        tasks.start("reports", reports.serve());
        tasks.start("announcements", announcements.serve(stop.clone()));
        let registrar = SessionRegistrar {
            control: Arc::clone(&self.control),
            session: self.session.clone(),
            leases: Arc::clone(&self.leases),
            fence: Arc::clone(&self.fence),
            executor: Arc::clone(executor),
            stop: stop.clone(),
        };
        tasks.start("registrar", registrar.serve());
        let health = HealthService {
            session: self.session.clone(),
            fence: Arc::clone(&self.fence),
            liveness: self.liveness.clone(),
            draining,
        };
        tasks.start("health", health.serve(listener, stop));
        Ok((tasks, address))
    }

    fn start_intake(&self, redis: redis::Client) -> (TaskGroup, mpsc::Receiver<AttemptStart>) {
        let mut tasks = TaskGroup::new();
        let stop = tasks.stop_token();
        // Each start holds a slot, so a send never waits.
        let (starts, started) = mpsc::channel(self.slots.total());
        let (works, doorbell_works) = watch::channel(true);
        let requester = LeaseRequester {
            control: Arc::clone(&self.control),
            session: self.session.clone(),
            leases: Arc::clone(&self.leases),
            plans: Arc::clone(&self.plans),
            starts,
            liveness: self.liveness.clone(),
            stop: stop.clone(),
        };
        let doorbell = DoorbellListener {
            client: redis,
            requester: requester.clone(),
            session: self.session.clone(),
            slots: self.slots.clone(),
            liveness: self.liveness.clone(),
            works,
            stop: stop.clone(),
        };
        tasks.start("doorbell", doorbell.serve());
        let poll = poll_for_work(requester, self.session.clone(), self.slots.clone(), doorbell_works, stop);
        tasks.start("poll", poll);
        (tasks, started)
    }
}
