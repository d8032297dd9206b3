//! Pauses in long evaluations, so that whoever runs them can let others go first.
//!
//! An evaluation may take its whole budget, which is half a second of computing. The thread that
//! runs it may have other work. Within [`paced`], evaluations call a pacer after every
//! [`SLICE_STEPS`] steps, however many evaluations these belong to. A pacer changes no result.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Steps between two pauses: about five milliseconds.
const SLICE_STEPS: u64 = 200_000;

/// Decides what a thread does between two slices of long evaluations.
pub trait Pacer: Send + Sync {
    /// Pauses. The evaluation goes on when this returns.
    fn pause(&self);
}

thread_local! {
    static PACER: RefCell<Option<Arc<dyn Pacer>>> = const { RefCell::new(None) };
    /// Steps since the last pause.
    static SPENT: Cell<u64> = const { Cell::new(0) };
}

/// Restores the pacer of the work around, also if the work panics.
struct Restored(Option<Arc<dyn Pacer>>);

impl Drop for Restored {
    fn drop(&mut self) {
        PACER.replace(self.0.take());
    }
}

/// Runs `work`, in which long evaluations pause by this pacer.
pub fn paced<T>(pacer: Arc<dyn Pacer>, work: impl FnOnce() -> T) -> T {
    let _restored = Restored(PACER.replace(Some(pacer)));
    SPENT.set(0);
    work()
}

/// Counts steps that were taken, and pauses after a slice of them.
#[inline]
pub(crate) fn spend(steps: u64) {
    let spent = SPENT.get() + steps;
    SPENT.set(spent);
    if spent >= SLICE_STEPS {
        pause();
    }
}

#[cold]
fn pause() {
    SPENT.set(0);
    // Cloned, so that a pacer may itself evaluate something.
    let pacer = PACER.with_borrow(Clone::clone);
    if let Some(pacer) = pacer {
        pacer.pause();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct CountedPauses(AtomicU64);

    impl Pacer for CountedPauses {
        fn pause(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn many_short_evaluations_pause_like_a_long_one() {
        let pauses = Arc::new(CountedPauses::default());
        paced(pauses.clone(), || {
            spend(SLICE_STEPS);
            (0..10).for_each(|_| spend(SLICE_STEPS / 5));
        });
        assert_eq!(pauses.0.load(Ordering::Relaxed), 3);
        spend(SLICE_STEPS);
        assert_eq!(pauses.0.load(Ordering::Relaxed), 3, "the work is over");
    }
}
