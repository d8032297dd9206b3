//! Returns context and cursors of a leased execution, when they were too large for its grant.

use orchid_domain::lease::{ClaimVerdict, LeaseRefusal, judge_claim};
use uuid::Uuid;

use super::acquire::grant::PersistentState;
use super::acquire::material::read_persistent_state;
use super::error::FleetError;
use super::lease_token::LeaseToken;
use super::placement::{GroupResults, GroupTransaction};
use super::resources::Fleet;
use super::session::Session;
use crate::keys::MasterKeys;
use crate::store::db::Tx;
use crate::store::executions::locked::{self, LockWait, LockedExecution};

/// Reads every context field and every cursor.
///
/// # Errors
/// The session does not hold the lease, or the database fails.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    lease_token: &[u8],
) -> Result<PersistentState, FleetError> {
    let token =
        LeaseToken::open(&fleet.sealer, lease_token, session.id).map_err(|_| LeaseRefusal::LeaseLost)?;
    let read = ReadPersistentState { master_keys: &fleet.master_keys };
    let GroupResults { outputs, failed } = fleet.placement.run_each(&read, vec![token]).await?;
    if let Some((_, error)) = failed.into_iter().next() {
        return Err(error);
    }
    // No group ran when the tenant is gone.
    outputs.into_iter().next().ok_or_else(|| LeaseRefusal::LeaseLost.into())
}

struct ReadPersistentState<'a> {
    master_keys: &'a MasterKeys,
}

impl GroupTransaction for ReadPersistentState<'_> {
    type Item = LeaseToken;
    type Output = PersistentState;

    fn tenant(item: &LeaseToken) -> Uuid {
        item.key.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[LeaseToken]) -> Result<PersistentState, FleetError> {
        let Some(token) = items.first() else { return Err(LeaseRefusal::LeaseLost.into()) };
        // The lock holds back the call that would end the attempt, and so a newer attempt's writes.
        let execution = locked::lock(tx, &[token.key], LockWait::Wait).await?.pop();
        let holder = execution.as_ref().map(LockedExecution::holder);
        match (judge_claim(&token.claim(), holder.as_ref()), execution) {
            (ClaimVerdict::Held, Some(execution)) => {
                Ok(read_persistent_state(tx, &execution, self.master_keys).await?)
            }
            (ClaimVerdict::Refused(refusal), _) => Err(refusal.into()),
            (ClaimVerdict::Held | ClaimVerdict::Repeated, _) => Err(LeaseRefusal::LeaseLost.into()),
        }
    }
}
