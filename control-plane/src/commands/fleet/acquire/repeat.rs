//! Answers a repeated acquire call: grants again what the first one was granted, without writing.

use uuid::Uuid;

use super::grant::Grant;
use super::material::{GrantCandidates, GrantMaterial};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_token::LeaseToken;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::store::db::Tx;
use crate::store::executions::locked::{self, LockWait};
use crate::store::keys::ExecutionKey;

/// A repeated call of a session.
pub(super) struct RepeatGrants<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) session_id: Uuid,
    /// SHA-256 of definitions that the executor holds.
    pub(super) known: &'a [Vec<u8>],
}

impl GroupTransaction for RepeatGrants<'_> {
    /// An execution, and the lease that the first call was granted.
    type Item = (ExecutionKey, Uuid);
    type Output = Vec<Grant>;

    fn tenant(item: &(ExecutionKey, Uuid)) -> Uuid {
        item.0.tenant_id
    }

    async fn run(&self, tx: &Tx, leased: &[(ExecutionKey, Uuid)]) -> Result<Vec<Grant>, FleetError> {
        let keys: Vec<ExecutionKey> = leased.iter().map(|(key, _)| *key).collect();
        // Waits, unlike the first grant: a lease that is left out here would never reach its
        // executor.
        let mut locked = locked::lock(tx, &keys, LockWait::Wait).await?;
        locked.retain(|execution| {
            execution.lease_id.is_some_and(|lease| leased.contains(&(execution.key, lease)))
        });
        let material = GrantMaterial::read(tx, &locked, self.known).await?;
        let GrantCandidates { ready, unstartable } =
            material.contents(tx, locked, &self.fleet.master_keys).await?;
        // Its executor never learns of such a lease, so a heartbeat returns the execution to the
        // queue, and the next grant ends it.
        for (execution, reason) in unstartable {
            tracing::error!(execution_id = %execution.key.execution_id, ?reason, "lease cannot be granted again");
        }
        let mut grants = Vec::with_capacity(ready.len());
        for (execution, contents) in ready {
            let Some(lease_id) = execution.lease_id else { continue };
            let token = LeaseToken {
                key: execution.key,
                lease_id,
                session_id: self.session_id,
                attempt: execution.attempt,
                fence: execution.fence,
            };
            grants.push(contents.into_grant(token, execution, &self.fleet.sealer)?);
        }
        Ok(grants)
    }
}
