//! What the answer to a try means: the outcome table, decided as a value.
//!
//! In: the step's rules, the facts of the try, and a way to ask a condition. Out: a [`TryVerdict`]; nothing is performed.

use orchid_plan::{Expr, OutcomeMatcher, OutcomeRules, RetryPolicy};

use crate::error::ErrorClass;
use crate::input::FetchErrorKind;

/// What stands against taking an answer as a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TryFailure {
    /// No whole answer came.
    Fetch(FetchErrorKind),
    /// A status that is no success.
    Status,
    /// A 2xx whose body is not what it is taken for, with the code of that.
    Decode(&'static str),
}

/// The facts of a try that the table looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TryFacts {
    /// The status, where the head of an answer came.
    pub(crate) status: Option<u16>,
    /// None for a 2xx that reads.
    pub(crate) failure: Option<TryFailure>,
    /// Tries that may still follow in this pass.
    pub(crate) retries_left: bool,
}

/// Which line of the table matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TryVerdict {
    /// Line 1: the run ends `aborted`.
    Abort(AbortCause),
    /// Line 2: wait, and again.
    Retry,
    /// Line 4: reported, and passed over.
    Ignore,
    /// Lines 5 and 6.
    Success,
    /// Line 7.
    Fail,
}

/// What asked for the run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AbortCause {
    On,
    When,
}

/// A verdict, and whether the failure is of the kind that may pass: it decides the class of an error.
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

    /// Whether line 2 names it by itself, whatever the plan says.
    fn passes_by_itself(self) -> bool {
        match self {
            TryFailure::Fetch(kind) => match kind {
                FetchErrorKind::Timeout
                | FetchErrorKind::Dns
                | FetchErrorKind::Connect
                | FetchErrorKind::Tls
                | FetchErrorKind::Broken => true,
                FetchErrorKind::TooLarge
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

    fn retryable_by_itself(&self) -> bool {
        self.failure.is_some_and(TryFailure::passes_by_itself)
            || self.status.is_some_and(|status| matches!(status, 408 | 425 | 429 | 500..=599))
    }

    /// The class of the error that this try would be.
    pub(crate) fn class(&self, transient: bool) -> ErrorClass {
        match self.failure {
            Some(TryFailure::Fetch(
                FetchErrorKind::HostNotAllowed
                | FetchErrorKind::AddressRefused
                | FetchErrorKind::InvalidRequest,
            )) => ErrorClass::Config,
            // What the plan takes for its rows is no list.
            Some(TryFailure::Decode("EXPRESSION")) => ErrorClass::Config,
            _ if self.status == Some(429) => ErrorClass::RateLimit,
            _ if transient => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        }
    }
}

/// The first line that matches. `ask` evaluates a condition, named by its field, on the answer; it is not called for a try without one
/// (conditions look at an answer), and not for lines after the one that matched. Its error ends the decision.
pub(crate) fn decide<E>(
    rules: &OutcomeRules,
    retry: &RetryPolicy,
    facts: &TryFacts,
    ask: &mut dyn FnMut(&'static str, &Expr) -> Result<bool, E>,
) -> Result<TryDecision, E> {
    let answered = !matches!(facts.failure, Some(TryFailure::Fetch(_)));
    let mut holds = |field: &'static str, expr: &Option<Expr>| match expr {
        Some(expr) if answered => ask(field, expr),
        Some(_) | None => Ok(false),
    };

    if facts.matches(&rules.abort_on) {
        return Ok(TryDecision { verdict: TryVerdict::Abort(AbortCause::On), transient: false });
    }
    if holds("abort_when", &rules.abort_when)? {
        return Ok(TryDecision { verdict: TryVerdict::Abort(AbortCause::When), transient: false });
    }
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
    fn without_rules_the_answer_itself_decides() {
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
    fn the_first_line_that_matches_wins() {
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
    fn codes_match_where_there_is_no_status() {
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
