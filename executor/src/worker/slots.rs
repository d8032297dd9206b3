//! How many runs may go at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    total: usize,
}

/// The right to run one thing; given back when dropped.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Slots {
    /// So many, all free.
    pub fn new(total: usize) -> Slots {
        Slots { free: Arc::new(Semaphore::new(total)), total }
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many are free now.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Takes up to so many of those that are free now.
    pub fn take(&self, at_most: usize) -> Vec<Slot> {
        let mut taken = Vec::new();
        while taken.len() < at_most {
            let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else { break };
            taken.push(Slot(permit));
        }
        taken
    }

    /// Returns once one is free. Takes none.
    pub async fn one_free(&self) {
        let _ = self.free.acquire().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slots_are_given_back_when_dropped() {
        let slots = Slots::new(3);
        let two = slots.take(2);
        assert_eq!(slots.take(5).len(), 1);
        assert_eq!(slots.free(), 1, "the third was dropped at once");
        drop(two);
        slots.one_free().await;
        assert_eq!((slots.free(), slots.total()), (3, 3));
    }
}
