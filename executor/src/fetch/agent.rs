//! The user agent of one run: its client, and its cookies.
//!
//! In: rendered requests with their rules. Out: answers after redirects, whole or in pieces, or what kind of failure it was.
//! It retries nothing, and sends nothing while the fence is shut.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use orchid_engine::{FetchError, FetchErrorKind, Request, Response};
use tokio::time::Instant;
use url::{Host, Url};

use crate::beat::Fence;
use crate::fetch::body::{Body, Rules};
use crate::fetch::codings::{Recipe, accepted};
use crate::fetch::fault::classify;
use crate::fetch::guard::AddressGuard;
use crate::fetch::jar::Jar;
use crate::fetch::patience::Patience;
use crate::fetch::redirect::{Hop, next_hop};

/// Sends the requests of one run. Clones share its cookies.
#[derive(Clone)]
pub struct Agent {
    pub(super) client: reqwest::Client,
    pub(super) guard: Arc<AddressGuard>,
    pub(super) fence: Arc<Fence>,
    pub(super) jar: Arc<Jar>,
    pub(super) by: By,
}

/// Who connects to the upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Ourselves,
    /// A proxy; its address, where its url has one instead of a name.
    Proxy(Option<IpAddr>),
}

/// One try's end, or the beginning of its body.
pub struct Fetched {
    /// What came.
    pub result: Result<Answer, FetchError>,
    /// From the first byte sent to the last one read.
    pub duration: Duration,
}

/// What came.
pub enum Answer {
    /// All of it.
    Whole(Response),
    /// The head; the body is still to be read.
    Head(Response, Body),
}

impl Agent {
    /// Sends the request and follows its redirects, all within its timeout.
    pub async fn fetch(&self, request: Request) -> Fetched {
        let begun = Instant::now();
        let result = self.answer(request, begun).await;
        Fetched { result, duration: begun.elapsed() }
    }

    async fn answer(&self, mut request: Request, begun: Instant) -> Result<Answer, FetchError> {
        let mut patience = Patience::new(request.timeout);
        let answer = self.follow(&mut request, &mut patience).await?;
        let status = answer.status();
        let recipe = recipe(&request, status, answer.headers())?;
        let content_type = text(answer.headers().get(CONTENT_TYPE));
        let in_pieces = request.method != "HEAD" && request.streaming.applies(status.as_u16(), &content_type);
        let mut head = head(&answer, &request.url, !recipe.codings.is_empty());
        let fence = Arc::clone(&self.fence);
        let max_bytes = if in_pieces { request.max_stream_bytes } else { request.max_body_bytes };
        let rules = Rules { recipe, max_bytes, patience, fence, begun, whole: !in_pieces };
        let body = Body::new(answer, rules)?;
        if in_pieces {
            return Ok(Answer::Head(head, body));
        }
        head.body = body.whole().await?;
        Ok(Answer::Whole(head))
    }

    /// The first answer that leads nowhere else; the request is then that which it answers.
    async fn follow(
        &self,
        request: &mut Request,
        patience: &mut Patience,
    ) -> Result<reqwest::Response, FetchError> {
        let mut hops = 0;
        loop {
            self.fence.opened().await;
            let answer = patience.wait(None, self.send(request)).await?;
            self.jar.keep(&request.url, answer.headers());
            let status = answer.status().as_u16();
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match next_hop(request, hops, status, location)? {
                Hop::Follow(next) => {
                    hops += 1;
                    *request = *next;
                }
                Hop::Stay => return Ok(answer),
            }
        }
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, FetchError> {
        self.check_addresses(&request.url)?;
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("method"))?;
        let headers = self.headers(request)?;
        let mut builder = self.client.request(method, request.url.clone()).headers(headers);
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| self.in_words(classify(error, None)))
    }

    /// The plan's headers, and ours where it has none of that name.
    fn headers(&self, request: &Request) -> Result<HeaderMap, FetchError> {
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 2);
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("header name"))?;
            let value = HeaderValue::from_str(value).map_err(|_| invalid("header value"))?;
            headers.append(name, value);
        }
        if !headers.contains_key(ACCEPT_ENCODING) {
            let codings = accepted(request.decompress, &headers);
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
        }
        if !headers.contains_key(COOKIE)
            && let Some(cookies) = self.jar.header(&request.url)
        {
            headers.insert(COOKIE, cookies);
        }
        Ok(headers)
    }

    /// Addresses that stand in a url never reach the resolver. Names that a proxy resolves do not either: of those only the
    /// ones that always mean this machine (RFC 6761, 6.3) are known here.
    fn check_addresses(&self, url: &Url) -> Result<(), FetchError> {
        let target = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) if self.by != By::Ourselves && is_this_machine(name) => {
                Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            Some(Host::Domain(_)) | None => None,
        };
        let proxy = match self.by {
            By::Proxy(address) => address,
            By::Ourselves => None,
        };
        for (address, whose) in [(proxy, "the proxy: "), (target, "")] {
            if let Some(Err(refused)) = address.map(|address| self.guard.check(address)) {
                let message = format!("{whose}{refused}");
                return Err(FetchError { kind: FetchErrorKind::AddressRefused, message, status: None });
            }
        }
        Ok(())
    }

    /// Where a connection failed it may be the proxy that did.
    fn in_words(&self, mut error: FetchError) -> FetchError {
        use FetchErrorKind::{AddressRefused, Connect, Dns, Tls};
        if self.by != By::Ourselves && matches!(error.kind, AddressRefused | Connect | Dns | Tls) {
            error.message.push_str(" (by way of the config's proxy)");
        }
        error
    }
}

fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn recipe(request: &Request, status: StatusCode, headers: &HeaderMap) -> Result<Recipe, FetchError> {
    // What has no body may still say how that would be packed.
    if request.method == "HEAD" || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Recipe::NOTHING);
    }
    Recipe::new(request.decompress, status, headers).map_err(|message| FetchError {
        kind: FetchErrorKind::Decode,
        message,
        status: Some(status.as_u16()),
    })
}

/// An answer without its body. Where codings are undone, the headers that speak of them are left out.
fn head(answer: &reqwest::Response, url: &Url, is_undone: bool) -> Response {
    let is_told = |name: &HeaderName| !(is_undone && (name == CONTENT_ENCODING || name == CONTENT_LENGTH));
    let headers = answer
        .headers()
        .iter()
        .filter(|(name, _)| is_told(name))
        .map(|(name, value)| (name.as_str().to_owned(), text(Some(value))))
        .collect();
    Response {
        status: answer.status().as_u16(),
        headers,
        body: bytes::Bytes::new(),
        url: url.as_str().to_owned(),
    }
}

fn text(value: Option<&HeaderValue>) -> String {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn invalid(what: &str) -> FetchError {
    FetchError {
        kind: FetchErrorKind::InvalidRequest,
        message: format!("the request's {what} cannot be sent"),
        status: None,
    }
}
