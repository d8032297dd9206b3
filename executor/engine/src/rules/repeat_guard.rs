//! Notices that a loop asks the same thing twice.
//!
//! In: fingerprints of requests and pointers, one by one. Out: whether one stood there before. The last [`WINDOW`] are
//! compared exactly; beyond, one anchor that moves at every power of two finds any cycle in the end (Brent 1980), so that
//! a loop without bound needs no memory without bound.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// Fingerprints that are remembered one by one.
const WINDOW: usize = 2048;

/// What a loop asked so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RepeatGuard {
    recent: VecDeque<u64>,
    anchor: Option<u64>,
    seen: u64,
}

/// 64 bits of SHA-256 over fields with their lengths.
pub(crate) fn fingerprint(fields: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl RepeatGuard {
    /// Whether a fingerprint stood there before.
    pub(crate) fn contains(&self, fingerprint: u64) -> bool {
        self.anchor == Some(fingerprint) || self.recent.contains(&fingerprint)
    }

    /// Takes a fingerprint.
    pub(crate) fn add(&mut self, fingerprint: u64) {
        self.seen += 1;
        if self.seen.is_power_of_two() {
            self.anchor = Some(fingerprint);
        }
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(fingerprint);
    }

    /// As a checkpoint keeps it: the count, the anchor and the window, 8 bytes each, in base64; empty before the first.
    pub(crate) fn encode(&self) -> String {
        if self.seen == 0 {
            return String::new();
        }
        let numbers =
            [self.seen, self.anchor.unwrap_or_default()].into_iter().chain(self.recent.iter().copied());
        let bytes: Vec<u8> = numbers.flat_map(u64::to_be_bytes).collect();
        STANDARD_NO_PAD.encode(bytes)
    }

    /// The reverse; none where the text is nothing that `encode` wrote.
    pub(crate) fn decode(text: &str) -> Option<RepeatGuard> {
        if text.is_empty() {
            return Some(RepeatGuard::default());
        }
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let mut numbers =
            bytes.chunks_exact(8).map(|chunk| chunk.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
        let (seen, anchor) = (numbers.next()?, numbers.next()?);
        let recent: VecDeque<u64> = numbers.collect();
        if bytes.len() % 8 != 0 || recent.len() > WINDOW {
            return None;
        }
        Some(RepeatGuard { recent, anchor: (seen > 0).then_some(anchor), seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeats(guard: &mut RepeatGuard, fingerprint: u64) -> bool {
        let saw = guard.contains(fingerprint);
        guard.add(fingerprint);
        saw
    }

    #[test]
    fn a_short_cycle_is_found_at_its_first_repeat() {
        let mut guard = RepeatGuard::default();
        let found = (0..20).position(|n| repeats(&mut guard, n % 5));
        assert_eq!(found, Some(5));
    }

    #[test]
    fn a_cycle_longer_than_the_window_is_found_in_the_end() {
        let mut guard = RepeatGuard::default();
        let length = WINDOW as u64 * 3;
        assert!((0..length * 5).any(|n| repeats(&mut guard, n % length)));
        assert_eq!(guard.recent.len(), WINDOW);
    }

    #[test]
    fn a_guard_survives_its_checkpoint() {
        let mut guard = RepeatGuard::default();
        for n in 0..3000 {
            guard.add(n);
        }
        assert_eq!(RepeatGuard::decode(&guard.encode()), Some(guard));
        assert_eq!(RepeatGuard::decode(&RepeatGuard::default().encode()), Some(RepeatGuard::default()));
        assert_eq!(RepeatGuard::decode("%"), None);
        assert_eq!(RepeatGuard::decode("AAAA"), None);
    }
}
