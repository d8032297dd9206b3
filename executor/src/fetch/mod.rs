//! Fetch: one try of a request, put on the wire.
//!
//! In: a rendered request with its rules. Out: the whole answer after redirects and decompression, or what kind of failure
//! it was. It keeps no cookies, retries nothing, uses no proxy of the environment, and connects to no address that the
//! guard refuses.

mod body;
mod cidr;
mod fault;
mod guard;
mod redirect;
mod resolver;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use orchid_engine::{FetchError, FetchErrorKind, Request, Response};
use reqwest::redirect::Policy;
use tokio::time::{Instant, timeout};
use url::Host;

pub use cidr::{Cidr, InvalidCidr};
pub use guard::{AddressGuard, AddressRefused};

use crate::beat::Fence;
use redirect::{Hop, next_hop};
use resolver::GuardedResolver;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the idle time after which common servers and balancers close a connection.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Sends requests. Clones share one pool of connections.
#[derive(Clone)]
pub struct Fetcher {
    client: reqwest::Client,
    guard: Arc<AddressGuard>,
    fence: Arc<Fence>,
}

/// One try's end.
#[derive(Debug)]
pub struct Fetched {
    /// What came.
    pub result: Result<Response, FetchError>,
    /// From the first byte sent to the last one read.
    pub duration: Duration,
}

impl Fetcher {
    /// A client with an empty pool. The process must have installed rustls' crypto provider.
    pub fn new(guard: AddressGuard, fence: Arc<Fence>) -> Result<Fetcher, reqwest::Error> {
        let guard = Arc::new(guard);
        let client = reqwest::Client::builder()
            .user_agent(concat!("orchid/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_CONNECTION)
            .dns_resolver(Arc::new(GuardedResolver::new(Arc::clone(&guard))))
            .build()?;
        Ok(Fetcher { client, guard, fence })
    }

    /// Sends the request and follows its redirects, all within its timeout.
    pub async fn fetch(&self, request: Request) -> Fetched {
        let begun = Instant::now();
        let limit = request.timeout;
        let result = match timeout(limit, self.follow(request)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError {
                kind: FetchErrorKind::Timeout,
                message: format!("no whole answer within {} ms", limit.as_millis()),
                status: None,
            }),
        };
        Fetched { result, duration: begun.elapsed() }
    }

    async fn follow(&self, mut request: Request) -> Result<Response, FetchError> {
        let mut hops = 0;
        loop {
            self.fence.opened().await;
            let answer = self.send(&request).await?;
            let status = answer.status().as_u16();
            let location = answer.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
            match next_hop(&request, hops, status, location)? {
                Hop::Follow(next) => {
                    hops += 1;
                    request = *next;
                }
                Hop::Stay => return whole(answer, request.url.as_str(), request.max_body_bytes).await,
            }
        }
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, FetchError> {
        self.check_literal(request)?;
        let method = http::Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("method"))?;
        let mut headers = http::HeaderMap::with_capacity(request.headers.len());
        for (name, value) in &request.headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("header name"))?;
            let value = http::HeaderValue::from_str(value).map_err(|_| invalid("header value"))?;
            headers.append(name, value);
        }
        let mut builder = self.client.request(method, request.url.clone()).headers(headers);
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| fault::classify(error, None))
    }

    /// Addresses written into the url never reach the resolver.
    fn check_literal(&self, request: &Request) -> Result<(), FetchError> {
        let literal = match request.url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.guard.check(literal).map_err(|refused| FetchError {
            kind: FetchErrorKind::AddressRefused,
            message: refused.to_string(),
            status: None,
        })
    }
}

async fn whole(answer: reqwest::Response, url: &str, max_bytes: u64) -> Result<Response, FetchError> {
    let status = answer.status().as_u16();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let body = body::read(answer, max_bytes).await?;
    Ok(Response { status, headers, body, url: url.to_owned() })
}

fn invalid(what: &str) -> FetchError {
    FetchError {
        kind: FetchErrorKind::InvalidRequest,
        message: format!("the request's {what} cannot be sent"),
        status: None,
    }
}
