//! Hashes by which a resumed page recognizes its rows.

use sha2::{Digest, Sha256};

/// Hash over the first rows of a page.
#[derive(Clone)]
pub(crate) struct RowsHash(Sha256);

impl RowsHash {
    /// Creates the hash over no rows.
    pub(crate) fn empty() -> Self {
        Self(Sha256::new())
    }

    /// Adds a row. The length goes into the hash too, so that rows cannot run into each other.
    pub(crate) fn add(&mut self, row: &[u8]) {
        self.0.update((row.len() as u64).to_be_bytes());
        self.0.update(row);
    }

    /// Returns the hash as checkpoints hold it.
    pub(crate) fn hex(&self) -> String {
        hex::encode(&self.0.clone().finalize()[..16])
    }
}
