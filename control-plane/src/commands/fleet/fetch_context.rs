//! Context and cursors of a leased run, where they were too large for its grant.

use orchid_domain::lease::{ClaimVerdict, LeaseRefusal, judge_claim};
use uuid::Uuid;

use super::acquire::{PersistentState, kept_of};
use super::{Fleet, FleetError, GroupTransaction, LeaseToken, Session};
use crate::store::db::Tx;
use crate::store::fleet::runs::{self, LockWait, LockedExecution};

/// Every field, every cursor.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    lease_token: &[u8],
) -> Result<PersistentState, FleetError> {
    let token =
        LeaseToken::open(&fleet.sealer, lease_token, session.id).map_err(|_| LeaseRefusal::LeaseLost)?;
    let done = fleet.placement.run(&Read, vec![token]).await?;
    done.into_iter().next().ok_or_else(|| LeaseRefusal::LeaseLost.into())
}

struct Read;

impl GroupTransaction for Read {
    type Item = LeaseToken;
    type Output = PersistentState;
    type Error = FleetError;

    fn tenant(item: &LeaseToken) -> Uuid {
        item.key.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[LeaseToken]) -> Result<PersistentState, FleetError> {
        let Some(token) = items.first() else { return Err(LeaseRefusal::LeaseLost.into()) };
        let run = runs::lock(tx, &[token.key], LockWait::Wait).await?.pop();
        match (judge_claim(&token.claim(), run.as_ref().map(LockedExecution::holder).as_ref()), run) {
            (ClaimVerdict::Held, Some(run)) => Ok(kept_of(tx, &run).await?),
            (ClaimVerdict::Refused(refusal), _) => Err(refusal.into()),
            (ClaimVerdict::Held | ClaimVerdict::Repeated, _) => Err(LeaseRefusal::LeaseLost.into()),
        }
    }
}
