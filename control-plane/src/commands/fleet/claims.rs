//! Verdicts: what became of one lease in a call.

use orchid_domain::lease::{ClaimVerdict, LeaseRefusal};
use uuid::Uuid;

use super::LeaseToken;
use crate::keys::TokenSealer;

/// What became of one lease in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseVerdict {
    /// Done, or done before by the same call.
    Ok,
    /// The claim does not hold.
    Refused(LeaseRefusal),
    /// The token does not open.
    BadToken,
    /// The call was wrong for this lease, and stays so.
    Invalid(String),
}

impl From<ClaimVerdict> for LeaseVerdict {
    fn from(standing: ClaimVerdict) -> Self {
        match standing {
            ClaimVerdict::Held | ClaimVerdict::Repeated => Self::Ok,
            ClaimVerdict::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// The answer to one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseResult {
    /// The lease; none where the token did not open.
    pub lease_id: Option<Uuid>,
    /// What became of it.
    pub verdict: LeaseVerdict,
}

/// Items of a call whose tokens opened, each with its place in the call.
#[derive(Clone, Debug)]
pub(super) struct OpenedItem<T> {
    /// Its place in the call.
    pub(super) index: usize,
    /// What its token says.
    pub(super) token: LeaseToken,
    /// The rest of it.
    pub(super) item: T,
}

/// The answers to a batch, in the order of the call.
pub(super) struct LeaseResults(Vec<LeaseResult>);

impl LeaseResults {
    /// Opens each token; items with one that does not open, or that are wrong in themselves, are answered already.
    pub(super) fn open<T>(
        sealer: &TokenSealer,
        session_id: Uuid,
        items: Vec<(Vec<u8>, T)>,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> (Self, Vec<OpenedItem<T>>) {
        let mut results = Vec::with_capacity(items.len());
        let mut opened = Vec::with_capacity(items.len());
        for (index, (token, item)) in items.into_iter().enumerate() {
            let Ok(token) = LeaseToken::open(sealer, &token, session_id) else {
                results.push(LeaseResult { lease_id: None, verdict: LeaseVerdict::BadToken });
                continue;
            };
            let lease_id = Some(token.lease_id);
            match check(&item) {
                // Overwritten once its group is done; a run of a tenant that is gone keeps it.
                Ok(()) => {
                    results.push(LeaseResult {
                        lease_id,
                        verdict: LeaseVerdict::Refused(LeaseRefusal::LeaseLost),
                    });
                    opened.push(OpenedItem { index, token, item });
                }
                Err(why) => results.push(LeaseResult { lease_id, verdict: LeaseVerdict::Invalid(why) }),
            }
        }
        (Self(results), opened)
    }

    /// Notes the verdicts of a group.
    pub(super) fn note(&mut self, verdicts: impl IntoIterator<Item = (usize, LeaseVerdict)>) {
        for (index, verdict) in verdicts {
            if let Some(result) = self.0.get_mut(index) {
                result.verdict = verdict;
            }
        }
    }

    /// All answers.
    pub(super) fn into_vec(self) -> Vec<LeaseResult> {
        self.0
    }
}
