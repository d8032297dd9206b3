//! Errors that fail a whole call of an executor. Verdicts on single leases are no errors.

use orchid_domain::lease::LeaseRefusal;

use crate::doorbell::DoorbellError;
use crate::keys::KeyError;
use crate::store::db::Retryable;
use crate::store::error::StoreError;

/// An error that failed a call or a loop.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The session token does not open, or the session has ended.
    #[error("the session has ended or is unknown: register again")]
    SessionEnded,
    /// The request is invalid, whatever the state of the server.
    #[error("{0}")]
    Invalid(String),
    /// The lease of a call about one lease is refused.
    #[error("{0}")]
    Refused(#[from] LeaseRefusal),
    /// Sealing or opening a token or a secret failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Redis failed. No work is lost by it.
    #[error(transparent)]
    Doorbell(#[from] DoorbellError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FleetError {
    /// Returns whether the same work may succeed later by itself. An error that is not transient
    /// comes from the work's own rows.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Doorbell(_) | Self::Keys(KeyError::NoRandomness) => true,
            Self::SessionEnded | Self::Invalid(_) | Self::Refused(_) | Self::Keys(_) => false,
        }
    }
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
