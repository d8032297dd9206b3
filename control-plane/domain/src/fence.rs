//! The number that orders attempts. It rises with every grant, and also over a fail-over that lost the last commits: then the
//! server's timeline has risen, and it is the upper half.

/// The least fence of a timeline. The same as `timeline::bigint << 32` in SQL.
pub const fn floor_of(timeline: u32) -> i64 {
    // 31 bits of timeline fit; a server that was promoted two billion times is out of scope.
    ((timeline & 0x7fff_ffff) as i64) << 32
}

/// The fence of the next attempt.
pub const fn next(fence: i64, timeline: u32) -> i64 {
    let floor = floor_of(timeline);
    if fence + 1 > floor { fence + 1 } else { floor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::next;

    #[test]
    fn begins_at_the_timeline() {
        assert_eq!(next(0, 1), 1 << 32);
        assert_eq!(next(1 << 32, 1), (1 << 32) + 1);
    }

    proptest! {
        #[test]
        fn always_rises(fence in 0..i64::MAX / 2, timeline in 0..0x3fff_ffff_u32) {
            prop_assert!(next(fence, timeline) > fence);
        }

        #[test]
        fn a_promotion_passes_every_fence_that_was_lost(lost in any::<u32>(), timeline in 1..0x3fff_ffff_u32) {
            let before = super::floor_of(timeline) + i64::from(lost);
            prop_assert!(next(0, timeline + 1) > before);
        }
    }
}
