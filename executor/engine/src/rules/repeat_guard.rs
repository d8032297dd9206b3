//! Detects that a loop repeats itself, by the fingerprints of its requests and cursors.
//!
//! The last [`WINDOW`] fingerprints are compared exactly. For longer cycles, an anchor moves at
//! every power of two, which finds any cycle in the end (Brent 1980): a loop of any length needs
//! only bounded memory.
//!
//! A checkpoint holds the anchor and the last [`SAVED`] fingerprints. A loop that was resumed still
//! ends if it repeats itself, at the latest when the anchor comes around again, and it never ends
//! for any other reason.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// Number of fingerprints that are compared exactly.
const WINDOW: usize = 2048;

/// Number of recent fingerprints in a checkpoint, which may hold the guards of a thousand loops.
const SAVED: usize = 4;

/// The fingerprints of a loop so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RepeatGuard {
    recent: VecDeque<u64>,
    anchor: Option<u64>,
    seen: u64,
}

/// Returns 64 bits of SHA-256 over the fields, each preceded by its length.
pub(crate) fn fingerprint(fields: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    leading_number(&hash.finalize())
}

/// Returns the first 8 bytes of a hash as a number.
pub(crate) fn leading_number(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl RepeatGuard {
    /// Returns whether a fingerprint was added before.
    pub(crate) fn contains(&self, fingerprint: u64) -> bool {
        self.anchor == Some(fingerprint) || self.recent.contains(&fingerprint)
    }

    /// Adds a fingerprint.
    pub(crate) fn add(&mut self, fingerprint: u64) {
        self.seen += 1;
        // Once the anchor lies within a cycle and the next power of two is further away than the
        // cycle is long, the anchor comes around again before it moves.
        if self.seen.is_power_of_two() {
            self.anchor = Some(fingerprint);
        }
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(fingerprint);
    }

    /// Encodes the guard for a checkpoint: count, anchor and the last fingerprints, 8 bytes each,
    /// in base64; empty before the first fingerprint.
    pub(crate) fn encode(&self) -> String {
        if self.seen == 0 {
            return String::new();
        }
        let saved = self.recent.len().saturating_sub(SAVED)..;
        let numbers =
            [self.seen, self.anchor.unwrap_or_default()].into_iter().chain(self.recent.range(saved).copied());
        let bytes: Vec<u8> = numbers.flat_map(u64::to_be_bytes).collect();
        STANDARD_NO_PAD.encode(bytes)
    }

    /// Decodes a guard; `None` if `encode` did not write the text.
    pub(crate) fn decode(text: &str) -> Option<RepeatGuard> {
        if text.is_empty() {
            return Some(RepeatGuard::default());
        }
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let mut numbers =
            bytes.chunks_exact(8).map(|chunk| chunk.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
        let (seen, anchor) = (numbers.next()?, numbers.next()?);
        let recent: VecDeque<u64> = numbers.collect();
        // A longer window would let a damaged checkpoint take any amount of memory.
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
    fn short_cycle_is_found_at_first_repeat() {
        let mut guard = RepeatGuard::default();
        let found = (0..20).position(|n| repeats(&mut guard, n % 5));
        assert_eq!(found, Some(5));
    }

    #[test]
    fn cycle_longer_than_window_is_found() {
        let mut guard = RepeatGuard::default();
        let length = WINDOW as u64 * 3;
        assert!((0..length * 5).any(|n| repeats(&mut guard, n % length)));
        assert_eq!(guard.recent.len(), WINDOW);
    }

    #[test]
    fn checkpoint_of_a_guard_is_small() {
        let mut guard = RepeatGuard::default();
        (0..3000).for_each(|n| guard.add(n));
        assert!(guard.encode().len() <= 64, "{}", guard.encode());
        let read = RepeatGuard::decode(&guard.encode()).unwrap();
        assert_eq!((read.anchor, read.seen, read.encode()), (guard.anchor, guard.seen, guard.encode()));
        assert_eq!(RepeatGuard::decode(&RepeatGuard::default().encode()), Some(RepeatGuard::default()));
    }

    /// Checkpoints used to hold the whole window.
    #[test]
    fn guard_with_a_whole_window_is_read() {
        let numbers = [300, 255].into_iter().chain(0..300_u64);
        let text = STANDARD_NO_PAD.encode(numbers.flat_map(u64::to_be_bytes).collect::<Vec<u8>>());
        let guard = RepeatGuard::decode(&text).unwrap();
        assert!(guard.contains(0) && guard.contains(299) && guard.contains(255) && !guard.contains(300));
    }

    #[test]
    fn cycle_is_found_however_often_the_loop_is_resumed() {
        for (length, every) in [(2_u64, 1), (5, 1), (5, 3), (100, 7), (700, 64)] {
            let mut guard = RepeatGuard::default();
            let found = (0..10 * length.max(50)).find(|n| {
                if n % every == 0 {
                    guard = RepeatGuard::decode(&guard.encode()).unwrap();
                }
                repeats(&mut guard, n % length)
            });
            assert!(found.is_some_and(|n| n >= length), "{length} {every}: {found:?}");
        }
    }

    #[test]
    fn damaged_guard_is_refused() {
        assert_eq!(RepeatGuard::decode("%"), None);
        assert_eq!(RepeatGuard::decode("AAAA"), None);
    }
}
