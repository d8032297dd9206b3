//! The environment of an evaluation: the current time and a source of randomness, both set by the
//! caller.

use std::cell::Cell;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// The environment of one evaluation or of the rendering of one request. `now()` is constant, and
/// every `uuid()` draws the next value of a sequence that depends only on the seed and the time.
#[derive(Debug)]
pub struct EvalEnv {
    now: DateTime<Utc>,
    seed: u64,
    /// Number of values drawn so far.
    drawn: Cell<u64>,
}

impl EvalEnv {
    /// Creates the environment of one try. Equal arguments give equal results.
    #[must_use]
    pub fn new(now: DateTime<Utc>, seed: u64) -> Self {
        Self { now, seed, drawn: Cell::new(0) }
    }

    /// Returns the time of `now()`.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Draws the next 16 bytes of the random sequence.
    pub(crate) fn draw(&self) -> [u8; 16] {
        // A hash of seed, time and counter repeats exactly when a try is replayed, unlike a random
        // generator that is shared with other tries.
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
