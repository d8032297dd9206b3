//! An HTTP API that is cheap enough not to be the bottleneck: minimal HTTP/1.1 over prepared
//! bodies.
//!
//! - `/pages?size=&pages=&cursor=`: pages of a size, by cursor
//! - `/items?count=`: a list
//! - `/children?id=`: one object after a delay
//! - `/held?id=`: one object once the gate is open
//! - `/page?size=`: one page without a next one
//! - `/lines?bytes=`: generated JSON lines
//! - `/amplified?input=`: one of the [`INPUTS`]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use orchid_kit::clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::amplified::INPUTS;

const JSON: &str = "application/json";
const DIGITS: usize = 10;
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Statistics of the requests since the last reset.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestStats {
    /// The number of requests, not counting those for lists.
    pub requests: u64,
    /// The time from the first request to the last response.
    pub span: Duration,
    /// The total time that all requests took here.
    pub busy: Duration,
}

#[derive(Default)]
struct RequestCounters {
    stats: RequestStats,
    first: Option<Instant>,
}

struct UpstreamState {
    delay: Duration,
    counters: Mutex<RequestCounters>,
    bodies: Mutex<HashMap<usize, Bytes>>,
    held: AtomicU64,
    gate: watch::Sender<bool>,
}

/// A running upstream; ends when dropped.
pub(crate) struct BenchUpstream {
    address: SocketAddr,
    shared: Arc<UpstreamState>,
    _server: JoinSet<()>,
}

impl BenchUpstream {
    /// Starts an upstream that delays responses for children.
    pub(crate) async fn start(delay: Duration) -> BenchUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(UpstreamState {
            delay,
            counters: Mutex::default(),
            bodies: Mutex::default(),
            held: AtomicU64::new(0),
            gate: watch::channel(true).0,
        });
        let serving = Arc::clone(&shared);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let shared = Arc::clone(&serving);
                // The client ends the connection, in order or not.
                connections.spawn(async move { serve(socket, &shared).await.unwrap_or_default() });
                while connections.try_join_next().is_some() {}
            }
        });
        BenchUpstream { address, shared, _server: server }
    }

    /// Returns the base URL, `http://127.0.0.1:…`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Resets the statistics.
    pub(crate) fn reset(&self) {
        *self.shared.counters() = RequestCounters::default();
    }

    /// Returns the statistics since the last reset.
    pub(crate) fn stats(&self) -> RequestStats {
        self.shared.counters().stats
    }

    /// Holds the requests for `/held`, or releases them.
    pub(crate) fn hold(&self, hold: bool) {
        self.shared.gate.send_replace(!hold);
    }

    /// Returns the number of held requests.
    pub(crate) fn held(&self) -> u64 {
        self.shared.held.load(Relaxed)
    }
}

impl UpstreamState {
    fn counters(&self) -> std::sync::MutexGuard<'_, RequestCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn began(&self) -> Instant {
        let now = clock::monotonic();
        self.counters().first.get_or_insert(now);
        now
    }

    fn answered(&self, began: Instant) {
        let now = clock::monotonic();
        let mut counters = self.counters();
        let first = counters.first.unwrap_or(began);
        counters.stats.requests += 1;
        counters.stats.busy += now - began;
        counters.stats.span = now - first;
    }

    /// Returns `size` bytes that follow the cursor in a page.
    fn page_of(&self, size: usize) -> Bytes {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.entry(size).or_insert_with(|| Bytes::from(rows(size))).clone()
    }
}

/// Returns `,"items":[…]}`, `size` bytes in all.
fn rows(size: usize) -> Vec<u8> {
    let mut text = String::from(",\"items\":[");
    for id in 0_u64.. {
        let row = format!(
            r#"{{"id":{id},"number":"SO-{id:06}","status":"delivered","total":{}.25,"currency":"EUR","customer":{{"id":{},"name":"Ada Lovelace"}},"created_at":"2025-01-06T08:{:02}:50Z","note":null}}"#,
            id * 7 % 900,
            id * 31 % 500,
            id % 60,
        );
        if id > 0 && text.len() + row.len() + 16 > size {
            break;
        }
        text.push_str(if id == 0 { "" } else { "," });
        text.push_str(&row);
    }
    text.push_str("],\"pad\":\"");
    let pad = size.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('x', pad));
    text.push_str("\"}");
    text.into_bytes()
}

/// Returns `{"next":…`, always of the same length.
fn cursor_of(page: u64, pages: u64) -> String {
    if page + 1 < pages {
        format!(r#"{{"next":"{:0width$}","busy":false"#, page + 1, width = DIGITS)
    } else {
        format!(r#"{{"next":null,{:width$}"busy":false"#, "", width = DIGITS - 2)
    }
}

/// Parses the path and query of a request.
fn target(head: &[u8]) -> (String, HashMap<String, u64>) {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap_or_default())).collect();
    (path.to_owned(), query)
}

async fn serve(mut socket: TcpStream, shared: &UpstreamState) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut input: Vec<u8> = Vec::with_capacity(1024);
    loop {
        let end = loop {
            if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if socket.read_buf(&mut input).await? == 0 || input.len() > MAX_HEAD_BYTES {
                return Ok(());
            }
        };
        let (path, query) = target(&input[..end]);
        input.drain(..end);
        let number = |name: &str| query.get(name).copied().unwrap_or_default();
        let size = usize::try_from(number("size")).unwrap_or_default();
        match path.as_str() {
            "/items" => {
                let items: Vec<String> = (0..number("count")).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
                let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
                answer(&mut socket, JSON, body, Bytes::new()).await?;
            }
            "/amplified" => {
                let input = &INPUTS[usize::try_from(number("input")).unwrap_or_default()];
                answer(&mut socket, input.content_type, String::new(), input.body()).await?;
            }
            "/lines" => lines(&mut socket, number("bytes")).await?,
            _ => {
                let began = shared.began();
                let page = |first: String| {
                    let rest = shared.page_of(size.saturating_sub(first.len()));
                    (first, rest)
                };
                let (first, rest) = match path.as_str() {
                    "/pages" => page(cursor_of(number("cursor"), number("pages"))),
                    "/page" => page(cursor_of(0, 1)),
                    _ => (child(shared, &path, number("id")).await, Bytes::new()),
                };
                answer(&mut socket, JSON, first, rest).await?;
                shared.answered(began);
            }
        }
    }
}

async fn child(shared: &UpstreamState, path: &str, id: u64) -> String {
    if path == "/held" {
        shared.held.fetch_add(1, Relaxed);
        // The sender lives as long as this.
        let _ = shared.gate.subscribe().wait_for(|open| *open).await;
        shared.held.fetch_sub(1, Relaxed);
    } else {
        sleep(shared.delay).await;
    }
    format!(
        r#"{{"id":{id},"name":"Grace Hopper","email":"grace-{id}@example.com","tags":["a","b"],"score":{}.5}}"#,
        id % 100
    )
}

async fn answer(socket: &mut TcpStream, content_type: &str, first: String, rest: Bytes) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{first}",
        first.len() + rest.len()
    );
    socket.write_all_buf(&mut Bytes::from(head).chain(rest)).await
}

/// Sends JSON lines of about `bytes` bytes in all.
async fn lines(socket: &mut TcpStream, bytes: u64) -> io::Result<()> {
    const PIECE: u64 = 64 * 1024;
    let line = |id: u64| {
        let word = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!(
            r#"{{"id":{id},"word":"{word:016x}","name":"Grace Hopper","tags":["a","b"],"score":{}.5}}"#,
            id % 100
        ) + "\n"
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let (mut sent, mut id) = (0, 0);
    while sent < bytes {
        let mut piece = String::new();
        while (piece.len() as u64) < PIECE {
            piece.push_str(&line(id));
            id += 1;
        }
        sent += piece.len() as u64;
        socket.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await?;
    }
    socket.write_all(b"0\r\n\r\n").await
}
