//! The time after which the doorbell rings again for work that no executor took: short at first,
//! then longer, but it never stops ringing.

use std::time::Duration;

/// Number of times that the wait doubles.
pub const MAX_DOUBLINGS: u32 = 4;

/// Returns the wait after the `rings`-th ring.
pub fn wait_after(rings: u32, first: Duration) -> Duration {
    first.saturating_mul(1 << rings.saturating_sub(1).min(MAX_DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::wait_after;

    #[test]
    fn wait_doubles_up_to_sixteenfold() {
        let first = Duration::from_secs(5);
        let waits: Vec<u64> = (0..8).map(|rings| wait_after(rings, first).as_secs()).collect();
        assert_eq!(waits, [5, 5, 10, 20, 40, 80, 80, 80]);
    }
}
