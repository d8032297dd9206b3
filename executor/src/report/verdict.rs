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
        let verdict = result.status();
        let wire::ItemResult { lease_id: _, status: _, detail } = result;
        match verdict {
            wire::LeaseStatus::Ok => Verdict::Accepted,
            wire::LeaseStatus::Invalid => Verdict::Invalid(detail),
            wire::LeaseStatus::Unspecified => {
                Verdict::Invalid("the control plane gave no verdict".to_owned())
            }
            wire::LeaseStatus::LeaseLost
            | wire::LeaseStatus::Fenced
            | wire::LeaseStatus::ExecutionTerminal
            | wire::LeaseStatus::AlreadyLeased
            | wire::LeaseStatus::NotReady
            | wire::LeaseStatus::BadToken => Verdict::Lost(verdict.as_str_name()),
        }
    }
}
