//! Lease tokens: the right to run one attempt, sealed into opaque bytes for the executor.
//!
//! The seal binds a token to its tenant, execution, attempt, fence, lease and session, so that a
//! call with a token needs no lookup to know whom it claims to act for.

use orchid_domain::LeaseId;
use orchid_domain::lease::LeaseClaim;
use uuid::Uuid;

use crate::keys::{KeyError, TokenPurpose, TokenSealer};
use crate::store::keys::ExecutionKey;

/// The contents of a lease token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseToken {
    /// The execution.
    pub key: ExecutionKey,
    /// The lease.
    pub lease_id: Uuid,
    /// The session that holds it.
    pub session_id: Uuid,
    /// Number of the attempt.
    pub attempt: i32,
    /// Fence of the attempt.
    pub fence: i64,
}

impl LeaseToken {
    /// Seals the token. The payload is the ids one after the other, then attempt and fence in big
    /// endian.
    ///
    /// # Errors
    /// Sealing fails.
    pub fn seal(&self, sealer: &TokenSealer) -> Result<Vec<u8>, KeyError> {
        let payload = [
            self.key.tenant_id.as_bytes().as_slice(),
            self.key.execution_id.as_bytes(),
            self.lease_id.as_bytes(),
            self.session_id.as_bytes(),
            &self.attempt.to_be_bytes(),
            &self.fence.to_be_bytes(),
        ]
        .concat();
        sealer.seal(TokenPurpose::Lease, &payload)
    }

    /// Opens a token for the session that it was sealed for.
    ///
    /// # Errors
    /// The token was not sealed here, was altered, or belongs to another session.
    pub fn open(sealer: &TokenSealer, token: &[u8], session_id: Uuid) -> Result<Self, KeyError> {
        let mut rest = sealer.open(TokenPurpose::Lease, token)?;
        let opened = Self {
            key: ExecutionKey { tenant_id: take_id(&mut rest)?, execution_id: take_id(&mut rest)? },
            lease_id: take_id(&mut rest)?,
            session_id: take_id(&mut rest)?,
            attempt: i32::from_be_bytes(take(&mut rest)?),
            fence: i64::from_be_bytes(take(&mut rest)?),
        };
        // A longer payload is not a token of this form.
        if opened.session_id == session_id && rest.is_empty() { Ok(opened) } else { Err(KeyError::Altered) }
    }

    /// Returns the claim that is judged against the execution.
    pub fn claim(&self) -> LeaseClaim {
        LeaseClaim { lease: LeaseId(self.lease_id), fence: self.fence }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], KeyError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(KeyError::Altered)?;
    *rest = tail;
    Ok(*head)
}

fn take_id(rest: &mut &[u8]) -> Result<Uuid, KeyError> {
    take(rest).map(Uuid::from_bytes)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use uuid::Uuid;

    use super::LeaseToken;
    use crate::keys::{MasterKeys, TokenSealer};
    use crate::store::keys::ExecutionKey;

    #[test]
    fn lease_token_opens_only_for_its_session() {
        let key = STANDARD.encode([7; 32]);
        let sealer = TokenSealer::new(MasterKeys::new(("k1", &key), []).unwrap().into()).unwrap();
        let id = Uuid::from_u128;
        let token = LeaseToken {
            key: ExecutionKey { tenant_id: id(1), execution_id: id(2) },
            lease_id: id(3),
            session_id: id(4),
            attempt: 5,
            fence: 6 << 32,
        };
        let sealed = token.seal(&sealer).unwrap();
        assert_eq!(LeaseToken::open(&sealer, &sealed, id(4)).unwrap(), token);
        assert!(LeaseToken::open(&sealer, &sealed, id(5)).is_err());
        assert!(LeaseToken::open(&sealer, &sealed[1..], id(4)).is_err());
    }
}
