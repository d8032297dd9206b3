//! Verdicts: what became of one lease in a call.

use orchid_domain::lease::{Refusal, Standing};
use uuid::Uuid;

use super::LeaseToken;
use crate::keys::Sealer;

/// What became of one lease in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or done before by the same call.
    Ok,
    /// The claim does not hold.
    Refused(Refusal),
    /// The token does not open.
    BadToken,
    /// The call was wrong for this lease, and stays so.
    Invalid(String),
}

impl From<Standing> for Verdict {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Held | Standing::Repeated => Self::Ok,
            Standing::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// The answer to one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemResult {
    /// The lease; none where the token did not open.
    pub lease_id: Option<Uuid>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Items of a call whose tokens opened, each with its place in the call.
#[derive(Clone, Debug)]
pub(super) struct Opened<T> {
    /// Its place in the call.
    pub(super) index: usize,
    /// What its token says.
    pub(super) token: LeaseToken,
    /// The rest of it.
    pub(super) item: T,
}

/// The answers to a batch, in the order of the call.
pub(super) struct Results(Vec<ItemResult>);

impl Results {
    /// Opens each token; items with one that does not open, or that are wrong in themselves, are answered already.
    pub(super) fn open<T>(
        sealer: &Sealer,
        session_id: Uuid,
        items: Vec<(Vec<u8>, T)>,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> (Self, Vec<Opened<T>>) {
        let mut results = Vec::with_capacity(items.len());
        let mut opened = Vec::with_capacity(items.len());
        for (index, (token, item)) in items.into_iter().enumerate() {
            let Ok(token) = LeaseToken::open(sealer, &token, session_id) else {
                results.push(ItemResult { lease_id: None, verdict: Verdict::BadToken });
                continue;
            };
            let lease_id = Some(token.lease_id);
            match check(&item) {
                // Overwritten once its group is done; a run of a tenant that is gone keeps it.
                Ok(()) => {
                    results.push(ItemResult { lease_id, verdict: Verdict::Refused(Refusal::LeaseLost) });
                    opened.push(Opened { index, token, item });
                }
                Err(why) => results.push(ItemResult { lease_id, verdict: Verdict::Invalid(why) }),
            }
        }
        (Self(results), opened)
    }

    /// Notes the verdicts of a group.
    pub(super) fn note(&mut self, verdicts: impl IntoIterator<Item = (usize, Verdict)>) {
        for (index, verdict) in verdicts {
            if let Some(result) = self.0.get_mut(index) {
                result.verdict = verdict;
            }
        }
    }

    /// All answers.
    pub(super) fn into_vec(self) -> Vec<ItemResult> {
        self.0
    }
}
