//! The rules of a step that say what the answer to a try means.

use crate::Expr;

/// `abort_on`, `ignore_on`, `accept_on` and the three `…_when`.
#[derive(Clone, Debug, Default)]
pub struct OutcomeRules {
    /// Answers that end the run as aborted.
    pub abort_on: Vec<OutcomeMatcher>,
    /// The same, by expression.
    pub abort_when: Option<Expr>,
    /// Answers that are reported and passed over.
    pub ignore_on: Vec<OutcomeMatcher>,
    /// The same, by expression.
    pub ignore_when: Option<Expr>,
    /// Answers that are a success whatever their status.
    pub accept_on: Vec<OutcomeMatcher>,
    /// Answers that are tried again, by expression (by status: [`crate::RetryPolicy::on`]).
    pub retry_when: Option<Expr>,
}

/// One entry of an `…_on` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeMatcher {
    /// This very status.
    Status(u16),
    /// A whole class of statuses.
    Class(StatusClass),
    /// An error code, like `TOO_LARGE` or `TIMEOUT`.
    Code(String),
}

/// The first digit of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusClass(pub u8);

impl OutcomeMatcher {
    /// Whether an answer's status, or the code of a try without one, matches.
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
    fn a_matcher_takes_its_own_kind_alone() {
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
