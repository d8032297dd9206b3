//! Context and cursors of a leased run, where they were too large for its grant.

use orchid_domain::lease::{Refusal, Standing, judge};
use uuid::Uuid;

use super::acquire::{Kept, kept_of};
use super::{Fleet, FleetError, GroupWork, LeaseToken, Session};
use crate::store::db::Tx;
use crate::store::fleet::runs::{self, Busy, LockedRun};

/// Every field, every cursor.
pub async fn run(fleet: &Fleet, session: &Session, lease_token: &[u8]) -> Result<Kept, FleetError> {
    let token = LeaseToken::open(&fleet.sealer, lease_token, session.id).map_err(|_| Refusal::LeaseLost)?;
    let done = fleet.placement.run(&Read, vec![token]).await?;
    done.into_iter().next().ok_or_else(|| Refusal::LeaseLost.into())
}

struct Read;

impl GroupWork for Read {
    type Item = LeaseToken;
    type Done = Kept;
    type Fault = FleetError;

    fn tenant(item: &LeaseToken) -> Uuid {
        item.key.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[LeaseToken]) -> Result<Kept, FleetError> {
        let Some(token) = items.first() else { return Err(Refusal::LeaseLost.into()) };
        let run = runs::lock(tx, &[token.key], Busy::Wait).await?.pop();
        match (judge(&token.claim(), run.as_ref().map(LockedRun::holder).as_ref()), run) {
            (Standing::Held, Some(run)) => Ok(kept_of(tx, &run).await?),
            (Standing::Refused(refusal), _) => Err(refusal.into()),
            (Standing::Held | Standing::Repeated, _) => Err(Refusal::LeaseLost.into()),
        }
    }
}
