//! The tries of one run: those that wait to be sent, and those under way.
//!
//! In: requests. Out: what came of each, in the order in which they end. Which requests may be on their way at once is
//! the engine's to say; when the next is sent is the run's.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use orchid_engine::{Request, TryId};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::fetch::{Fetched, Fetcher};
use crate::worker::Lease;

/// Requests held and under way. Dropping it drops them all.
#[derive(Default)]
pub(crate) struct Tries {
    held: VecDeque<(TryId, Request)>,
    under_way: FuturesUnordered<BoxFuture<'static, (TryId, Fetched)>>,
}

impl Tries {
    /// Takes a request in, to be sent later.
    pub(crate) fn hold(&mut self, try_id: TryId, request: Request) {
        self.held.push_back((try_id, request));
    }

    /// Sends the oldest request that is held; answers whether there was one.
    pub(crate) fn start_next(&mut self, fetcher: &Fetcher, lease: &Lease) -> bool {
        let Some((try_id, request)) = self.held.pop_front() else { return false };
        let place = without_query(&request.url);
        lease.requested(format!("{} {place}", request.method));
        let span = tracing::info_span!(
            "try",
            http.request.method = request.method,
            url.full = place,
            http.response.status_code = Empty,
            "error.type" = Empty,
        );
        let inside = span.clone();
        let fetcher = fetcher.clone();
        let fetched = async move {
            let fetched = fetcher.fetch(request).await;
            match &fetched.result {
                Ok(response) => inside.record("http.response.status_code", response.status),
                Err(error) => inside.record("error.type", error.kind.code()),
            };
            (try_id, fetched)
        };
        self.under_way.push(Box::pin(fetched.instrument(span)));
        true
    }

    /// Waits for the next try to end; for ever while none is under way. Cancel safe.
    pub(crate) async fn ended(&mut self) -> (TryId, Fetched) {
        match self.under_way.next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }
}

/// Scheme, host and path: a query may hold credentials.
fn without_query(url: &url::Url) -> String {
    let text = url.as_str();
    let end = text.find(['?', '#']).unwrap_or(text.len());
    match text[..end].split_once('@') {
        Some((before, after)) if !url.username().is_empty() || url.password().is_some() => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://{after}")
        }
        Some(_) | None => text[..end].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
