//! The baseline: a poller that a careful engineer would write for one API, with reqwest, a serde
//! struct for the cursor, and rdkafka with the executor's settings. It has no plan, no retries, no
//! checkpoint and no lease; the message is the unchanged body.
//!
//! It runs as its own process (this binary in another role), on the core where the executor is
//! measured.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::{harness, machine};

/// The first argument of a baseline process.
pub(crate) const ROLE: &str = "play-the-hand-written-poller";
/// The bound on messages in flight; the same as the executor's.
const MAX_IN_FLIGHT: usize = 128;

/// A running hand-written poller; killed when dropped.
pub(crate) struct BaselinePoller {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl BaselinePoller {
    pub(crate) fn start(upstream: &str, brokers: &str, topic: &str) -> BaselinePoller {
        let mut command = machine::pinned(machine::MEASURED_CORE);
        let own = std::env::current_exe().expect("its own file");
        command.extend([own.display().to_string(), ROLE.to_owned(), upstream.to_owned()]);
        command.extend([brokers.to_owned(), topic.to_owned()]);
        let mut child = Command::new(command.remove(0))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        BaselinePoller { child, output }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Polls `pages` pages of a size in each of `loops` concurrent loops.
    pub(crate) fn run(&mut self, size: usize, pages: u64, loops: usize) {
        let input = self.child.stdin.as_mut().expect("a pipe");
        writeln!(input, "{size} {pages} {loops}").expect("it listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        assert_eq!(line, "done\n");
    }
}

impl Drop for BaselinePoller {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the baseline until its input ends.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().expect("upstream, brokers, topic");
    let (upstream, brokers, topic) = (next(), next(), next());
    rustls::crypto::ring::default_provider().install_default().expect("the first one");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let poller = Arc::new(HandwrittenPoller {
        client: reqwest::Client::builder().no_proxy().build().expect("a client"),
        producer: producer(&brokers),
        upstream,
        topic,
    });
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [size, pages, loops] = numbers[..] else { panic!("size, pages, loops: {line}") };
        runtime.block_on(async {
            let mut all = JoinSet::new();
            for number in 0..loops {
                all.spawn(Arc::clone(&poller).poll(format!("run-{number}"), size, pages));
            }
            all.join_all().await;
        });
        poller.producer.flush(Duration::from_secs(60)).expect("everything is acknowledged");
        println!("done");
    }
}

/// The part of a page that the poller reads.
#[derive(Deserialize)]
struct PageCursor {
    next: Option<String>,
    #[serde(default)]
    busy: bool,
    #[serde(default)]
    last: bool,
}

struct HandwrittenPoller {
    client: reqwest::Client,
    producer: ThreadedProducer<DeliveryCallback>,
    upstream: String,
    topic: String,
}

impl HandwrittenPoller {
    /// Runs one loop: polls pages until there is no cursor.
    async fn poll(self: Arc<Self>, key: String, size: u64, pages: u64) {
        let mut context = String::from("0");
        let window = Arc::new(DeliveryWindow::default());
        loop {
            let url = format!("{}/pages?size={size}&pages={pages}&cursor={context}", self.upstream);
            let response = self.client.get(url).send().await.expect("a response");
            let body = response.error_for_status().expect("200").bytes().await.expect("a body");
            let page: PageCursor = serde_json::from_slice(&body).expect("a page");
            assert!(!page.busy);
            window.enter().await;
            let record = BaseRecord::with_opaque_to(&self.topic, Box::new(Arc::clone(&window)))
                .key(&key)
                .payload(body.as_ref());
            self.producer.send(record).map_err(|(error, _)| error).expect("there is room in the queue");
            match page.next {
                Some(next) if !page.last => context = next,
                _ => break,
            }
        }
        window.empty().await;
    }
}

fn producer(brokers: &str) -> ThreadedProducer<DeliveryCallback> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "5000")
        .set("message.max.bytes", harness::MESSAGE_MAX_BYTES.to_string())
        .set("batch.size", (harness::MESSAGE_MAX_BYTES - 8 * 1024).to_string())
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", (64 * 1024).to_string())
        .create_with_context(DeliveryCallback)
        .expect("a producer")
}

/// The messages of one loop that are in flight.
#[derive(Default)]
struct DeliveryWindow {
    in_flight: AtomicUsize,
    changed: Notify,
}

impl DeliveryWindow {
    async fn enter(&self) {
        self.until(MAX_IN_FLIGHT - 1).await;
        self.in_flight.fetch_add(1, Relaxed);
    }

    async fn empty(&self) {
        self.until(0).await;
    }

    async fn until(&self, most: usize) {
        loop {
            let changed = self.changed.notified();
            if self.in_flight.load(Relaxed) <= most {
                return;
            }
            changed.await;
        }
    }
}

struct DeliveryCallback;

impl ClientContext for DeliveryCallback {}

impl ProducerContext for DeliveryCallback {
    type DeliveryOpaque = Box<Arc<DeliveryWindow>>;

    fn delivery(&self, result: &DeliveryResult<'_>, window: Box<Arc<DeliveryWindow>>) {
        if let Err((error, _)) = result {
            panic!("not delivered: {error}");
        }
        window.in_flight.fetch_sub(1, Relaxed);
        window.changed.notify_waiters();
    }
}
