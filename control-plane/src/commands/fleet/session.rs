//! Whose a call is: the session token that an executor was given when it registered.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::FleetError;
use crate::keys::{KeyError, TokenPurpose, TokenSealer};

/// An authenticated session; whether it still lives is for the database to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// uuid v7.
    pub id: Uuid,
    /// The pool that it joined.
    pub pool: String,
}

impl Session {
    /// The token, as text for metadata.
    pub fn seal(&self, sealer: &TokenSealer) -> Result<String, KeyError> {
        let payload = [self.id.as_bytes(), self.pool.as_bytes()].concat();
        Ok(URL_SAFE_NO_PAD.encode(sealer.seal(TokenPurpose::Session, &payload)?))
    }

    /// Opens a token that was sealed here.
    pub fn open(sealer: &TokenSealer, token: &str) -> Result<Self, FleetError> {
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| FleetError::SessionEnded)?;
        let payload = sealer.open(TokenPurpose::Session, &sealed).map_err(|_| FleetError::SessionEnded)?;
        let (id, pool) = payload.split_at_checked(16).ok_or(FleetError::SessionEnded)?;
        let id = Uuid::from_slice(id).map_err(|_| FleetError::SessionEnded)?;
        let pool = std::str::from_utf8(pool).map_err(|_| FleetError::SessionEnded)?;
        Ok(Self { id, pool: pool.to_owned() })
    }
}
