//! The composition root: builds every part from its settings, starts their tasks, and ends them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use orchid_kit::tasks::TaskGroup;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::announce::{AnnounceLoop, Announcer, announcer};
use crate::beat::{Beat, BeatSignals, BeatThread, Fence};
use crate::control::{Replicas, SessionCell};
use crate::drive::Parts;
use crate::fetch::Fetcher;
use crate::health::{self, Health};
use crate::intake::{Asker, Doorbell, Pulse, Registrar, ask_any};
use crate::plans::Plans;
use crate::report::{ReportLoop, reporter};
use crate::settings::{ExecutorSettings, Settings};
use crate::sink::{Sink, create_topics};
use crate::worker::{Leases, Slots, Start, work};

/// Runs may end by themselves for a quarter of the drain time; then they are handed back.
const FINISH_SHARE: u32 = 4;
/// A sixth of the drain time, and no more than this, is kept for the last beat and events.
const LAST_WORDS_SHARE: u32 = 6;
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Between two of the last beats.
const BEAT_PAUSE: Duration = Duration::from_millis(100);

/// A running executor.
pub struct App {
    address: SocketAddr,
    executor: Arc<ExecutorSettings>,
    /// Stops intake: no lease is asked for any more.
    intake: TaskGroup,
    /// Everything that must outlive the runs.
    services: TaskGroup,
    runs: JoinHandle<()>,
    hand_back: CancellationToken,
    draining: CancellationToken,
    beat: BeatThread,
    signals: Arc<BeatSignals>,
    announcer: Announcer,
    leases: Arc<Leases>,
    sink: Sink,
}

/// What several parts share while they are built.
struct Shared {
    replicas: Arc<Replicas>,
    session: SessionCell,
    leases: Arc<Leases>,
    slots: Slots,
    fence: Arc<Fence>,
    pulse: Pulse,
    sink: Sink,
    announcer: Announcer,
}

impl App {
    /// Builds and starts everything. Answers once the health port listens; joining the fleet goes on in the background.
    pub async fn start(settings: Settings) -> anyhow::Result<App> {
        let Settings { control_plane, executor, redis_url, kafka, fetch, listen, telemetry: _ } = settings;
        if kafka.create_topics
            && let Err(error) = create_topics(&kafka).await
        {
            tracing::warn!(%error, "topics not made");
        }
        let executor = Arc::new(executor);
        let fence = Arc::new(Fence::new());
        let sink = Sink::new(&kafka).context("kafka producer")?;
        let (announcer, announce_loop) = announcer(sink.clone(), Arc::clone(&fence));
        let shared = Shared {
            replicas: Arc::new(Replicas::new(&control_plane, rand::random_range(0..1024))?),
            session: SessionCell::default(),
            leases: Arc::new(Leases::default()),
            slots: Slots::new(executor.slots),
            fence,
            pulse: Pulse::new(),
            sink,
            announcer,
        };
        let hand_back = CancellationToken::new();
        let (reporter, report_loop) =
            reporter(Arc::clone(&shared.replicas), shared.session.clone(), shared.announcer.clone());
        let parts = Arc::new(Parts {
            fetcher: Fetcher::new(fetch.guard(), Arc::clone(&shared.fence)).context("http client")?,
            sink: shared.sink.clone(),
            reporter,
            replicas: Arc::clone(&shared.replicas),
            plans: Plans::default(),
            fence: Arc::clone(&shared.fence),
            sink_timeout: kafka.sink_timeout,
            message_max_bytes: kafka.message_max_bytes,
            hand_back: hand_back.clone(),
        });
        let signals = Arc::new(BeatSignals::default());
        let beat = BeatThread::start(shared.beat(control_plane, Arc::clone(&signals)))?;
        let draining = CancellationToken::new();
        let (services, address) =
            shared.start_services(listen, report_loop, announce_loop, &executor, draining.clone()).await?;
        let doorbell = redis::Client::open(redis_url.expose()).context("redis.url")?;
        let (intake, starts) = shared.start_intake(doorbell, Arc::clone(&parts));
        #[expect(
            clippy::disallowed_methods,
            reason = "owned here: joined by `stop`, aborted at its deadline"
        )]
        let runs = tokio::spawn(work(starts, parts));
        let Shared { announcer, leases, sink, .. } = shared;
        Ok(App {
            address,
            executor,
            intake,
            services,
            runs,
            hand_back,
            draining,
            beat,
            signals,
            announcer,
            leases,
            sink,
        })
    }

    /// Address of the health port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the executor should stop by itself: the control plane asked for a drain, or a part broke.
    pub async fn ended(&mut self) {
        tokio::select! {
            () = self.signals.drain_asked.cancelled() => tracing::info!("the control plane asks for a drain"),
            () = self.sink.broken() => tracing::error!("the kafka producer cannot go on: a new process is needed"),
            ended = self.intake.next_ended() => tracing::error!(?ended, "part of the intake ended"),
            ended = self.services.next_ended() => tracing::error!(?ended, "service ended"),
        }
    }

    /// Drains: takes no more, lets runs end for a while, hands the others back at their last checkpoint, and stops.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let drain = self.executor.drain;
        self.draining.cancel();
        self.signals.drain();
        tracing::info!(running = self.leases.len(), drain_ms = drain.as_millis(), "draining");
        let words = LAST_WORDS.min(drain / LAST_WORDS_SHARE);
        let intake = self.intake.join(LAST_WORDS).await;
        let finished = timeout_at(begun + drain / FINISH_SHARE, &mut self.runs).await.is_ok();
        if !finished {
            self.hand_back.cancel();
            let deadline = begun + (drain - words);
            if timeout_at(deadline, &mut self.runs).await.is_err() {
                tracing::error!(running = self.leases.len(), "runs not handed back in time");
                self.runs.abort();
            }
        }
        self.signals.now();
        last_words(&self.announcer, &self.signals, Instant::now() + words).await;
        self.beat.stop().await;
        let services = self.services.join(LAST_WORDS).await;
        let sink = self.sink;
        let flushed = tokio::task::spawn_blocking(move || sink.flush(LAST_WORDS)).await;
        tracing::info!(took_ms = begun.elapsed().as_millis(), "drained");
        intake?;
        services?;
        flushed??;
        Ok(())
    }
}

/// Waits for the last beat, and for terminal events to reach Kafka and be confirmed.
async fn last_words(announcer: &Announcer, signals: &BeatSignals, deadline: Instant) {
    loop {
        tokio::time::sleep(BEAT_PAUSE).await;
        if announcer.is_idle() || Instant::now() + BEAT_PAUSE > deadline {
            return;
        }
        signals.now();
    }
}

impl Shared {
    fn beat(&self, control_plane: crate::settings::ControlPlaneSettings, signals: Arc<BeatSignals>) -> Beat {
        Beat {
            control_plane,
            session: self.session.clone(),
            leases: Arc::clone(&self.leases),
            slots: self.slots.clone(),
            pulse: self.pulse.clone(),
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
        announcements: AnnounceLoop,
        executor: &Arc<ExecutorSettings>,
        draining: CancellationToken,
    ) -> anyhow::Result<(TaskGroup, SocketAddr)> {
        let (listener, address) = health::listen(listen).await.with_context(|| format!("listen {listen}"))?;
        let mut tasks = TaskGroup::new();
        let stop = tasks.stop_token();
        tasks.start("reports", reports.serve());
        tasks.start("announcements", announcements.serve(stop.clone()));
        let registrar = Registrar {
            replicas: Arc::clone(&self.replicas),
            session: self.session.clone(),
            leases: Arc::clone(&self.leases),
            fence: Arc::clone(&self.fence),
            executor: Arc::clone(executor),
            stop: stop.clone(),
        };
        tasks.start("registrar", registrar.serve());
        let health = Health {
            session: self.session.clone(),
            fence: Arc::clone(&self.fence),
            pulse: self.pulse.clone(),
            draining,
        };
        tasks.start("health", health.serve(listener, stop));
        Ok((tasks, address))
    }

    fn start_intake(&self, redis: redis::Client, parts: Arc<Parts>) -> (TaskGroup, mpsc::Receiver<Start>) {
        let mut tasks = TaskGroup::new();
        let stop = tasks.stop_token();
        let (starts, started) = mpsc::channel(self.slots.total());
        let (rings, doorbell_rings) = watch::channel(true);
        let asker = Asker {
            replicas: Arc::clone(&self.replicas),
            session: self.session.clone(),
            leases: Arc::clone(&self.leases),
            parts,
            starts,
            pulse: self.pulse.clone(),
            stop: stop.clone(),
        };
        let doorbell = Doorbell {
            client: redis,
            asker: asker.clone(),
            session: self.session.clone(),
            slots: self.slots.clone(),
            pulse: self.pulse.clone(),
            rings,
            stop: stop.clone(),
        };
        tasks.start("doorbell", doorbell.serve());
        let any = ask_any(asker, self.session.clone(), self.slots.clone(), doorbell_rings, stop);
        tasks.start("ask-any", any);
        (tasks, started)
    }
}
