//! The rules of a step that classify responses and errors.

use crate::Expr;

/// `abort_on`, `ignore_on`, `accept_on`, `abort_when`, `ignore_when` and `retry_when`.
#[derive(Clone, Debug, Default)]
pub struct OutcomeRules {
    /// Responses and errors that abort the execution.
    pub abort_on: Vec<OutcomeMatcher>,
    /// Condition on a response that aborts the execution.
    pub abort_when: Option<Expr>,
    /// Responses and errors that are reported as errors and skipped; the execution goes on.
    pub ignore_on: Vec<OutcomeMatcher>,
    /// Condition on a response that is reported and skipped.
    pub ignore_when: Option<Expr>,
    /// Responses that count as a success despite their status.
    pub accept_on: Vec<OutcomeMatcher>,
    /// Condition on a response after which the request is retried. Statuses are listed in
    /// [`crate::RetryPolicy::on`].
    pub retry_when: Option<Expr>,
}

/// One entry of an `…_on` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeMatcher {
    /// One status.
    Status(u16),
    /// All statuses of a class, such as `5xx`.
    Class(StatusClass),
    /// An error code, such as `TOO_LARGE` or `TIMEOUT`.
    Code(String),
}

/// A class of statuses, by its first digit: 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusClass(pub u8);

impl OutcomeMatcher {
    /// Returns whether the status of a response or the code of an error matches.
    #[must_use]
    pub fn matches(&self, status: Option<u16>, code: Option<&str>) -> bool {
        match self {
            Self::Status(wanted) => status == Some(*wanted),
            Self::Class(StatusClass(digit)) => status.is_some_and(|status| status / 100 == u16::from(*digit)),
            Self::Code(wanted) => code == Some(wanted.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matcher_ignores_other_kinds() {
        let cases = [
            (OutcomeMatcher::Status(404), Some(404), None, true),
            (OutcomeMatcher::Status(404), Some(405), None, false),
            (OutcomeMatcher::Class(StatusClass(5)), Some(503), None, true),
            (OutcomeMatcher::Class(StatusClass(5)), Some(404), None, false),
            (OutcomeMatcher::Class(StatusClass(5)), None, Some("TIMEOUT"), false),
            (OutcomeMatcher::Code("TIMEOUT".into()), None, Some("TIMEOUT"), true),
            (OutcomeMatcher::Code("TOO_LARGE".into()), Some(200), Some("TOO_LARGE"), true),
            (OutcomeMatcher::Code("TIMEOUT".into()), Some(200), None, false),
        ];
        for (matcher, status, code, expected) in cases {
            assert_eq!(matcher.matches(status, code), expected, "{matcher:?} {status:?} {code:?}");
        }
    }
}
