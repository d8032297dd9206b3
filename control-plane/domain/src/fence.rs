//! Fences: the numbers that order the attempts of an execution.
//!
//! A fence rises with every grant. It also rises over a fail-over that lost the last commits: the
//! server's timeline, which a promotion raises, is its upper half.

/// Returns the lowest fence of a timeline: `timeline::bigint << 32` in SQL.
pub const fn floor_of(timeline: u32) -> i64 {
    // 31 bits of the timeline fit. A server is not promoted two billion times.
    ((timeline & 0x7fff_ffff) as i64) << 32
}

/// Returns the fence of the next attempt.
pub const fn next(fence: i64, timeline: u32) -> i64 {
    let floor = floor_of(timeline);
    if fence + 1 > floor { fence + 1 } else { floor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::next;

    #[test]
    fn first_fence_is_the_floor_of_the_timeline() {
        assert_eq!(next(0, 1), 1 << 32);
        assert_eq!(next(1 << 32, 1), (1 << 32) + 1);
    }

    proptest! {
        #[test]
        fn next_fence_always_rises(fence in 0..i64::MAX / 2, timeline in 0..0x3fff_ffff_u32) {
            prop_assert!(next(fence, timeline) > fence);
        }

        #[test]
        fn promotion_passes_every_lost_fence(lost in any::<u32>(), timeline in 1..0x3fff_ffff_u32) {
            let before = super::floor_of(timeline) + i64::from(lost);
            prop_assert!(next(0, timeline + 1) > before);
        }
    }
}
