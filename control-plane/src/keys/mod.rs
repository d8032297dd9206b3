//! Encryption and signing: secrets are sealed with the data key of their tenant, data keys with the
//! master key, and opaque tokens are signed.
//!
//! Sealed bytes name the key that sealed them, so that a key can be replaced while everything that
//! its predecessor sealed can still be opened. No type that holds a key or a secret implements
//! `Debug`.

mod data;
mod master;
mod token;

pub use data::DataKey;
pub use master::{MasterKeys, WrappedKey};
pub use token::{TokenPurpose, TokenSealer};

/// Reason why bytes cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key of the settings is not base64 of 32 bytes.
    #[error("master key {0:?} is not base64 of 32 bytes")]
    BadKey(String),
    /// The id of a key is empty or longer than 64 bytes.
    #[error("master key id {0:?} must have 1 to 64 bytes")]
    BadKeyId(String),
    /// Two keys have the same id.
    #[error("two master keys have the id {0:?}")]
    DuplicateKeyId(String),
    /// The bytes were sealed with a key that this server does not have.
    #[error(
        "master key {0:?} is needed, but this control plane does not have it: \
         add {0}=<the key> to keys.others"
    )]
    UnknownKey(String),
    /// The bytes were altered, truncated, sealed for another purpose, or not sealed by this server.
    #[error("sealed bytes are not authentic")]
    Altered,
    /// The system's random number generator failed.
    #[error("the system's random number generator failed")]
    NoRandomness,
}
