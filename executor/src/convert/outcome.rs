//! Results of single report items, from the wire.

use orchid_proto::executor::v1 as wire;

/// The control plane's decision on one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Applied now, or earlier by the same call.
    Accepted,
    /// The lease no longer belongs to this attempt. Holds the reason, for the log.
    LeaseLost(&'static str),
    /// The report itself is invalid; repeating it does not help. Holds the detail.
    Invalid(String),
}

impl From<wire::ItemResult> for ReportOutcome {
    fn from(result: wire::ItemResult) -> Self {
        let status = result.status();
        let wire::ItemResult { lease_id: _, status: _, detail } = result;
        match status {
            wire::LeaseStatus::Ok => Self::Accepted,
            wire::LeaseStatus::Invalid => Self::Invalid(detail),
            wire::LeaseStatus::Unspecified => {
                Self::Invalid("the control plane returned no status".to_owned())
            }
            wire::LeaseStatus::LeaseLost
            | wire::LeaseStatus::Fenced
            | wire::LeaseStatus::ExecutionTerminal
            | wire::LeaseStatus::AlreadyLeased
            | wire::LeaseStatus::NotReady
            | wire::LeaseStatus::BadToken => Self::LeaseLost(status.as_str_name()),
        }
    }
}
