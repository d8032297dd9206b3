//! A scripted HTTP API: a function of the test computes every response, and all requests are
//! recorded.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A recorded request.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// The number of the request, from 0.
    pub number: usize,
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The decoded query; the last value of each name.
    pub query: HashMap<String, String>,
    /// The raw query.
    pub raw_query: String,
    /// The headers, with names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Bytes,
}

/// A scripted response.
#[derive(Debug, Clone)]
pub enum UpstreamReply {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status, headers and a raw body.
    Raw(u16, Vec<(&'static str, String)>, Bytes),
    /// Another reply after a delay.
    After(Duration, Box<UpstreamReply>),
    /// Another reply once the gate has been opened beyond this number.
    Gate(u64, Box<UpstreamReply>),
    /// No response, ever.
    Hang,
    /// A body whose connection breaks in the middle.
    Break,
}

impl UpstreamReply {
    /// Returns a reply with status 200 and a JSON body.
    pub fn ok(body: Value) -> UpstreamReply {
        UpstreamReply::Json(200, body)
    }
}

type RespondFn = dyn Fn(&ReceivedRequest) -> UpstreamReply + Send + Sync;

struct UpstreamState {
    respond: Box<RespondFn>,
    requests: Mutex<Vec<ReceivedRequest>>,
    gate: watch::Sender<u64>,
}

/// A running upstream; stops when dropped.
pub struct FakeUpstream {
    address: SocketAddr,
    shared: Arc<UpstreamState>,
    server: JoinHandle<()>,
}

impl FakeUpstream {
    /// Starts an upstream whose responses a function computes.
    #[expect(clippy::disallowed_methods, reason = "the task ends with its value, by Drop")]
    pub async fn start(
        respond: impl Fn(&ReceivedRequest) -> UpstreamReply + Send + Sync + 'static,
    ) -> FakeUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(UpstreamState {
            respond: Box::new(respond),
            requests: Mutex::new(Vec::new()),
            gate: watch::channel(0).0,
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It ends by being aborted.
            let _ = axum::serve(listener, router).await;
        });
        FakeUpstream { address, shared, server }
    }

    /// Starts an upstream with `pages` pages of `rows` rows under `/orders`, paginated by cursor.
    /// If `gated`, page n waits until the gate has been opened up to n.
    pub async fn orders(pages: u64, rows: u64, gated: bool) -> FakeUpstream {
        FakeUpstream::start(move |request| {
            let page: u64 = request.query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a cursor"));
            let reply = UpstreamReply::ok(order_page(page, pages, rows));
            if gated { UpstreamReply::Gate(page, Box::new(reply)) } else { reply }
        })
        .await
    }

    /// Returns the base URL, `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the gate up to this number.
    pub fn open(&self, number: u64) {
        self.shared.gate.send_replace(number + 1);
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.requests.lock().expect("lock").clone()
    }

    /// Returns the number of requests so far.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().expect("lock").len()
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Returns the body of one page of orders.
pub fn order_page(page: u64, pages: u64, rows: u64) -> Value {
    let next = (page + 1 < pages).then(|| (page + 1).to_string());
    let items: Vec<Value> = (0..rows)
        .map(|row| {
            let id = page * rows + row;
            json!({"id": id, "number": format!("A-{id:05}"), "total": 12.5, "note": "\u{1F33A} orchid"})
        })
        .collect();
    json!({"items": items, "next": next})
}

async fn handle(State(shared): State<Arc<UpstreamState>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 16 << 20).await.unwrap_or_default();
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    let query = url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect();
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let request = {
        let mut all = shared.requests.lock().expect("lock");
        let received = ReceivedRequest {
            number: all.len(),
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query,
            raw_query,
            headers: head.headers.iter().map(header).collect(),
            body,
        };
        all.push(received.clone());
        received
    };
    let mut reply = (shared.respond)(&request);
    loop {
        reply = match reply {
            UpstreamReply::After(delay, then) => {
                sleep(delay).await;
                *then
            }
            UpstreamReply::Gate(number, then) => {
                // The sender lives as long as the upstream.
                let _ = shared.gate.subscribe().wait_for(|open| *open > number).await;
                *then
            }
            UpstreamReply::Hang => std::future::pending().await,
            UpstreamReply::Break => return broken(),
            UpstreamReply::Json(status, body) => {
                let headers = vec![("content-type", "application/json".to_owned())];
                UpstreamReply::Raw(status, headers, Bytes::from(body.to_string()))
            }
            UpstreamReply::Raw(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                return response.body(Body::from(body)).expect("a response");
            }
        };
    }
}

fn broken() -> Response {
    let pieces = [
        Ok::<_, std::io::Error>(Bytes::from_static(b"{\"items\": [")),
        Err(std::io::Error::other("broken off")),
    ];
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from_stream(stream::iter(pieces)))
        .expect("a response")
}
