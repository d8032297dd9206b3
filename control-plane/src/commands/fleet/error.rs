//! Why a call of an executor did nothing as a whole.

use crate::keys::KeyError;
use crate::store::db::Retryable;
use crate::store::error::StoreError;

/// Why a call did nothing.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The session token does not open, or the session has ended: register again.
    #[error("the session has ended or never was: register again")]
    SessionEnded,
    /// What was asked is wrong in itself.
    #[error("{0}")]
    Invalid(String),
    /// One lease's claim does not hold, in a call about one lease.
    #[error("{0}")]
    Refused(#[from] orchid_domain::lease::LeaseRefusal),
    /// Sealing or opening failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The doorbell; nothing is lost by it.
    #[error(transparent)]
    Doorbell(#[from] crate::doorbell::DoorbellError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Retryable for FleetError {
    fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::SessionEnded | Self::Invalid(_) | Self::Refused(_) | Self::Keys(_) | Self::Doorbell(_) => {
                false
            }
        }
    }
}
