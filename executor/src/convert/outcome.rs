//! Results of single report items, from the wire.

use orchid_proto::executor::v1 as wire;

/// The control plane's decision on one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Applied now, or earlier by the same call.
    Accepted,
    /// The lease no longer belongs to this attempt. Holds the reason, for the log.
    LeaseLost(&'static str),
    /// The report itself is invalid; repeating it does not help.
    Invalid(InvalidReport),
}

/// The reason why a report is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidReport {
    /// Code of the limit that the execution exceeds; `None` if Orchid itself is to blame.
    pub limit_code: Option<String>,
    /// Description for people.
    pub detail: String,
}

impl InvalidReport {
    /// Creates the reason of a report that the control plane did not understand.
    pub fn unreadable(detail: String) -> Self {
        Self { limit_code: None, detail }
    }
}

impl From<wire::ItemResult> for ReportOutcome {
    fn from(result: wire::ItemResult) -> Self {
        let status = result.status();
        let wire::ItemResult { lease_id: _, status: _, detail, limit_code } = result;
        match status {
            wire::LeaseStatus::Ok => Self::Accepted,
            wire::LeaseStatus::Invalid => {
                let limit_code = (!limit_code.is_empty()).then_some(limit_code);
                Self::Invalid(InvalidReport { limit_code, detail })
            }
            wire::LeaseStatus::Unspecified => {
                Self::Invalid(InvalidReport::unreadable("the control plane returned no status".to_owned()))
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
