//! The HTTP tries of one attempt: queued, in flight, and with bodies still to be read.
//!
//! The engine decides which tries exist and asks for each further piece of a body. The attempt loop
//! decides when the next queued step starts. Results come in the order in which they are ready. A
//! body is never read further than the engine asked for.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use orchid_engine::{FetchError, Input, Request, Response, TryId};
use tracing::Instrument as _;
use tracing::Span;
use tracing::field::Empty;

use crate::fetch::{BodyReader, FetchAgent, FetchOutcome, FetchedResponse};
use crate::lease::LeaseHandle;

/// All tries of an attempt. Dropping it aborts them.
#[derive(Default)]
pub(crate) struct RequestSet {
    queued: VecDeque<QueuedStep>,
    in_flight: FuturesUnordered<BoxFuture<'static, Result<(TryId, StepResult), Aborted>>>,
    /// Aborts the steps in flight.
    abort_handles: HashMap<TryId, AbortHandle>,
    /// Bodies between two reads.
    open_bodies: HashMap<TryId, (BodyReader, Span)>,
}

/// A step that the engine asked for and that has not started.
enum QueuedStep {
    Fetch(TryId, Box<Request>),
    Read(TryId),
}

/// The result of a step, and the body if there is more to read.
struct StepResult {
    input: Input,
    body: Option<(BodyReader, Span)>,
}

impl RequestSet {
    /// Queues a request.
    pub(crate) fn queue_fetch(&mut self, try_id: TryId, request: Request) {
        self.queued.push_back(QueuedStep::Fetch(try_id, Box::new(request)));
    }

    /// Queues a read of a body's next piece.
    pub(crate) fn queue_read(&mut self, try_id: TryId) {
        self.queued.push_back(QueuedStep::Read(try_id));
    }

    /// Aborts a try, wherever it is. No result of it follows.
    pub(crate) fn discard(&mut self, discarded: TryId) {
        self.queued.retain(|step| match step {
            QueuedStep::Fetch(try_id, _) | QueuedStep::Read(try_id) => *try_id != discarded,
        });
        self.open_bodies.remove(&discarded);
        // The aborted future stays in `in_flight` until polled, and then yields `Aborted`.
        if let Some(handle) = self.abort_handles.remove(&discarded) {
            handle.abort();
        }
    }

    /// Starts the oldest queued step. Returns whether there was one.
    pub(crate) fn start_next(&mut self, agent: &FetchAgent, lease: &LeaseHandle) -> bool {
        match self.queued.pop_front() {
            Some(QueuedStep::Fetch(try_id, request)) => {
                lease.record_request(request.method, &request.label);
                self.start(try_id, fetch(agent.clone(), try_id, *request));
            }
            Some(QueuedStep::Read(try_id)) => {
                // A body that is not open has ended, and the engine has received its end.
                if let Some((body, span)) = self.open_bodies.remove(&try_id) {
                    self.start(try_id, read(try_id, body, span));
                }
            }
            None => return false,
        }
        true
    }

    /// Waits for the next result; for ever while nothing is in flight. Cancel safe.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            match self.in_flight.next().await {
                Some(Ok((try_id, StepResult { input, body }))) => {
                    self.abort_handles.remove(&try_id);
                    if let Some(body) = body {
                        self.open_bodies.insert(try_id, body);
                    }
                    return input;
                }
                // Discarded: the engine expects nothing.
                Some(Err(Aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn start(&mut self, try_id: TryId, step: impl Future<Output = StepResult> + Send + 'static) {
        let (step, handle) = abortable(async move { (try_id, step.await) });
        self.abort_handles.insert(try_id, handle);
        self.in_flight.push(Box::pin(step));
    }
}

async fn fetch(agent: FetchAgent, try_id: TryId, request: Request) -> StepResult {
    let span = tracing::info_span!(
        target: orchid_kit::telemetry::EXPORT_ONLY_SPANS,
        "try",
        http.request.method = request.method,
        url.full = request.label,
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    let FetchOutcome { result, duration } = agent.fetch(request).instrument(span.clone()).await;
    match &result {
        Ok(FetchedResponse::Whole(response) | FetchedResponse::Streaming(response, _)) => {
            span.record("http.response.status_code", response.status);
        }
        Err(error) => {
            span.record("error.type", error.kind.code());
        }
    }
    match result {
        Ok(FetchedResponse::Whole(response)) => whole_result(try_id, Ok(response), duration),
        Ok(FetchedResponse::Streaming(response, body)) => {
            StepResult { input: Input::ResponseHead { try_id, response, duration }, body: Some((body, span)) }
        }
        Err(error) => whole_result(try_id, Err(error), duration),
    }
}

fn whole_result(try_id: TryId, result: Result<Response, FetchError>, duration: Duration) -> StepResult {
    StepResult { input: Input::Response { try_id, result, duration }, body: None }
}

async fn read(try_id: TryId, mut body: BodyReader, span: Span) -> StepResult {
    let piece = body.next().instrument(span.clone()).await;
    let duration = body.elapsed();
    if let Err(error) = &piece {
        span.record("error.type", error.kind.code());
    }
    let has_more = matches!(piece, Ok(Some(_)));
    StepResult { input: Input::BodyPiece { try_id, piece, duration }, body: has_more.then_some((body, span)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use orchid_engine::{BodyStreaming, HostPolicy, RedirectPolicy};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::fetch::{AddressGuard, Fetcher, Transport};
    use crate::lease::{LeaseRegistry, SelfFence};
    use crate::memory::MemoryBudget;

    /// The parts of an attempt that requests need, and an upstream whose connections the test
    /// holds.
    struct TestHarness {
        agent: FetchAgent,
        lease: LeaseHandle,
        requests: RequestSet,
        upstream: TcpListener,
    }

    impl TestHarness {
        async fn new() -> Self {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let fence = Arc::new(SelfFence::new());
            fence.extend(Instant::now(), Duration::ZERO, Duration::from_secs(600));
            let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
            let leases = Arc::new(LeaseRegistry::default());
            let session = Uuid::from_u128(1);
            leases.begin_session(session);
            let seq = leases.begin_acquire(session).unwrap();
            let lease = leases.resolve_acquire(session, seq, [(Uuid::from_u128(2), Bytes::new())]).pop();
            Self {
                agent: Fetcher::new(guard, fence, MemoryBudget::new(64 << 20))
                    .unwrap()
                    .agent(&Transport::default())
                    .unwrap(),
                lease: lease.unwrap(),
                requests: RequestSet::default(),
                upstream: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            }
        }

        fn fetch(&mut self, try_id: u64) {
            let url: url::Url = format!("http://{}/", self.upstream.local_addr().unwrap()).parse().unwrap();
            let request = Request {
                method: "GET",
                url: url.clone(),
                headers: Vec::new(),
                body: None,
                timeout: Duration::from_secs(10),
                max_body_bytes: 1 << 20,
                label: String::new(),
                max_stream_bytes: 1 << 20,
                redirects: RedirectPolicy::new(HostPolicy::SameAs(url)),
                decompress: orchid_plan::Decompression::Auto,
                archive_files: None,
                streaming: BodyStreaming::Always,
            };
            self.requests.queue_fetch(TryId(try_id), request);
        }

        fn start(&mut self) -> bool {
            self.requests.start_next(&self.agent, &self.lease)
        }

        /// Waits for the next result while the upstream sends `response` on a new connection.
        async fn respond(&mut self, response: &str) -> (Input, TcpStream) {
            let upstream = &self.upstream;
            tokio::join!(self.requests.next(), async {
                let (mut socket, _) = upstream.accept().await.unwrap();
                assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
                socket.write_all(response.as_bytes()).await.unwrap();
                socket
            })
        }
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn body_is_read_one_piece_per_request_of_the_engine() {
        let mut harness = TestHarness::new().await;
        harness.fetch(7);
        assert!(harness.start() && !harness.start());
        let (head, mut socket) = harness.respond(HEAD).await;
        assert!(
            matches!(&head, Input::ResponseHead { try_id: TryId(7), response, .. } if response.status == 200)
        );
        assert!(harness.requests.next().now_or_never().is_none(), "nothing is read unasked");
        for text in ["one", "two"] {
            socket.write_all(text.as_bytes()).await.unwrap();
            harness.requests.queue_read(TryId(7));
            assert!(harness.start());
            let piece = harness.requests.next().await;
            assert!(
                matches!(&piece, Input::BodyPiece { piece: Ok(Some(piece)), .. } if piece.bytes == text),
                "{piece:?}"
            );
        }
        drop(socket);
        harness.requests.queue_read(TryId(7));
        assert!(harness.start());
        assert!(matches!(
            harness.requests.next().await,
            Input::BodyPiece { try_id: TryId(7), piece: Ok(None), .. }
        ));
        harness.requests.queue_read(TryId(7));
        assert!(harness.start());
        assert!(harness.requests.next().now_or_never().is_none(), "it has ended");
    }

    #[tokio::test]
    async fn discarded_try_is_aborted_in_every_state() {
        let mut harness = TestHarness::new().await;
        harness.fetch(1);
        harness.requests.discard(TryId(1));
        assert!(!harness.start(), "it was only queued");

        harness.fetch(2);
        assert!(harness.start());
        let (_, mut socket) = harness.respond(HEAD).await;
        harness.requests.queue_read(TryId(2));
        harness.requests.discard(TryId(2));
        assert!(!harness.start(), "nothing is left to read");
        assert_eq!(socket.read(&mut [0; 16]).await.unwrap_or(0), 0, "the connection is closed");

        harness.fetch(3);
        assert!(harness.start());
        let (_, mut socket) = harness.respond(HEAD).await;
        harness.requests.queue_read(TryId(3));
        assert!(harness.start());
        assert!(harness.requests.next().now_or_never().is_none());
        harness.requests.discard(TryId(3));
        assert!(harness.requests.next().now_or_never().is_none(), "no result follows");
        assert_eq!(socket.read(&mut [0; 16]).await.unwrap_or(0), 0, "the connection is closed");
        assert!(harness.requests.abort_handles.is_empty() && harness.requests.open_bodies.is_empty());
    }

    #[tokio::test]
    async fn queued_steps_start_in_order() {
        let mut harness = TestHarness::new().await;
        harness.fetch(1);
        assert!(harness.start());
        let (_, mut socket) = harness.respond(HEAD).await;
        socket.write_all(b"row").await.unwrap();
        harness.requests.queue_read(TryId(1));
        harness.fetch(2);
        assert!(harness.start());
        assert!(matches!(harness.requests.next().await, Input::BodyPiece { try_id: TryId(1), .. }));
        assert!(harness.start() && !harness.start());
        let (head, _) = harness.respond(HEAD).await;
        assert!(matches!(head, Input::ResponseHead { try_id: TryId(2), .. }));
    }
}
