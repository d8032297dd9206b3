//! Fair order of work: round robin over tenants by weight (stride scheduling), and inside a tenant
//! by priority, then age.
//!
//! The tenant that holds least for its weight is first. What a tenant holds counts as turns it has
//! had, so that a tenant with thousands of queued executions waits behind one with none running,
//! whichever replica decides.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use crate::TenantId;

/// An item that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingItem<T> {
    /// The tenant.
    pub tenant: TenantId,
    /// Share of the tenant against other tenants, at least 1.
    pub weight: u32,
    /// Priority inside the tenant; higher starts first.
    pub priority: u8,
    /// Time since which it waits; lower starts first.
    pub seq: i64,
    /// The item.
    pub item: T,
}

/// Cost of one turn of a tenant of weight 1. Weights reach 1000, so the division keeps three
/// digits.
const STRIDE: u64 = 1_000_000;

/// Returns the first `slots` items in the order in which they shall start. `held` counts the
/// executions that each tenant has running or announced.
pub fn order<T>(
    waiting: Vec<WaitingItem<T>>,
    held: &HashMap<TenantId, u32>,
    slots: usize,
) -> Vec<WaitingItem<T>> {
    let mut tenants: BTreeMap<TenantId, VecDeque<WaitingItem<T>>> = BTreeMap::new();
    for item in waiting {
        tenants.entry(item.tenant).or_default().push_back(item);
    }
    let mut turns = BinaryHeap::new();
    for (tenant, queue) in &mut tenants {
        queue.make_contiguous().sort_by_key(|item| (Reverse(item.priority), item.seq));
        let stride = queue.front().map_or(STRIDE, |item| STRIDE / u64::from(item.weight.max(1)));
        // Held executions count as turns that the tenant has had already.
        let had = u64::from(held.get(tenant).copied().unwrap_or(0));
        turns.push(Reverse((had * stride, *tenant, stride)));
    }
    let mut ordered = Vec::new();
    while ordered.len() < slots
        && let Some(Reverse((had, tenant, stride))) = turns.pop()
    {
        let Some(queue) = tenants.get_mut(&tenant) else { continue };
        ordered.extend(queue.pop_front());
        if !queue.is_empty() {
            turns.push(Reverse((had + stride, tenant, stride)));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use uuid::Uuid;

    use super::{WaitingItem, order};
    use crate::TenantId;

    fn tenant(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    fn waiting(number: u128, weight: u32, priority: u8, seq: i64) -> WaitingItem<i64> {
        WaitingItem { tenant: tenant(number), weight, priority, seq, item: seq }
    }

    fn tenants_of(ordered: &[WaitingItem<i64>]) -> Vec<u128> {
        ordered.iter().map(|entry| entry.tenant.0.as_u128()).collect()
    }

    #[test]
    fn quiet_tenant_starts_before_a_queue_of_thousands() {
        let mut work: Vec<_> = (0..5000).map(|seq| waiting(1, 100, 9, seq)).collect();
        work.push(waiting(2, 100, 0, 9999));
        let held = HashMap::from([(tenant(1), 40)]);
        assert_eq!(tenants_of(&order(work, &held, 3)), [2, 1, 1]);
    }

    #[test]
    fn tenant_order_is_priority_then_age() {
        let work = vec![waiting(1, 100, 5, 3), waiting(1, 100, 5, 1), waiting(1, 100, 9, 7)];
        let seqs: Vec<i64> = order(work, &HashMap::new(), 9).iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [7, 1, 3]);
    }

    #[test]
    fn turns_follow_weights() {
        let work = (0..30).flat_map(|seq| [waiting(1, 200, 5, seq), waiting(2, 100, 5, seq)]).collect();
        let ordered = order(work, &HashMap::new(), 15);
        assert_eq!(tenants_of(&ordered).iter().filter(|number| **number == 1).count(), 10);
    }

    proptest! {
        #[test]
        fn order_is_bounded_by_slots_without_duplicates(
            work in vec((1..5_u128, 1..1000_u32, 0..10_u8, 0..1000_i64), 0..60), slots in 0..40_usize,
        ) {
            let work: Vec<_> = work.iter().enumerate().map(|(item, (number, _, priority, seq))| WaitingItem {
                tenant: tenant(*number), weight: 100, priority: *priority, seq: *seq, item,
            }).collect();
            let ordered = order(work.clone(), &HashMap::new(), slots);
            prop_assert_eq!(ordered.len(), slots.min(work.len()));
            let mut items: Vec<_> = ordered.iter().map(|entry| entry.item).collect();
            items.sort_unstable();
            items.dedup();
            prop_assert_eq!(items.len(), ordered.len());
        }

        #[test]
        fn equal_tenants_differ_by_one_turn_at_most(counts in vec(1..40_usize, 2..6), slots in 1..60_usize) {
            let work: Vec<_> = counts.iter().enumerate().flat_map(|(number, count)| {
                (0..*count).map(move |seq| waiting(number as u128, 100, 5, seq as i64))
            }).collect();
            let ordered = tenants_of(&order(work, &HashMap::new(), slots));
            let served = |number: usize| ordered.iter().filter(|served| **served == number as u128).count();
            for (number, count) in counts.iter().enumerate() {
                for (other, _) in counts.iter().enumerate() {
                    prop_assert!(served(number) == *count || served(number) + 1 >= served(other));
                }
            }
        }
    }
}
