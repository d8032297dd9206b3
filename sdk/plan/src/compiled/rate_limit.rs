//! `rate_limits`: how often a plan may send requests to an API.

use std::time::Duration;

use regex::Regex;

use crate::Expr;

/// One rate limit of a plan: a new one, or a lower one in place of the integration's.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Name, unique in the plan. If `rate` has no window, it names the limit of the integration
    /// that this one lowers.
    pub name: String,
    /// URLs that the limit covers; `None` covers all.
    pub endpoint: Option<Regex>,
    /// Number of requests that may start; `None` if only `max_concurrent` or the upstream's own
    /// report limits them.
    pub rate: Option<RequestRate>,
    /// Unit for which requests are counted.
    pub scope: LimitScope,
    /// Maximum number of requests in flight.
    pub max_concurrent: Option<u32>,
    /// Cost of a request; 1 if `None`.
    pub cost: Option<Expr>,
    /// Places in responses that report the limit of the upstream.
    pub dynamic: Option<DynamicQuota>,
    /// Whether to slow down before the upstream refuses requests.
    pub adaptive: bool,
    /// Whether to wait for a whole window after the count was lost.
    pub strict: bool,
    /// JSON pointer of the object: `/definition/rate_limits/0`.
    pub pointer: String,
}

/// Requests in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// Maximum number of requests that start in any window.
    pub requests: u64,
    /// Length of the window; `None` means the window of the integration's limit, whose `requests`
    /// this lowers.
    pub window: Option<Duration>,
}

/// Unit for which the requests of a limit are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// All requests together.
    Global,
    /// Each config apart.
    PerConfig,
    /// Each credential apart; configs that share a credential share the limit.
    PerCredential,
    /// Each combination of method, host and path apart, as written in the plan.
    PerEndpoint,
}

/// Places in a response that report the remaining quota. The headers of the IETF draft
/// (`RateLimit`, `RateLimit-Policy`) are read without being named.
#[derive(Clone, Debug, Default)]
pub struct DynamicQuota {
    /// Number of requests left.
    pub remaining: Option<QuotaSource>,
    /// Start of the next window: epoch seconds or milliseconds, seconds from now, an HTTP date or
    /// RFC 3339.
    pub reset: Option<QuotaSource>,
    /// Number of requests per window.
    pub limit: Option<QuotaSource>,
}

/// The place of one number in a response.
#[derive(Clone, Debug)]
pub enum QuotaSource {
    /// A header, by its name in lower case.
    Header(String),
    /// An expression on the response.
    Expr(Expr),
}
