//! The outcome table: decides what the response to a try means.
//!
//! The input is the step's rules, the facts of the try, and a way to evaluate conditions. The
//! output is a [`TryDecision`]; nothing is carried out here.

use orchid_plan::{Expr, OutcomeMatcher, OutcomeRules, RetryPolicy};

use crate::error::ErrorClass;
use crate::input::FetchErrorKind;

/// Reason why a try is not a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TryFailure {
    /// There is no whole response.
    Fetch(FetchErrorKind),
    /// The status is not 2xx.
    Status,
    /// The body of a 2xx cannot be decoded; with the error code.
    Decode(&'static str),
}

/// The facts of a try that the table reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TryFacts {
    /// The status, if the head of a response arrived.
    pub(crate) status: Option<u16>,
    /// `None` for a 2xx whose body can be decoded.
    pub(crate) failure: Option<TryFailure>,
    /// True if the page may be tried again.
    pub(crate) retries_left: bool,
}

/// The line of the table that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TryVerdict {
    /// Line 1: the execution ends `aborted`.
    Abort(AbortCause),
    /// Line 2: the request is sent again after a delay.
    Retry,
    /// Line 4: the error is reported, and the step continues.
    Ignore,
    /// Lines 5 and 6: the response is used.
    Success,
    /// Line 7: the step fails.
    Fail,
}

/// The field of the plan that ends the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AbortCause {
    On,
    When,
}

/// A verdict, with the fact whether the failure may go away by itself, which decides the class of
/// its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TryDecision {
    pub(crate) verdict: TryVerdict,
    pub(crate) transient: bool,
}

impl TryFailure {
    pub(crate) fn code(self) -> &'static str {
        match self {
            TryFailure::Fetch(kind) => kind.code(),
            TryFailure::Status => "HTTP_STATUS",
            TryFailure::Decode(code) => code,
        }
    }

    /// Returns whether line 2 retries this failure without being told to.
    fn is_transient(self) -> bool {
        match self {
            TryFailure::Fetch(kind) => match kind {
                FetchErrorKind::Timeout
                | FetchErrorKind::Dns
                | FetchErrorKind::Connect
                | FetchErrorKind::Tls
                | FetchErrorKind::Broken => true,
                FetchErrorKind::Certificate
                | FetchErrorKind::TooLarge
                | FetchErrorKind::Decode
                | FetchErrorKind::TooManyRedirects
                | FetchErrorKind::HostNotAllowed
                | FetchErrorKind::AddressRefused
                | FetchErrorKind::InvalidRequest => false,
            },
            TryFailure::Status | TryFailure::Decode(_) => false,
        }
    }
}

impl TryFacts {
    fn code(&self) -> Option<&'static str> {
        self.failure.map(TryFailure::code)
    }

    fn matches(&self, list: &[OutcomeMatcher]) -> bool {
        list.iter().any(|matcher| matcher.matches(self.status, self.code()))
    }

    /// Returns whether an expression on the response can be evaluated. If only its head came, an
    /// expression that reads the body cannot.
    pub(crate) fn can_answer(&self, expr: &Expr) -> bool {
        let is_whole = !matches!(self.failure, Some(TryFailure::Fetch(_)));
        is_whole || (self.status.is_some() && !expr.reads().includes_body())
    }

    fn retryable_by_itself(&self) -> bool {
        self.failure.is_some_and(TryFailure::is_transient)
            || self.status.is_some_and(|status| matches!(status, 408 | 425 | 429 | 500..=599))
    }

    /// Returns the class of the error as which this try is reported.
    pub(crate) fn class(&self, transient: bool) -> ErrorClass {
        match self.failure {
            Some(TryFailure::Fetch(
                FetchErrorKind::HostNotAllowed
                | FetchErrorKind::AddressRefused
                | FetchErrorKind::InvalidRequest,
            )) => ErrorClass::Config,
            // The plan's `iterate_over` leads to something other than a list.
            Some(TryFailure::Decode("EXPRESSION")) => ErrorClass::Config,
            _ if self.status == Some(429) => ErrorClass::RateLimit,
            _ if transient => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        }
    }
}

/// Returns the first line of the table that matches.
///
/// `ask` evaluates a condition, named by its field, on the response. It is not called for a try
/// without a response, since conditions read one, nor for lines behind the one that matches.
///
/// # Errors
/// Fails if a condition fails.
pub(crate) fn decide<E>(
    rules: &OutcomeRules,
    retry: &RetryPolicy,
    facts: &TryFacts,
    ask: &mut dyn FnMut(&'static str, &Expr) -> Result<bool, E>,
) -> Result<TryDecision, E> {
    // Conditions read the response, so they are false for a try without one.
    let mut holds = |field: &'static str, expr: &Option<Expr>| match expr {
        Some(expr) if facts.can_answer(expr) => ask(field, expr),
        Some(_) | None => Ok(false),
    };

    if facts.matches(&rules.abort_on) {
        return Ok(TryDecision { verdict: TryVerdict::Abort(AbortCause::On), transient: false });
    }
    if holds("abort_when", &rules.abort_when)? {
        return Ok(TryDecision { verdict: TryVerdict::Abort(AbortCause::When), transient: false });
    }
    // Evaluated even if no retry is left: an error that may go away is reported as `transient`.
    let transient =
        facts.retryable_by_itself() || facts.matches(&retry.on) || holds("retry_when", &rules.retry_when)?;
    let verdict = if transient && facts.retries_left {
        TryVerdict::Retry
    } else if facts.matches(&rules.ignore_on) || holds("ignore_when", &rules.ignore_when)? {
        TryVerdict::Ignore
    } else if facts.matches(&rules.accept_on) {
        TryVerdict::Success
    } else {
        match facts.failure {
            None => TryVerdict::Success,
            Some(_) => TryVerdict::Fail,
        }
    };
    Ok(TryDecision { verdict, transient })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchid_plan::StatusClass;

    const RETRIES_LEFT: bool = true;

    fn status(status: u16, retries_left: bool) -> TryFacts {
        let failure = (!(200..300).contains(&status)).then_some(TryFailure::Status);
        TryFacts { status: Some(status), failure, retries_left }
    }

    fn fetch(kind: FetchErrorKind, retries_left: bool) -> TryFacts {
        TryFacts { status: None, failure: Some(TryFailure::Fetch(kind)), retries_left }
    }

    fn decide_by(rules: &OutcomeRules, facts: &TryFacts) -> TryDecision {
        let mut ask = |_: &'static str, _: &Expr| Err(());
        decide(rules, &RetryPolicy::default(), facts, &mut ask).expect("no condition is asked")
    }

    #[test]
    fn response_decides_without_rules() {
        let rules = OutcomeRules::default();
        let cases = [
            (status(200, RETRIES_LEFT), TryVerdict::Success, ErrorClass::Permanent),
            (status(304, RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Permanent),
            (status(404, RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Permanent),
            (status(408, RETRIES_LEFT), TryVerdict::Retry, ErrorClass::Transient),
            (status(425, !RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Transient),
            (status(429, RETRIES_LEFT), TryVerdict::Retry, ErrorClass::RateLimit),
            (status(429, !RETRIES_LEFT), TryVerdict::Fail, ErrorClass::RateLimit),
            (status(599, !RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Transient),
            (fetch(FetchErrorKind::Timeout, RETRIES_LEFT), TryVerdict::Retry, ErrorClass::Transient),
            (fetch(FetchErrorKind::Tls, !RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Transient),
            (fetch(FetchErrorKind::Certificate, RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Permanent),
            (fetch(FetchErrorKind::TooLarge, RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Permanent),
            (fetch(FetchErrorKind::TooManyRedirects, RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Permanent),
            (fetch(FetchErrorKind::AddressRefused, RETRIES_LEFT), TryVerdict::Fail, ErrorClass::Config),
        ];
        for (facts, verdict, class) in cases {
            let decision = decide_by(&rules, &facts);
            assert_eq!((decision.verdict, facts.class(decision.transient)), (verdict, class), "{facts:?}");
        }
    }

    #[test]
    fn first_matching_line_wins() {
        let server_errors = || vec![OutcomeMatcher::Class(StatusClass(5))];
        let rules = |abort: bool, ignore: bool| OutcomeRules {
            abort_on: if abort { server_errors() } else { Vec::new() },
            ignore_on: if ignore { server_errors() } else { Vec::new() },
            accept_on: server_errors(),
            ..OutcomeRules::default()
        };
        let cases = [
            (rules(true, true), RETRIES_LEFT, TryVerdict::Abort(AbortCause::On)),
            (rules(false, true), RETRIES_LEFT, TryVerdict::Retry),
            (rules(false, true), !RETRIES_LEFT, TryVerdict::Ignore),
            (rules(false, false), !RETRIES_LEFT, TryVerdict::Success),
        ];
        for (rules, retries_left, verdict) in cases {
            assert_eq!(decide_by(&rules, &status(503, retries_left)).verdict, verdict);
        }
    }

    #[test]
    fn code_matches_without_status() {
        let rules = OutcomeRules {
            ignore_on: vec![
                OutcomeMatcher::Code("TOO_LARGE".to_owned()),
                OutcomeMatcher::Code("DECODE".to_owned()),
            ],
            ..OutcomeRules::default()
        };
        assert_eq!(
            decide_by(&rules, &fetch(FetchErrorKind::TooLarge, RETRIES_LEFT)).verdict,
            TryVerdict::Ignore
        );
        let decode = TryFacts {
            status: Some(200),
            failure: Some(TryFailure::Decode("DECODE")),
            retries_left: RETRIES_LEFT,
        };
        assert_eq!(decide_by(&rules, &decode).verdict, TryVerdict::Ignore);
    }
}
