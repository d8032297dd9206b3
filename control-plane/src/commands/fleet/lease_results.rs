//! The status of each lease in a batch call.

use orchid_domain::cursor::CursorExcess;
use orchid_domain::lease::{ClaimVerdict, LeaseRefusal};
use uuid::Uuid;

use super::error::FleetError;
use super::lease_token::LeaseToken;
use crate::keys::TokenSealer;

/// The status of one lease in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStatus {
    /// The call did its work, or the same call had done it before.
    Ok,
    /// The session does not hold the lease, or the execution does not allow the call.
    Refused(LeaseRefusal),
    /// The lease token does not open.
    BadToken,
    /// The item is invalid. Sending it again cannot help.
    Invalid(InvalidItem),
}

/// The reason why an item is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidItem {
    /// Code of the limit that it exceeds; empty if it exceeds none.
    pub limit_code: &'static str,
    /// Explanation for people.
    pub detail: String,
}

impl InvalidItem {
    /// Returns the reason of an item that no executor may send.
    pub(super) fn malformed(detail: String) -> Self {
        Self { limit_code: "", detail }
    }
}

/// The reason of an item that the database cannot store. The error itself is masked: it may quote
/// other rows.
impl From<&FleetError> for InvalidItem {
    fn from(error: &FleetError) -> Self {
        let cause = match error {
            FleetError::Store(error) => match error.sqlstate() {
                Some(state) => format!("the database refused it with SQLSTATE {state}"),
                None => "what is stored of the execution does not parse".to_owned(),
            },
            FleetError::Keys(_) => "the tenant's secrets cannot be opened".to_owned(),
            FleetError::SessionEnded
            | FleetError::Invalid(_)
            | FleetError::Refused(_)
            | FleetError::Doorbell(_) => error.to_string(),
        };
        Self::malformed(format!("the report could not be stored: {cause}"))
    }
}

impl From<CursorExcess> for InvalidItem {
    fn from(excess: CursorExcess) -> Self {
        Self { limit_code: excess.limit_code(), detail: excess.to_string() }
    }
}

impl From<ClaimVerdict> for LeaseStatus {
    fn from(verdict: ClaimVerdict) -> Self {
        match verdict {
            ClaimVerdict::Held | ClaimVerdict::Repeated => Self::Ok,
            ClaimVerdict::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// The result for one item of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseResult {
    /// The lease; none when its token does not open.
    pub lease_id: Option<Uuid>,
    /// The status.
    pub status: LeaseStatus,
}

/// An item whose lease token opened.
pub(super) struct OpenedItem<T> {
    /// Index of the item in the call.
    pub(super) index: usize,
    /// Contents of the lease token.
    pub(super) token: LeaseToken,
    /// The item without its token.
    pub(super) item: T,
}

/// The results of a call, in the order of its items.
pub(super) struct LeaseResults(Vec<LeaseResult>);

impl LeaseResults {
    /// Opens the token of each item. Items whose token does not open, and items that `check`
    /// rejects, have their result already and are not returned.
    pub(super) fn open<T>(
        sealer: &TokenSealer,
        session_id: Uuid,
        items: Vec<(Vec<u8>, T)>,
        check: impl Fn(&T) -> Result<(), InvalidItem>,
    ) -> (Self, Vec<OpenedItem<T>>) {
        let mut results = Vec::with_capacity(items.len());
        let mut opened = Vec::with_capacity(items.len());
        for (index, (token, item)) in items.into_iter().enumerate() {
            let Ok(token) = LeaseToken::open(sealer, &token, session_id) else {
                results.push(LeaseResult { lease_id: None, status: LeaseStatus::BadToken });
                continue;
            };
            let lease_id = Some(token.lease_id);
            match check(&item) {
                // The group's transaction overwrites this. It stays when the tenant is gone,
                // because then the item belongs to no group.
                Ok(()) => {
                    let status = LeaseStatus::Refused(LeaseRefusal::LeaseLost);
                    results.push(LeaseResult { lease_id, status });
                    opened.push(OpenedItem { index, token, item });
                }
                Err(why) => results.push(LeaseResult { lease_id, status: LeaseStatus::Invalid(why) }),
            }
        }
        (Self(results), opened)
    }

    /// Records the statuses of a group.
    pub(super) fn record(&mut self, statuses: impl IntoIterator<Item = (usize, LeaseStatus)>) {
        for (index, status) in statuses {
            if let Some(result) = self.0.get_mut(index) {
                result.status = status;
            }
        }
    }

    /// Records items whose transactions failed: each is invalid, whatever became of the others.
    pub(super) fn record_failed<T>(&mut self, failed: Vec<(OpenedItem<T>, FleetError)>) {
        for (OpenedItem { index, token, item: _ }, error) in failed {
            tracing::error!(
                %error,
                tenant_id = %token.key.tenant_id,
                execution_id = %token.key.execution_id,
                "report of one execution refused: it could not be stored"
            );
            self.record([(index, LeaseStatus::Invalid(InvalidItem::from(&error)))]);
        }
    }

    /// Returns all results.
    pub(super) fn into_vec(self) -> Vec<LeaseResult> {
        self.0
    }
}
