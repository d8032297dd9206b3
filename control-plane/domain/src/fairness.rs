//! Fair order of tenants: weighted turns (stride scheduling), bounded by each tenant's share of the
//! slots.
//!
//! Two rules decide who is next:
//!
//! 1. A tenant that holds its share of the pool's slots comes after all that do not. The share
//!    follows the weights of the tenants that wait. So a tenant with long executions does not fill
//!    a pool, and a free slot is never kept from work.
//! 2. Among the others, the tenant with the earliest next turn is first. A turn moves a tenant's
//!    next one away by a stride that is inverse to its weight, so that grants follow the weights,
//!    also where tenants outnumber slots and most hold nothing.
//!
//! Turns are kept in memory, for each replica on its own. Each replica is fair in what it starts,
//! and so all of them are together. A restart costs one round.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::TenantId;

/// Stride of a tenant of weight 1. Weights reach 1000, so the division keeps three digits.
const STRIDE: u64 = 1_000_000;
/// Maximum turns that a tenant can be behind, and so catch up at once.
const MAX_LAG_TURNS: u64 = 4;
/// Turns remembered in addition to those of the tenants that wait.
const MAX_ABSENT: usize = 1024;
/// Fraction of the golden ratio in units of 2⁻³². Its multiples are spread evenly over a unit,
/// however many there are.
const GOLDEN: u64 = 2_654_435_769;

/// A tenant with work that can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// Share of the tenant against other tenants, at least 1.
    pub weight: u32,
}

impl WaitingTenant {
    fn stride(&self) -> u64 {
        STRIDE / u64::from(self.weight.max(1))
    }
}

/// The slots of a pool.
#[derive(Clone, Debug, Default)]
pub struct PoolSlots {
    /// All slots, taken and free.
    pub total: usize,
    /// Slots that each tenant holds, by executions that run or are announced.
    pub held: HashMap<TenantId, usize>,
}

impl PoolSlots {
    fn held_by(&self, tenant: TenantId) -> usize {
        self.held.get(&tenant).copied().unwrap_or(0)
    }
}

/// The turns that tenants of one pool have had.
#[derive(Clone, Debug, Default)]
pub struct TenantTurns {
    /// Virtual time: the turn of the tenant that was chosen last.
    now: u64,
    /// Virtual time of each tenant's next turn.
    next: HashMap<TenantId, u64>,
    /// Tenants that were new, by weight.
    newcomers: HashMap<u32, u64>,
    /// The tenant that was chosen last. Ties go on behind it.
    last: Option<TenantId>,
}

/// The place of a tenant in the order. Lower is first.
type TurnKey = (bool, u64, bool, TenantId, usize);

impl TenantTurns {
    /// Returns the tenants whose turns the next `turns` free slots are, in order, and counts each
    /// as a turn taken. A tenant may come several times. `slots` counts the chosen turns as held.
    pub fn choose(
        &mut self,
        waiting: &[WaitingTenant],
        slots: &mut PoolSlots,
        turns: usize,
    ) -> Vec<WaitingTenant> {
        self.forget_absent(waiting.len());
        let weights: u64 = waiting.iter().map(|tenant| u64::from(tenant.weight.max(1))).sum();
        let mut order: BinaryHeap<Reverse<TurnKey>> = BinaryHeap::with_capacity(waiting.len());
        for (index, tenant) in waiting.iter().enumerate() {
            order.push(Reverse(self.key(tenant, index, slots, weights)));
        }
        let mut chosen = Vec::new();
        while chosen.len() < turns
            && let Some(Reverse((_, turn, _, id, index))) = order.pop()
            && let Some(tenant) = waiting.get(index)
        {
            self.now = self.now.max(turn);
            self.next.insert(id, turn + tenant.stride());
            self.last = Some(id);
            *slots.held.entry(id).or_default() += 1;
            chosen.push(*tenant);
            order.push(Reverse(self.key(tenant, index, slots, weights)));
        }
        chosen
    }

    /// Gives back turns of a tenant whose executions could not be started after all.
    pub fn give_back(&mut self, tenant: &WaitingTenant, turns: usize) {
        if let Some(next) = self.next.get_mut(&tenant.tenant) {
            *next = next.saturating_sub(turns as u64 * tenant.stride());
            // What has not happened has not taken any time. Otherwise tenants would seem to be
            // behind, and those with small strides would lose more than others.
            self.now = self.now.min(*next);
        }
    }

    fn key(&mut self, tenant: &WaitingTenant, index: usize, slots: &PoolSlots, weights: u64) -> TurnKey {
        let id = tenant.tenant;
        let share = (slots.total as u64 * u64::from(tenant.weight.max(1))).div_ceil(weights.max(1));
        let holds_its_share = slots.held_by(id) as u64 >= share;
        (holds_its_share, self.next_turn(tenant), Some(id) <= self.last, id, index)
    }

    /// Returns the next turn of a tenant.
    fn next_turn(&mut self, tenant: &WaitingTenant) -> u64 {
        let (now, stride) = (self.now, tenant.stride());
        let newcomers = &mut self.newcomers;
        let next = self.next.entry(tenant.tenant).or_insert_with(|| {
            // The first turns of a crowd lie within one stride, evenly. If all were due at once,
            // every tenant would have one turn before any weight counts.
            let number = newcomers.entry(tenant.weight).or_default();
            *number += 1;
            now + (((number.wrapping_mul(GOLDEN) & u64::from(u32::MAX)) * stride) >> 32)
        });
        *next = (*next).max(now.saturating_sub(MAX_LAG_TURNS * stride));
        *next
    }

    /// Forgets tenants whose turn has passed while they had no work, once there are many.
    fn forget_absent(&mut self, waiting: usize) {
        if self.next.len() > 2 * waiting + MAX_ABSENT {
            let now = self.now;
            self.next.retain(|_, next| *next > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use uuid::Uuid;

    use super::{PoolSlots, TenantTurns, WaitingTenant};
    use crate::TenantId;

    fn waiting(number: u128, weight: u32) -> WaitingTenant {
        WaitingTenant { tenant: TenantId(Uuid::from_u128(number)), weight }
    }

    fn tenants(weights: &[u32]) -> Vec<WaitingTenant> {
        weights.iter().zip(1..).map(|(weight, number)| waiting(number, *weight)).collect()
    }

    /// Keeps a pool saturated: each execution takes the same time, and `batch` slots become free at
    /// once. Returns the grants of each tenant.
    fn saturate(weights: &[u32], total: usize, batch: usize, grants: usize) -> Vec<usize> {
        let waiting = tenants(weights);
        let mut turns = TenantTurns::default();
        let mut slots = PoolSlots { total, ..PoolSlots::default() };
        let mut running = VecDeque::new();
        let mut granted = vec![0; weights.len()];
        let mut count = 0;
        while count < grants {
            while total - running.len() < batch {
                let ended: TenantId = running.pop_front().unwrap();
                *slots.held.get_mut(&ended).unwrap() -= 1;
            }
            let free = (total - running.len()).min(batch).min(grants - count);
            for WaitingTenant { tenant, .. } in turns.choose(&waiting, &mut slots, free) {
                granted[tenant.0.as_u128() as usize - 1] += 1;
                running.push_back(tenant);
                count += 1;
            }
        }
        granted
    }

    #[test]
    fn saturated_shares_are_within_five_percent_of_the_weights() {
        for tenants in [2, 50, 5000] {
            let weights: Vec<u32> = (0..tenants).map(|number| [300, 100][number % 2]).collect();
            for (total, batch) in [(1, 1), (2, 1), (8, 1), (16, 4), (64, 16)] {
                // The heap of 5,000 tenants is built for each batch, which takes time.
                if tenants == 5000 && batch == 1 {
                    continue;
                }
                let granted = saturate(&weights, total, batch, 1000);
                let heavy: usize = granted.iter().step_by(2).sum();
                assert!((713..=787).contains(&heavy), "{heavy} of {tenants} tenants on {total} slots");
                assert!((238..=262).contains(&(1000 - heavy)), "{tenants} tenants on {total} slots");
            }
        }
    }

    #[test]
    fn each_of_fifty_tenants_gets_its_share() {
        let weights: Vec<u32> = (0..50).map(|number| [300, 100][number % 2]).collect();
        for (number, granted) in saturate(&weights, 8, 1, 1000).into_iter().enumerate() {
            let expected = if number % 2 == 0 { 29..=31 } else { 9..=11 };
            assert!(expected.contains(&granted), "tenant {number}: {granted}");
        }
    }

    #[test]
    fn quiet_tenant_comes_before_one_that_holds_its_share() {
        let tenants = tenants(&[100, 100]);
        let mut turns = TenantTurns::default();
        let mut slots = PoolSlots { total: 8, ..PoolSlots::default() };
        turns.choose(&tenants[..1], &mut slots, 8);
        assert_eq!(turns.choose(&tenants, &mut slots, 1), [tenants[1]]);
    }

    #[test]
    fn ties_go_round() {
        let tenants = tenants(&[100, 100, 100]);
        let mut turns = TenantTurns::default();
        let chosen: Vec<WaitingTenant> = (0..9)
            .flat_map(|_| turns.choose(&tenants, &mut PoolSlots { total: 1, ..PoolSlots::default() }, 1))
            .collect();
        for tenant in &tenants {
            assert_eq!(chosen.iter().filter(|chosen| *chosen == tenant).count(), 3, "{chosen:?}");
        }
    }

    #[test]
    fn turn_that_was_given_back_comes_again() {
        let tenants = tenants(&[100, 100]);
        let mut turns = TenantTurns::default();
        let mut next = || turns.choose(&tenants, &mut PoolSlots { total: 1, ..PoolSlots::default() }, 1)[0];
        let first = next();
        assert_ne!(next(), first);
        let again = next();
        assert_eq!(again, first);
        turns.give_back(&again, 1);
        assert_eq!(turns.choose(&tenants, &mut PoolSlots { total: 1, ..PoolSlots::default() }, 1), [again]);
    }

    #[test]
    fn turns_that_are_given_back_do_not_shift_the_shares() {
        let tenants = tenants(&[300, 100]);
        let mut turns = TenantTurns::default();
        let choose = |turns: &mut TenantTurns, count| {
            turns.choose(&tenants, &mut PoolSlots { total: 200, ..PoolSlots::default() }, count)
        };
        let mut heavy = 0;
        for _ in 0..500 {
            // A doorbell that cannot be rung takes turns and gives them back.
            let announced = choose(&mut turns, 100);
            heavy += choose(&mut turns, 2).into_iter().filter(|tenant| tenant.weight == 300).count();
            announced.iter().for_each(|tenant| turns.give_back(tenant, 1));
        }
        assert!((713..=787).contains(&heavy), "{heavy}");
    }

    proptest! {
        #[test]
        fn free_slots_are_never_kept_from_work(
            weights in vec(1..1000_u32, 0..20), held in vec(0..40_usize, 20), total in 0..60_usize, turns in 0..40_usize,
        ) {
            let tenants = tenants(&weights);
            let held = tenants.iter().zip(held).map(|(tenant, held)| (tenant.tenant, held)).collect();
            let chosen = TenantTurns::default().choose(&tenants, &mut PoolSlots { total, held }, turns);
            prop_assert_eq!(chosen.len(), if tenants.is_empty() { 0 } else { turns });
        }

        #[test]
        fn equal_tenants_differ_by_two_turns_at_most(count in 1..40_usize, total in 1..60_usize, grants in 1..200_usize) {
            let granted = saturate(&vec![100; count], total, 1, grants);
            let (least, most) = (granted.iter().min().unwrap(), granted.iter().max().unwrap());
            prop_assert!(most - least <= 2, "{granted:?}");
        }
    }
}
