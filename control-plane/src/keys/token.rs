//! Opaque tokens, which clients carry but cannot forge or change. Tokens are signed, not encrypted:
//! a client can read the payload, so it must not contain secrets.

use std::collections::HashMap;
use std::sync::Arc;

use ring::hmac;

use crate::keys::{KeyError, MasterKeys};

const TAG_LEN: usize = 32;

/// Purpose of a token. A token is only valid for the purpose it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenPurpose {
    /// Position in a list.
    Page,
    /// Session of an executor.
    Session,
    /// Lease of one attempt.
    Lease,
}

impl TokenPurpose {
    const ALL: [Self; 3] = [Self::Page, Self::Session, Self::Lease];

    const fn name(self) -> &'static str {
        match self {
            Self::Page => "seal page tokens",
            Self::Session => "seal session tokens",
            Self::Lease => "seal lease tokens",
        }
    }
}

/// Creates and verifies tokens.
pub struct TokenSealer {
    /// Knows the key that seals now.
    master: Arc<MasterKeys>,
    keys: HashMap<(TokenPurpose, String), hmac::Key>,
}

impl TokenSealer {
    /// Derives one signing key per master key and purpose.
    ///
    /// # Errors
    /// Fails if a key cannot be derived.
    pub fn new(master: Arc<MasterKeys>) -> Result<Self, KeyError> {
        let mut keys = HashMap::new();
        for key in master.all() {
            for purpose in TokenPurpose::ALL {
                let derived = hmac::Key::new(hmac::HMAC_SHA256, &key.derive(purpose.name())?);
                keys.insert((purpose, key.id.clone()), derived);
            }
        }
        Ok(Self { master, keys })
    }

    /// Creates a token. Its layout is: length and id of the key, payload, HMAC tag.
    ///
    /// # Errors
    /// Fails if the id of the current key is too long for its length byte.
    pub fn seal(&self, purpose: TokenPurpose, payload: &[u8]) -> Result<Vec<u8>, KeyError> {
        let id = &self.master.sealing().id;
        let key = self.key(purpose, id)?;
        let id_length = u8::try_from(id.len()).map_err(|_| KeyError::BadKeyId(id.clone()))?;
        let mut token = vec![id_length];
        token.extend_from_slice(id.as_bytes());
        token.extend_from_slice(payload);
        let tag = hmac::sign(key, &token);
        token.extend_from_slice(tag.as_ref());
        Ok(token)
    }

    /// Verifies a token and returns its payload.
    ///
    /// # Errors
    /// Fails if the token was altered, made for another purpose, or signed with an unknown key.
    pub fn open<'a>(&self, purpose: TokenPurpose, token: &'a [u8]) -> Result<&'a [u8], KeyError> {
        let body_length = token.len().checked_sub(TAG_LEN).ok_or(KeyError::Altered)?;
        let (body, tag) = token.split_at(body_length);
        let (id_length, rest) = body.split_first().ok_or(KeyError::Altered)?;
        let (id, payload) = rest.split_at_checked(usize::from(*id_length)).ok_or(KeyError::Altered)?;
        let id = std::str::from_utf8(id).map_err(|_| KeyError::Altered)?;
        // Compares in constant time, and before anything in the payload is trusted.
        hmac::verify(self.key(purpose, id)?, body, tag).map_err(|_| KeyError::Altered)?;
        Ok(payload)
    }

    fn key(&self, purpose: TokenPurpose, id: &str) -> Result<&hmac::Key, KeyError> {
        self.keys.get(&(purpose, id.to_owned())).ok_or_else(|| KeyError::UnknownKey(id.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn sealer(current: u8, previous: Option<u8>) -> TokenSealer {
        let id = |byte: u8| format!("k{byte}");
        let key = |byte: u8| STANDARD.encode([byte; 32]);
        let previous = previous.map(|byte| (id(byte), key(byte)));
        let others = previous.as_ref().map(|(id, key)| (id.as_str(), key.as_str()));
        TokenSealer::new(Arc::new(MasterKeys::new((&id(current), &key(current)), others).unwrap())).unwrap()
    }

    #[test]
    fn token_is_refused_for_another_purpose() {
        let token = sealer(1, None).seal(TokenPurpose::Page, b"p").unwrap();
        assert_eq!(sealer(1, None).open(TokenPurpose::Lease, &token), Err(KeyError::Altered));
        assert_eq!(sealer(1, None).open(TokenPurpose::Page, &token).unwrap(), b"p");
    }

    #[test]
    fn altered_or_truncated_token_is_refused() {
        let token = sealer(1, None).seal(TokenPurpose::Session, b"payload").unwrap();
        for at in 0..token.len() {
            let mut altered = token.clone();
            altered[at] ^= 1;
            assert!(sealer(1, None).open(TokenPurpose::Session, &altered).is_err(), "byte {at}");
            assert!(sealer(1, None).open(TokenPurpose::Session, &token[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn token_of_previous_key_opens_and_older_does_not() {
        let token = sealer(1, None).seal(TokenPurpose::Lease, b"p").unwrap();
        assert_eq!(sealer(2, Some(1)).open(TokenPurpose::Lease, &token).unwrap(), b"p");
        assert_eq!(
            sealer(3, Some(2)).open(TokenPurpose::Lease, &token),
            Err(KeyError::UnknownKey("k1".to_owned()))
        );
    }
}
