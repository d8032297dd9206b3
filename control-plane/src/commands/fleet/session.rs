//! Session tokens: they name the session that an executor registered, and authenticate its calls.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::error::FleetError;
use crate::keys::{KeyError, TokenPurpose, TokenSealer};

/// An authenticated session. The token does not say whether the session is still alive; the
/// database does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Id of the session, a UUID v7.
    pub id: Uuid,
    /// Pool that the executor joined.
    pub pool: String,
}

impl Session {
    /// Seals the session into a token, as text for gRPC metadata.
    ///
    /// # Errors
    /// Sealing fails.
    pub fn seal(&self, sealer: &TokenSealer) -> Result<String, KeyError> {
        let payload = [self.id.as_bytes(), self.pool.as_bytes()].concat();
        Ok(URL_SAFE_NO_PAD.encode(sealer.seal(TokenPurpose::Session, &payload)?))
    }

    /// Opens a token.
    ///
    /// # Errors
    /// The token was not sealed here, or was altered.
    pub fn open(sealer: &TokenSealer, token: &str) -> Result<Self, FleetError> {
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| FleetError::SessionEnded)?;
        let payload = sealer.open(TokenPurpose::Session, &sealed).map_err(|_| FleetError::SessionEnded)?;
        let (id, pool) = payload.split_at_checked(16).ok_or(FleetError::SessionEnded)?;
        let id = Uuid::from_slice(id).map_err(|_| FleetError::SessionEnded)?;
        let pool = std::str::from_utf8(pool).map_err(|_| FleetError::SessionEnded)?;
        Ok(Self { id, pool: pool.to_owned() })
    }
}
