//! Slots: the bound on concurrent attempts.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct SlotPool {
    free: Arc<Semaphore>,
    total: usize,
}

/// The right to run one attempt. Dropping it frees the slot.
#[derive(Debug)]
pub struct SlotPermit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl SlotPool {
    /// Creates `total` free slots.
    pub fn new(total: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// Returns the number of slots, free or taken.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns the number of slots that are free now.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Takes up to `at_most` of the slots that are free now, without waiting.
    pub fn take(&self, at_most: usize) -> Vec<SlotPermit> {
        let mut taken = Vec::new();
        while taken.len() < at_most {
            let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else { break };
            taken.push(SlotPermit(permit));
        }
        taken
    }

    /// Waits until a slot is free, without taking it.
    pub async fn wait_free(&self) {
        // The permit is dropped at once. An error would mean a closed semaphore, and this one never
        // is.
        let _ = self.free.acquire().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropped_permits_free_their_slots() {
        let slots = SlotPool::new(3);
        let two = slots.take(2);
        assert_eq!(slots.take(5).len(), 1);
        assert_eq!(slots.free(), 1, "the third was dropped at once");
        drop(two);
        slots.wait_free().await;
        assert_eq!((slots.free(), slots.total()), (3, 3));
    }
}
