//! What the control plane says of one item of a call.

use orchid_proto::executor::v1 as wire;

/// What became of one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or done before by the same call.
    Accepted,
    /// The lease is not this attempt's any more; why, for the log.
    Lost(&'static str),
    /// The report itself is wrong; sending it again does not help.
    Invalid(String),
}

impl From<wire::ItemResult> for Verdict {
    fn from(result: wire::ItemResult) -> Verdict {
        let verdict = result.verdict();
        let wire::ItemResult { lease_id: _, verdict: _, detail } = result;
        match verdict {
            wire::Verdict::Ok => Verdict::Accepted,
            wire::Verdict::Invalid => Verdict::Invalid(detail),
            wire::Verdict::Unspecified => Verdict::Invalid("the control plane gave no verdict".to_owned()),
            wire::Verdict::LeaseLost
            | wire::Verdict::Fenced
            | wire::Verdict::ExecutionTerminal
            | wire::Verdict::AlreadyLeased
            | wire::Verdict::NotReady
            | wire::Verdict::BadToken => Verdict::Lost(verdict.as_str_name()),
        }
    }
}
