//! The HTTP agent of one attempt: its client and its cookies.
//!
//! The agent follows redirects and returns the response, whole or as a stream, or a classified
//! error. It retries nothing, and sends nothing while the fence is closed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use orchid_engine::{FetchError, FetchErrorKind, Request, Response};
use tokio::time::Instant;
use url::{Host, Url};

use crate::fetch::address::guard::AddressGuard;
use crate::fetch::body::{BodyReader, BodyRules};
use crate::fetch::client_error::classify;
use crate::fetch::cookie_jar::CookieJar;
use crate::fetch::decode::content_encoding::{BodyDecoding, accept_encoding};
use crate::fetch::redirect::{NextHop, next_hop};
use crate::fetch::timeout_budget::TimeoutBudget;
use crate::lease::SelfFence;
use crate::memory::{MemoryAccount, MemoryCharge};

/// Sends the requests of one attempt. Clones share its cookies.
#[derive(Clone)]
pub struct FetchAgent {
    client: reqwest::Client,
    guard: Arc<AddressGuard>,
    fence: Arc<SelfFence>,
    cookies: Arc<CookieJar>,
    memory: MemoryAccount,
    route: UpstreamRoute,
}

/// The way to the upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UpstreamRoute {
    Direct,
    /// Through a proxy; holds its address if its URL contains one instead of a name.
    Proxy(Option<IpAddr>),
}

/// The end of one try, or the start of its body.
pub struct FetchOutcome {
    /// The response or the error.
    pub result: Result<FetchedResponse, FetchError>,
    /// Time from the start of the request to the last byte read so far.
    pub duration: Duration,
}

/// A response after redirects.
#[expect(
    clippy::large_enum_variant,
    reason = "a short-lived return value; boxing it would cost an allocation for each stream"
)]
pub enum FetchedResponse {
    /// A complete response.
    Whole(Response),
    /// A response without its body, which is still to be read.
    Streaming(Response, BodyReader),
}

impl FetchAgent {
    pub(super) fn new(
        client: reqwest::Client,
        guard: Arc<AddressGuard>,
        fence: Arc<SelfFence>,
        memory: MemoryAccount,
        route: UpstreamRoute,
    ) -> Self {
        Self { client, guard, fence, cookies: Arc::default(), memory, route }
    }

    /// Returns the account that bodies are charged to.
    pub fn memory(&self) -> &MemoryAccount {
        &self.memory
    }

    /// Sends the request and follows its redirects, all within its timeout. Waits before that while
    /// too much memory is used.
    pub async fn fetch(&self, request: Request) -> FetchOutcome {
        let admitted = self.memory.admit_fetch().await;
        let started_at = Instant::now();
        let result = self.fetch_response(request, started_at, admitted).await;
        FetchOutcome { result, duration: started_at.elapsed() }
    }

    async fn fetch_response(
        &self,
        mut request: Request,
        started_at: Instant,
        admitted: MemoryCharge,
    ) -> Result<FetchedResponse, FetchError> {
        let mut budget = TimeoutBudget::new(request.timeout);
        let response = self.follow_redirects(&mut request, &mut budget).await?;
        let status = response.status();
        let decoding = body_decoding(&request, status, response.headers())
            .map_err(|error| with_response(error, response_head(&response, &request.url, false)))?;
        let files = decoding.files();
        let content_type = text(response.headers().get(CONTENT_TYPE));
        // Decided by the response: the same step may stream CSV but not the JSON of an error.
        let is_streamed =
            request.method != "HEAD" && request.streaming.applies(status.as_u16(), &content_type);
        let mut head = response_head(&response, &request.url, !decoding.codings.is_empty());
        let rules = BodyRules {
            decoding,
            files,
            max_bytes: if is_streamed { request.max_stream_bytes } else { request.max_body_bytes },
            budget,
            fence: Arc::clone(&self.fence),
            started_at,
            memory: self.memory.clone(),
            admitted,
            read_whole: !is_streamed,
        };
        let body = match BodyReader::new(response, rules) {
            Ok(body) if is_streamed => return Ok(FetchedResponse::Streaming(head, body)),
            Ok(body) => body,
            Err(error) => return Err(with_response(error, head)),
        };
        let (bytes, files, result) = body.read_all().await;
        (head.body, head.files) = (bytes, files);
        match result {
            Ok(()) => Ok(FetchedResponse::Whole(head)),
            Err(error) => Err(with_response(error, head)),
        }
    }

    /// Returns the first response that is no redirect. `request` is then the request of that
    /// response.
    async fn follow_redirects(
        &self,
        request: &mut Request,
        budget: &mut TimeoutBudget,
    ) -> Result<reqwest::Response, FetchError> {
        let mut hops = 0;
        loop {
            // Outside the budget: a closed fence is not the upstream's delay.
            self.fence.wait_open().await;
            let response = budget.wait(None, self.send(request)).await?;
            self.cookies.store(&request.url, response.headers());
            let status = response.status().as_u16();
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match next_hop(request, hops, status, location)? {
                NextHop::Follow(next) => {
                    hops += 1;
                    *request = *next;
                }
                NextHop::Stay => return Ok(response),
            }
        }
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, FetchError> {
        // On every hop, because a redirect may name an address, too.
        self.check_addresses(&request.url)?;
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid_request("method"))?;
        let headers = self.headers(request)?;
        let mut builder = self.client.request(method, request.url.clone()).headers(headers);
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| self.mention_proxy(classify(error, None)))
    }

    /// Returns the plan's headers, and default ones under names that the plan does not set.
    fn headers(&self, request: &Request) -> Result<HeaderMap, FetchError> {
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 2);
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid_request("header name"))?;
            let value = HeaderValue::from_str(value).map_err(|_| invalid_request("header value"))?;
            headers.append(name, value);
        }
        if !headers.contains_key(ACCEPT_ENCODING) {
            let codings = accept_encoding(request.decompress, &headers);
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
        }
        if !headers.contains_key(COOKIE)
            && let Some(cookies) = self.cookies.header(&request.url)
        {
            headers.insert(COOKIE, cookies);
        }
        Ok(headers)
    }

    /// Checks the addresses that never reach the guarded resolver: literals in the URLs of the
    /// request and of the proxy. Names that a proxy resolves do not reach it either; of those, only
    /// the names that always mean this machine (RFC 6761, 6.3) can be checked here.
    fn check_addresses(&self, url: &Url) -> Result<(), FetchError> {
        let target = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) if self.route != UpstreamRoute::Direct && is_localhost(name) => {
                Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            Some(Host::Domain(_)) | None => None,
        };
        let proxy = match self.route {
            UpstreamRoute::Proxy(address) => address,
            UpstreamRoute::Direct => None,
        };
        for (address, prefix) in [(proxy, "the proxy: "), (target, "")] {
            if let Some(Err(refused)) = address.map(|address| self.guard.check(address)) {
                let message = format!("{prefix}{refused}");
                return Err(FetchError {
                    kind: FetchErrorKind::AddressRefused,
                    message,
                    status: None,
                    received: None,
                });
            }
        }
        Ok(())
    }

    /// Adds to connection errors that it may be the proxy that failed.
    fn mention_proxy(&self, mut error: FetchError) -> FetchError {
        use FetchErrorKind::{AddressRefused, Certificate, Connect, Dns, Tls};
        let is_of_connecting = matches!(error.kind, AddressRefused | Certificate | Connect | Dns | Tls);
        if self.route != UpstreamRoute::Direct && is_of_connecting {
            error.message.push_str(" (via the config's proxy)");
        }
        error
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn body_decoding(
    request: &Request,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<BodyDecoding, FetchError> {
    // Responses without a body may still declare its encoding, and decoding nothing would fail.
    if request.method == "HEAD" || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(BodyDecoding::IDENTITY);
    }
    let files = request.archive_files.as_ref();
    BodyDecoding::new(request.decompress, files, status, headers).map_err(|message| FetchError {
        kind: FetchErrorKind::Decode,
        message,
        status: Some(status.as_u16()),
        received: None,
    })
}

/// Returns a response without its body. If the body is decoded, the headers that describe the
/// encoded body are left out.
fn response_head(response: &reqwest::Response, url: &Url, is_decoded: bool) -> Response {
    let is_kept = |name: &HeaderName| !(is_decoded && (name == CONTENT_ENCODING || name == CONTENT_LENGTH));
    let headers = response
        .headers()
        .iter()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| (name.as_str().to_owned(), text(Some(value))))
        .collect();
    Response {
        status: response.status().as_u16(),
        headers,
        body: bytes::Bytes::new(),
        url: url.as_str().to_owned(),
        files: Vec::new(),
    }
}

/// Adds what had arrived of the response to an error.
fn with_response(error: FetchError, response: Response) -> FetchError {
    FetchError { received: Some(Box::new(response)), ..error }
}

fn text(value: Option<&HeaderValue>) -> String {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn invalid_request(part: &str) -> FetchError {
    FetchError {
        kind: FetchErrorKind::InvalidRequest,
        message: format!("the request's {part} contains characters that HTTP does not allow"),
        status: None,
        received: None,
    }
}
