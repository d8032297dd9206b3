//! What expressions cannot know by themselves: the time and a source of randomness, both handed in.

use std::cell::Cell;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// The outside of one evaluation, or of one whole rendering. `now()` stays the same for its whole life; every `uuid()`
/// draws the next number of a sequence that depends on the seed alone.
#[derive(Debug)]
pub struct EvalEnv {
    now: DateTime<Utc>,
    seed: u64,
    drawn: Cell<u64>,
}

impl EvalEnv {
    /// An environment for one try: equal arguments give equal results.
    #[must_use]
    pub fn new(now: DateTime<Utc>, seed: u64) -> Self {
        Self { now, seed, drawn: Cell::new(0) }
    }

    /// The time that `now()` answers.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The next 16 bytes of the sequence.
    pub(crate) fn draw(&self) -> [u8; 16] {
        let number = self.drawn.get();
        self.drawn.set(number.wrapping_add(1));
        let mut hash = Sha256::new();
        hash.update(b"orchid.plan.uuid");
        hash.update(self.seed.to_be_bytes());
        hash.update(self.now.timestamp_micros().to_be_bytes());
        hash.update(number.to_be_bytes());
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes
    }
}
