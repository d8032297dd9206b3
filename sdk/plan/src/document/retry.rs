//! Reads `retry`.

use std::time::Duration;

use super::context::ReadContext;
use super::object::ObjectReader;
use super::outcome::matchers;
use crate::expr::InScope;
use crate::{Backoff, Jitter, RetryPolicy};

pub(crate) const FIELDS: &[&str] =
    &["max_retries", "backoff", "initial_delay_ms", "max_delay_ms", "jitter", "on", "wait"];

pub(crate) const BACKOFFS: &[(&str, Backoff)] = &[
    ("fibonacci", Backoff::Fibonacci),
    ("exponential", Backoff::Exponential),
    ("linear", Backoff::Linear),
    ("constant", Backoff::Constant),
];

/// Longest delay in milliseconds: a day.
const MAX_DELAY_MS: u64 = 86_400_000;

pub(super) fn read(step: &ObjectReader<'_>, scope: &InScope, context: &mut ReadContext<'_>) -> RetryPolicy {
    let mut default = RetryPolicy::default();
    default.max_retries = default.max_retries.min(context.server.retries);
    let Some(value) = step.get("retry") else { return default };
    let Some(object) = ObjectReader::open(value, &step.at("retry"), FIELDS, context) else { return default };
    let most = u64::from(context.server.retries);
    let max_retries =
        object.integer("max_retries", 0..=most, context).and_then(|value| u32::try_from(value).ok());
    let backoff = object.choice("backoff", BACKOFFS, context);
    let initial = object.integer("initial_delay_ms", 0..=MAX_DELAY_MS, context).map(Duration::from_millis);
    let max = object.integer("max_delay_ms", 0..=MAX_DELAY_MS, context).map(Duration::from_millis);
    let jitter = object.choice("jitter", &[("full", Jitter::Full), ("none", Jitter::None)], context);
    let on = matchers(&object, "on", context);
    let wait = object.expr("wait", scope, context);
    let retry = RetryPolicy {
        max_retries: max_retries.unwrap_or(default.max_retries),
        backoff: backoff.unwrap_or(default.backoff),
        initial_delay: initial.unwrap_or(default.initial_delay),
        max_delay: max.unwrap_or_else(|| default.max_delay.max(initial.unwrap_or(default.initial_delay))),
        jitter: jitter.unwrap_or(default.jitter),
        on,
        wait,
    };
    if retry.max_delay < retry.initial_delay {
        context.conflict(object.at("max_delay_ms"), "max_delay_ms must not be less than initial_delay_ms");
    }
    retry
}
