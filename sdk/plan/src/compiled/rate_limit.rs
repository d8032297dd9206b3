//! `rate_limits`: how fast and how often an API may be asked.

use std::time::Duration;

use regex::Regex;

use crate::Expr;

/// One limit of a plan: one of its own, or a tighter one in place of the integration's.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Unique in the plan; an integration's limit of the same name is meant where `rate` has no window.
    pub name: String,
    /// Which urls it is about; none: all.
    pub endpoint: Option<Regex>,
    /// How many requests may start; none where only `max_concurrent` or the upstream's own word counts.
    pub rate: Option<RequestRate>,
    /// What has a bucket of its own.
    pub scope: LimitScope,
    /// Requests in flight at once.
    pub max_concurrent: Option<u32>,
    /// What a request takes out of the bucket; none: 1.
    pub cost: Option<Expr>,
    /// What the upstream says of its own limit.
    pub dynamic: Option<DynamicQuota>,
    /// Slow down before the upstream refuses.
    pub adaptive: bool,
    /// Stay closed for a window when the count was lost.
    pub strict: bool,
    /// Pointer of the object: `/definition/rate_limits/0`.
    pub pointer: String,
}

/// Requests in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// Requests that start in any window.
    pub requests: u64,
    /// How long a window is; none: that of the integration's limit, whose `requests` this lowers.
    pub window: Option<Duration>,
}

/// What has a bucket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// The limit.
    Global,
    /// Each config.
    PerConfig,
    /// Each credential: configs that share one share the bucket.
    PerCredential,
    /// Each method, host and path as written in the plan.
    PerEndpoint,
}

/// Where an answer says what is left. The fields of the IETF draft (`RateLimit`, `RateLimit-Policy`) need no naming.
#[derive(Clone, Debug, Default)]
pub struct DynamicQuota {
    /// Requests that are left.
    pub remaining: Option<QuotaSource>,
    /// When the window begins anew: epoch seconds or milliseconds, seconds from now, an HTTP date or RFC 3339.
    pub reset: Option<QuotaSource>,
    /// Requests of a window.
    pub limit: Option<QuotaSource>,
}

/// One number that an answer reports.
#[derive(Clone, Debug)]
pub enum QuotaSource {
    /// In this header, in lower case.
    Header(String),
    /// By this expression on the answer.
    Expr(Expr),
}
