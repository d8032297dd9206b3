//! The tries of one run: what the engine asks of them and waits to be done, those under way, and the bodies that are still
//! to be read.
//!
//! In: requests, and asks for the next piece of a body. Out: what came of each, in the order in which they end. Which of
//! them may be on their way at once is the engine's to say; when the next is begun is the run's. A body is read no further
//! than it was asked for.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use orchid_engine::{Input, Request, TryId};
use tracing::Instrument as _;
use tracing::Span;
use tracing::field::Empty;

use crate::fetch::{Agent, Answer, Body, Fetched};
use crate::worker::Lease;

/// Asks held and under way. Dropping it drops them all.
#[derive(Default)]
pub(crate) struct Tries {
    asked: VecDeque<Ask>,
    under_way: FuturesUnordered<BoxFuture<'static, Result<(TryId, Ended), Aborted>>>,
    /// Stops what is under way.
    stops: HashMap<TryId, AbortHandle>,
    /// Bodies between two asks.
    open: HashMap<TryId, (Body, Span)>,
}

enum Ask {
    Fetch(TryId, Box<Request>),
    Read(TryId),
}

/// What came, and what is left of it.
struct Ended {
    input: Input,
    body: Option<(Body, Span)>,
}

impl Tries {
    /// Takes a request in, to be sent later.
    pub(crate) fn fetch(&mut self, try_id: TryId, request: Request) {
        self.asked.push_back(Ask::Fetch(try_id, Box::new(request)));
    }

    /// Takes the ask for a body's next piece in, to be read later.
    pub(crate) fn read(&mut self, try_id: TryId) {
        self.asked.push_back(Ask::Read(try_id));
    }

    /// Gives a try up, wherever it is: nothing more comes of it.
    pub(crate) fn discard(&mut self, discarded: TryId) {
        self.asked.retain(|ask| match ask {
            Ask::Fetch(try_id, _) | Ask::Read(try_id) => *try_id != discarded,
        });
        self.open.remove(&discarded);
        if let Some(stop) = self.stops.remove(&discarded) {
            stop.abort();
        }
    }

    /// Begins the oldest ask that is held; answers whether there was one.
    pub(crate) fn start_next(&mut self, agent: &Agent, lease: &Lease) -> bool {
        match self.asked.pop_front() {
            Some(Ask::Fetch(try_id, request)) => {
                lease.requested(request.method, without_query(&request.url));
                self.start(try_id, fetch(agent.clone(), try_id, *request));
            }
            Some(Ask::Read(try_id)) => {
                // What is no longer open has ended, and its end was told.
                if let Some((body, span)) = self.open.remove(&try_id) {
                    self.start(try_id, read(try_id, body, span));
                }
            }
            None => return false,
        }
        true
    }

    /// Waits for the next thing to come; for ever while nothing is under way. Cancel safe.
    pub(crate) async fn ended(&mut self) -> Input {
        loop {
            match self.under_way.next().await {
                Some(Ok((try_id, Ended { input, body }))) => {
                    self.stops.remove(&try_id);
                    if let Some(body) = body {
                        self.open.insert(try_id, body);
                    }
                    return input;
                }
                Some(Err(Aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn start(&mut self, try_id: TryId, work: impl Future<Output = Ended> + Send + 'static) {
        let (work, stop) = abortable(async move { (try_id, work.await) });
        self.stops.insert(try_id, stop);
        self.under_way.push(Box::pin(work));
    }
}

async fn fetch(agent: Agent, try_id: TryId, request: Request) -> Ended {
    let span = tracing::info_span!(
        target: orchid_kit::telemetry::EXPORT_ONLY_SPANS,
        "try",
        http.request.method = request.method,
        url.full = &*without_query(&request.url),
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    let Fetched { result, duration } = agent.fetch(request).instrument(span.clone()).await;
    match &result {
        Ok(Answer::Whole(response) | Answer::Head(response, _)) => {
            span.record("http.response.status_code", response.status);
        }
        Err(error) => {
            span.record("error.type", error.kind.code());
        }
    }
    match result {
        Ok(Answer::Whole(response)) => answered(try_id, Ok(response), duration),
        Ok(Answer::Head(response, body)) => {
            Ended { input: Input::ResponseHead { try_id, response, duration }, body: Some((body, span)) }
        }
        Err(error) => answered(try_id, Err(error), duration),
    }
}

fn answered(
    try_id: TryId,
    result: Result<orchid_engine::Response, orchid_engine::FetchError>,
    duration: Duration,
) -> Ended {
    Ended { input: Input::Response { try_id, result, duration }, body: None }
}

async fn read(try_id: TryId, mut body: Body, span: Span) -> Ended {
    let piece = body.next().instrument(span.clone()).await;
    let duration = body.elapsed();
    if let Err(error) = &piece {
        span.record("error.type", error.kind.code());
    }
    let is_open = matches!(piece, Ok(Some(_)));
    Ended { input: Input::BodyPiece { try_id, piece, duration }, body: is_open.then_some((body, span)) }
}

/// Scheme, host and path: a query may hold credentials.
fn without_query(url: &url::Url) -> Cow<'_, str> {
    let text = url.as_str();
    let end = text.find(['?', '#']).unwrap_or(text.len());
    match text[..end].split_once('@') {
        Some((before, after)) if !url.username().is_empty() || url.password().is_some() => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            Cow::Owned(format!("{scheme}://{after}"))
        }
        Some(_) | None => Cow::Borrowed(&text[..end]),
    }
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
    use crate::beat::Fence;
    use crate::fetch::{AddressGuard, Fetcher, Transport};
    use crate::worker::Leases;

    /// What a run has: a user agent, a lease, its tries; and an upstream whose connections the test holds.
    struct Stand {
        agent: Agent,
        lease: Lease,
        tries: Tries,
        upstream: TcpListener,
    }

    impl Stand {
        async fn new() -> Stand {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let fence = Arc::new(Fence::new());
            fence.accepted(Instant::now(), Duration::ZERO, Duration::from_secs(600));
            let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
            let leases = Arc::new(Leases::default());
            let session = Uuid::from_u128(1);
            leases.begin_session(session);
            let seq = leases.begin_acquire(session).unwrap();
            let lease = leases.settle_acquire(session, seq, [(Uuid::from_u128(2), Bytes::new())]).pop();
            Stand {
                agent: Fetcher::new(guard, fence).unwrap().agent(&Transport::default()).unwrap(),
                lease: lease.unwrap(),
                tries: Tries::default(),
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
                max_stream_bytes: 1 << 20,
                redirects: RedirectPolicy::new(HostPolicy::SameAs(url)),
                decompress: orchid_plan::Decompression::Auto,
                streaming: BodyStreaming::Always,
            };
            self.tries.fetch(TryId(try_id), request);
        }

        fn start(&mut self) -> bool {
            self.tries.start_next(&self.agent, &self.lease)
        }

        /// Waits for what comes next while the upstream answers the request on a new connection.
        async fn answered(&mut self, answer: &str) -> (Input, TcpStream) {
            let upstream = &self.upstream;
            tokio::join!(self.tries.ended(), async {
                let (mut socket, _) = upstream.accept().await.unwrap();
                assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
                socket.write_all(answer.as_bytes()).await.unwrap();
                socket
            })
        }
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_body_is_read_one_piece_an_ask_until_its_end_is_told_once() {
        let mut stand = Stand::new().await;
        stand.fetch(7);
        assert!(stand.start() && !stand.start());
        let (head, mut socket) = stand.answered(HEAD).await;
        assert!(
            matches!(&head, Input::ResponseHead { try_id: TryId(7), response, .. } if response.status == 200)
        );
        assert!(stand.tries.ended().now_or_never().is_none(), "nothing comes unasked");
        for text in ["one", "two"] {
            socket.write_all(text.as_bytes()).await.unwrap();
            stand.tries.read(TryId(7));
            assert!(stand.start());
            let piece = stand.tries.ended().await;
            assert!(
                matches!(&piece, Input::BodyPiece { piece: Ok(Some(bytes)), .. } if bytes == text),
                "{piece:?}"
            );
        }
        drop(socket);
        stand.tries.read(TryId(7));
        assert!(stand.start());
        assert!(matches!(
            stand.tries.ended().await,
            Input::BodyPiece { try_id: TryId(7), piece: Ok(None), .. }
        ));
        stand.tries.read(TryId(7));
        assert!(stand.start());
        assert!(stand.tries.ended().now_or_never().is_none(), "it has ended");
    }

    #[tokio::test]
    async fn a_discarded_try_is_given_up_wherever_it_is() {
        let mut stand = Stand::new().await;
        stand.fetch(1);
        stand.tries.discard(TryId(1));
        assert!(!stand.start(), "it was not sent yet");

        stand.fetch(2);
        assert!(stand.start());
        let (_, mut socket) = stand.answered(HEAD).await;
        stand.tries.read(TryId(2));
        stand.tries.discard(TryId(2));
        assert!(!stand.start(), "nothing is left to read");
        assert_eq!(socket.read(&mut [0; 16]).await.unwrap_or(0), 0, "the connection is let go");

        stand.fetch(3);
        assert!(stand.start());
        let (_, mut socket) = stand.answered(HEAD).await;
        stand.tries.read(TryId(3));
        assert!(stand.start());
        assert!(stand.tries.ended().now_or_never().is_none());
        stand.tries.discard(TryId(3));
        assert!(stand.tries.ended().now_or_never().is_none(), "nothing comes of it");
        assert_eq!(socket.read(&mut [0; 16]).await.unwrap_or(0), 0, "the connection is let go");
        assert!(stand.tries.stops.is_empty() && stand.tries.open.is_empty());
    }

    #[tokio::test]
    async fn asks_are_begun_in_their_order() {
        let mut stand = Stand::new().await;
        stand.fetch(1);
        assert!(stand.start());
        let (_, mut socket) = stand.answered(HEAD).await;
        socket.write_all(b"row").await.unwrap();
        stand.tries.read(TryId(1));
        stand.fetch(2);
        assert!(stand.start());
        assert!(matches!(stand.tries.ended().await, Input::BodyPiece { try_id: TryId(1), .. }));
        assert!(stand.start() && !stand.start());
        let (head, _) = stand.answered(HEAD).await;
        assert!(matches!(head, Input::ResponseHead { try_id: TryId(2), .. }));
    }

    #[test]
    fn the_last_request_shows_no_credentials() {
        let cases = [
            ("https://a.test/x?key=k#f", "https://a.test/x"),
            ("https://u:p@a.test/x@y", "https://a.test/x@y"),
            ("https://a.test/x@y", "https://a.test/x@y"),
        ];
        for (url, shown) in cases {
            assert_eq!(without_query(&url.parse().unwrap()), shown);
        }
    }
}
