//! The order in which ready executions start.

use orchid_domain::TenantId;
use orchid_domain::fairness::{self, WaitingItem};
use uuid::Uuid;

use crate::store::fleet::ready::ReadyCandidate;
use crate::store::keys::ExecutionKey;

/// Returns the first `slots` candidates in the order in which they shall start. `held` counts what
/// each tenant has running or announced already.
pub(crate) fn fair_order(
    candidates: Vec<ReadyCandidate>,
    held: &[(Uuid, i64)],
    slots: usize,
) -> Vec<ExecutionKey> {
    let held = held
        .iter()
        .map(|(tenant, count)| (TenantId(*tenant), u32::try_from(*count).unwrap_or(u32::MAX)))
        .collect();
    let waiting = candidates.into_iter().map(|candidate| WaitingItem {
        tenant: TenantId(candidate.tenant_id),
        weight: u32::try_from(candidate.weight).unwrap_or(1),
        priority: u8::try_from(candidate.priority).unwrap_or(0),
        seq: candidate.seq,
        item: candidate.key(),
    });
    fairness::order(waiting.collect(), &held, slots).into_iter().map(|waiting| waiting.item).collect()
}
