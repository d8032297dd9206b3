//! Keys and what they seal: secrets under a tenant's data key, data keys under the master key, and opaque tokens.
//!
//! What comes in is plain, what goes out is sealed and names the key that sealed it, so that a key can be replaced while what the
//! one before it sealed still opens. Nothing here is printed: no type that holds a key or a secret has `Debug`.

mod data;
mod master;
mod token;

pub use data::DataKey;
pub use master::{MasterKeys, WrappedKey};
pub use token::{TokenPurpose, TokenSealer};

/// Why something sealed does not open, or cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key of the settings is not 32 bytes of base64.
    #[error("key {0:?} is not 32 bytes in base64")]
    BadKey(String),
    /// An id of a key is empty, or longer than 64 bytes.
    #[error("key id {0:?} is not 1 to 64 bytes long")]
    BadKeyId(String),
    /// It was sealed by a key that is neither the current nor the previous one.
    #[error("sealed by the unknown key {0:?}")]
    UnknownKey(String),
    /// It was altered, cut, sealed for another place, or never sealed here.
    #[error("does not open")]
    Altered,
    /// The system has no randomness to give.
    #[error("no randomness from the system")]
    NoRandomness,
}
