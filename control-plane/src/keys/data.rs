//! Data keys: each encrypts the secrets of one tenant and binds every secret to its row and field.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::keys::KeyError;

/// Length of a key, in bytes.
pub(crate) const KEY_LEN: usize = 32;
/// First byte of all sealed bytes: the version of their format.
const FORMAT_VERSION: u8 = 1;

/// An AES-256-GCM key.
pub struct DataKey {
    key: LessSafeKey,
}

impl DataKey {
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyError::Altered)?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Encrypts bytes for one field of one row; they can be decrypted for that field only.
    pub fn seal(
        &self,
        tenant_id: Uuid,
        resource_id: Uuid,
        field: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.seal_for(&binding(tenant_id, resource_id, field), plain)
    }

    /// Decrypts bytes that [`seal`](Self::seal) encrypted for the same field.
    ///
    /// # Errors
    /// Fails if they were altered, or sealed with another key or for another field.
    pub fn open(
        &self,
        tenant_id: Uuid,
        resource_id: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.open_for(&binding(tenant_id, resource_id, field), sealed)
    }

    /// Returns whether bytes are sealed, by their first byte; whether they open is not checked.
    pub fn is_sealed(bytes: &[u8]) -> bool {
        bytes.first() == Some(&FORMAT_VERSION)
    }

    pub(crate) fn seal_for(&self, binding: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        // Random 96-bit nonces are safe for 2^32 messages per key (NIST SP 800-38D); a tenant has
        // its own key and seals far fewer.
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::NoRandomness)?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(binding), &mut sealed)
            .map_err(|_| KeyError::Altered)?;
        Ok([&[FORMAT_VERSION][..], &nonce, &sealed].concat())
    }

    pub(crate) fn open_for(&self, binding: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let rest = sealed.strip_prefix(&[FORMAT_VERSION]).ok_or(KeyError::Altered)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(KeyError::Altered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Altered)?;
        let mut plain = sealed.to_vec();
        let length = self
            .key
            .open_in_place(nonce, Aad::from(binding), &mut plain)
            .map_err(|_| KeyError::Altered)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Concatenates the parts. Both ids have a fixed length, so different fields never collide.
fn binding(tenant_id: Uuid, resource_id: Uuid, field: &str) -> Vec<u8> {
    [tenant_id.as_bytes().as_slice(), resource_id.as_bytes(), field.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Uuid = Uuid::from_u128(1);
    const CONFIG: Uuid = Uuid::from_u128(2);

    fn key(byte: u8) -> DataKey {
        DataKey::new(&[byte; KEY_LEN]).unwrap()
    }

    #[test]
    fn secret_opens_for_its_own_field_only() {
        let sealed = key(7).seal(TENANT, CONFIG, "secrets", b"hush").unwrap();
        for (tenant, config, field) in
            [(CONFIG, CONFIG, "secrets"), (TENANT, TENANT, "secrets"), (TENANT, CONFIG, "values")]
        {
            assert_eq!(key(7).open(tenant, config, field, &sealed), Err(KeyError::Altered));
        }
        assert_eq!(key(8).open(TENANT, CONFIG, "secrets", &sealed), Err(KeyError::Altered));
        assert_eq!(key(7).open(TENANT, CONFIG, "secrets", &sealed).unwrap(), b"hush");
    }

    #[test]
    fn altered_byte_is_refused() {
        let sealed = key(7).seal(TENANT, CONFIG, "secrets", b"hush").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key(7).open(TENANT, CONFIG, "secrets", &altered), Err(KeyError::Altered), "byte {at}");
        }
        assert_eq!(key(7).open(TENANT, CONFIG, "secrets", &sealed[..5]), Err(KeyError::Altered));
        assert_eq!(key(7).open(TENANT, CONFIG, "secrets", b""), Err(KeyError::Altered));
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let seal = || key(7).seal(TENANT, CONFIG, "secrets", b"hush").unwrap();
        assert_ne!(seal(), seal());
    }
}
