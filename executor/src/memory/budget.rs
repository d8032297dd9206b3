//! The byte budget of the process, and the accounts of its attempts.
//!
//! What is in memory is charged without waiting. New fetches wait once three quarters of the budget
//! are used, and bodies in progress are read on until all of it is. So that no two attempts can
//! wait for each other, one attempt at a time never waits: the first that would have to, until it
//! has ended or the pressure is over. The others wait in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

/// Bytes that a fetch, or the next chunk of a body, counts as before anything of it has arrived.
const RESERVED_BYTES: u64 = 16 << 10;

/// The byte budget of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<SharedBudget>);

/// The account of one attempt. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryAccount(Arc<AttemptAccount>);

#[derive(Debug)]
struct AttemptAccount {
    budget: Arc<SharedBudget>,
    id: u64,
}

/// The state that charges refer to.
#[derive(Debug)]
struct SharedBudget {
    limit: u64,
    state: Mutex<BudgetState>,
}

#[derive(Debug, Default)]
struct BudgetState {
    used: u64,
    accounts: u64,
    /// The account that never waits, while others do.
    exempt: Option<u64>,
    /// Bodies in progress that wait for their next chunk.
    reads: VecDeque<Waiter>,
    /// New fetches that wait.
    fetches: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    account: u64,
    granted: oneshot::Sender<MemoryCharge>,
}

/// Something that may have to wait for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemoryUse {
    Fetch,
    Read,
}

impl MemoryBudget {
    /// Creates a budget of this many bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(SharedBudget { limit, state: Mutex::default() }))
    }

    /// Opens the account of an attempt.
    pub fn account(&self) -> MemoryAccount {
        let mut state = self.0.lock();
        state.accounts += 1;
        MemoryAccount(Arc::new(AttemptAccount { budget: Arc::clone(&self.0), id: state.accounts }))
    }

    /// Returns the size of the budget in bytes.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Returns the charged bytes. They may exceed the limit by what one attempt needs to go on, and
    /// by what others hold already.
    pub fn used(&self) -> u64 {
        self.0.lock().used
    }

    /// Returns the number of fetches and reads that wait for memory.
    pub fn waiting(&self) -> usize {
        let state = self.0.lock();
        state.reads.len() + state.fetches.len()
    }
}

impl MemoryAccount {
    /// Returns the size of the whole budget in bytes.
    pub fn budget_limit(&self) -> u64 {
        self.0.budget.limit
    }

    /// Charges bytes that are in memory.
    pub fn charge(&self, bytes: u64) -> MemoryCharge {
        self.0.budget.add(bytes);
        MemoryCharge { budget: Arc::clone(&self.0.budget), bytes }
    }

    /// Waits until a new fetch may begin. The charge stands for what it needs before its body
    /// arrives. Cancel safe.
    pub async fn admit_fetch(&self) -> MemoryCharge {
        self.reserve(MemoryUse::Fetch).await
    }

    /// Waits until the next chunk of a body may be read. Cancel safe.
    pub async fn admit_read(&self) -> MemoryCharge {
        self.reserve(MemoryUse::Read).await
    }

    async fn reserve(&self, purpose: MemoryUse) -> MemoryCharge {
        let budget = &self.0.budget;
        let granted = {
            let mut state = budget.lock();
            if state.admits_at_once(budget.limit, purpose, self.0.id) {
                return budget.reserved(&mut state);
            }
            if state.reads.is_empty() && state.fetches.is_empty() {
                tracing::warn!(
                    used = state.used,
                    limit = budget.limit,
                    "memory.max_bytes is nearly used up: new requests wait"
                );
            }
            let (sender, granted) = oneshot::channel();
            state.queue(purpose).push_back(Waiter { account: self.0.id, granted: sender });
            granted
        };
        // The sender is only dropped after it was used: a waiter stays queued until it is granted.
        granted.await.unwrap_or_else(|_| self.charge(RESERVED_BYTES))
    }
}

/// Bytes charged to the budget; dropping it releases them.
#[derive(Debug)]
pub struct MemoryCharge {
    budget: Arc<SharedBudget>,
    bytes: u64,
}

impl MemoryCharge {
    /// Returns the charged bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes the charge to this many bytes. Never waits: what is in memory is in memory.
    pub fn set(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.budget.add(bytes - before);
        } else if bytes < before {
            self.budget.release(before - bytes);
        }
    }

    /// Moves some of the charged bytes into a charge of their own.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: Arc::clone(&self.budget), bytes }
    }

    /// Ties the charge to a buffer: it ends when the last slice of the buffer is dropped.
    pub fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(ChargedBytes { bytes, _charge: self })
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

/// A buffer with its charge.
struct ChargedBytes {
    bytes: Bytes,
    _charge: MemoryCharge,
}

impl AsRef<[u8]> for ChargedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for AttemptAccount {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        if state.exempt == Some(self.id) {
            state.exempt = None;
        }
        self.budget.grant(state);
    }
}

impl SharedBudget {
    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Charges bytes.
    fn add(&self, bytes: u64) {
        self.lock().used += bytes;
    }

    /// Releases charged bytes, and lets those continue that waited for them.
    fn release(self: &Arc<Self>, bytes: u64) {
        let mut state = self.lock();
        state.used = state.used.saturating_sub(bytes);
        self.grant(state);
    }

    fn reserved(self: &Arc<Self>, state: &mut BudgetState) -> MemoryCharge {
        state.used += RESERVED_BYTES;
        MemoryCharge { budget: Arc::clone(self), bytes: RESERVED_BYTES }
    }

    /// Lets everything continue that no longer has to wait.
    fn grant(self: &Arc<Self>, mut state: MutexGuard<'_, BudgetState>) {
        let mut unwanted = Vec::new();
        while let Some(waiter) = state.next_admitted(self.limit) {
            let charge = self.reserved(&mut state);
            // The waiting future may have been dropped.
            unwanted.extend(waiter.granted.send(charge).err());
        }
        // Dropping a charge locks the state again.
        drop(state);
        drop(unwanted);
    }
}

impl BudgetState {
    fn queue(&mut self, purpose: MemoryUse) -> &mut VecDeque<Waiter> {
        match purpose {
            MemoryUse::Fetch => &mut self.fetches,
            MemoryUse::Read => &mut self.reads,
        }
    }

    fn has_room(&self, limit: u64, purpose: MemoryUse) -> bool {
        self.used
            < match purpose {
                MemoryUse::Fetch => fetch_limit(limit),
                MemoryUse::Read => limit,
            }
    }

    /// Returns whether an account may go on without waiting. If no account is exempt from waiting,
    /// the first that would have to wait becomes it.
    fn admits_at_once(&mut self, limit: u64, purpose: MemoryUse, account: u64) -> bool {
        if self.has_room(limit, purpose) && self.queue(purpose).is_empty() {
            return true;
        }
        *self.exempt.get_or_insert(account) == account
    }

    /// Takes a waiter that may go on now.
    fn next_admitted(&mut self, limit: u64) -> Option<Waiter> {
        for purpose in [MemoryUse::Read, MemoryUse::Fetch] {
            if self.has_room(limit, purpose)
                && let Some(waiter) = self.queue(purpose).pop_front()
            {
                return Some(waiter);
            }
        }
        if self.reads.is_empty() && self.fetches.is_empty() {
            // The pressure is over: the next one may begin with another attempt.
            if self.has_room(limit, MemoryUse::Fetch) {
                self.exempt = None;
            }
            return None;
        }
        let first = || self.reads.front().or(self.fetches.front()).map(|waiter| waiter.account);
        let exempt = self.exempt.or_else(first)?;
        self.exempt = Some(exempt);
        [MemoryUse::Read, MemoryUse::Fetch].into_iter().find_map(|purpose| {
            let queue = self.queue(purpose);
            let position = queue.iter().position(|waiter| waiter.account == exempt)?;
            queue.remove(position)
        })
    }
}

/// Returns the used bytes from which on new fetches wait, so that bodies in progress can be read
/// on.
fn fetch_limit(limit: u64) -> u64 {
    limit - limit / 4
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn three() -> (MemoryBudget, MemoryAccount, MemoryAccount, MemoryAccount) {
        let budget = MemoryBudget::new(LIMIT);
        let accounts = (budget.account(), budget.account(), budget.account());
        (budget, accounts.0, accounts.1, accounts.2)
    }

    #[tokio::test]
    async fn fetches_wait_before_the_budget_is_used_up_and_go_on_in_order() {
        let (budget, first, second, third) = three();
        let mut held = first.charge(fetch_limit(LIMIT));
        let exempt = second.admit_fetch().now_or_never();
        assert!(exempt.is_some(), "one attempt never waits");
        let mut one = Box::pin(first.admit_fetch());
        let mut other = Box::pin(third.admit_fetch());
        assert!(one.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        assert_eq!(budget.waiting(), 2);
        held.set(fetch_limit(LIMIT) - 2 * RESERVED_BYTES);
        assert!(other.as_mut().now_or_never().is_none(), "there is room for one only");
        assert!(one.await.bytes() > 0);
        assert!(other.await.bytes() > 0, "the first one has ended");
        drop((held, exempt));
        assert_eq!((budget.used(), budget.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn bodies_in_progress_are_read_on_before_new_fetches_begin() {
        let (budget, first, second, third) = three();
        let _held = first.charge(fetch_limit(LIMIT));
        let _exempt = third.admit_fetch().now_or_never().unwrap();
        assert!(second.admit_fetch().now_or_never().is_none());
        let read = second.admit_read().now_or_never();
        assert!(read.is_some(), "a quarter is left for reading");
        let full = first.charge(LIMIT);
        assert!(second.admit_read().now_or_never().is_none());
        drop(full);
        assert_eq!(budget.used(), fetch_limit(LIMIT) + 2 * RESERVED_BYTES);
    }

    #[tokio::test]
    async fn attempts_that_hold_everything_do_not_wait_for_each_other() {
        let (budget, first, second, third) = three();
        let mut held = vec![first.charge(LIMIT / 2), second.charge(LIMIT / 2)];
        // Both need more before they can release anything.
        let more = first.admit_fetch().now_or_never().unwrap();
        let mut blocked = Box::pin(second.admit_fetch());
        let mut newest = Box::pin(third.admit_read());
        assert!(blocked.as_mut().now_or_never().is_none() && newest.as_mut().now_or_never().is_none());
        for _ in 0..100 {
            held.push(first.admit_read().now_or_never().expect("the exempt attempt goes on"));
        }
        drop(more);
        held.clear();
        drop(first);
        assert!(newest.await.bytes() > 0 && blocked.await.bytes() > 0);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn end_of_the_exempt_attempt_exempts_the_next() {
        let (_budget, first, second, third) = three();
        let _held = third.charge(LIMIT);
        let _more = first.admit_fetch().now_or_never().unwrap();
        let mut blocked = Box::pin(second.admit_fetch());
        assert!(blocked.as_mut().now_or_never().is_none());
        drop(first);
        assert!(blocked.as_mut().now_or_never().is_some(), "although all memory is used");
    }

    #[tokio::test]
    async fn dropped_waiters_keep_nothing() {
        let (budget, first, second, third) = three();
        let held = third.charge(LIMIT);
        let _exempt = first.admit_fetch().now_or_never().unwrap();
        let (mut unpolled, mut gone) = (Box::pin(second.admit_read()), Box::pin(second.admit_fetch()));
        assert!(unpolled.as_mut().now_or_never().is_none() && gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        drop(unpolled);
        assert_eq!((budget.used(), budget.waiting()), (RESERVED_BYTES, 0));
    }

    #[test]
    fn buffer_is_charged_until_its_last_slice_is_dropped() {
        let budget = MemoryBudget::new(LIMIT);
        let account = budget.account();
        let mut charge = account.charge(10);
        let piece = charge.split(4).attach(Bytes::from_static(b"abcd"));
        let slice = piece.slice(1..2);
        drop((charge, piece, account));
        assert_eq!((slice.as_ref(), budget.used()), (b"b".as_slice(), 4));
        drop(slice);
        assert_eq!(budget.used(), 0);
    }
}
