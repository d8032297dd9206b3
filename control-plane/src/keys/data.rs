//! A tenant's data key: seals the secrets of that tenant, each bound to its place.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use uuid::Uuid;

use crate::keys::KeyError;

/// Length of a key, in bytes.
pub(crate) const KEY_LEN: usize = 32;
/// First byte of everything that is sealed, so that the form can change.
const FORM: u8 = 1;

/// A key of AES-256-GCM.
pub struct DataKey {
    key: LessSafeKey,
}

impl DataKey {
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyError::Altered)?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Seals bytes for one place: the tenant, the row that holds them, and the field of that row.
    pub fn seal(
        &self,
        tenant_id: Uuid,
        resource_id: Uuid,
        field: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.seal_for(&place(tenant_id, resource_id, field), plain)
    }

    /// Opens what [`seal`](Self::seal) sealed for the same place.
    pub fn open(
        &self,
        tenant_id: Uuid,
        resource_id: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.open_for(&place(tenant_id, resource_id, field), sealed)
    }

    pub(crate) fn seal_for(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::NoRandomness)?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed)
            .map_err(|_| KeyError::Altered)?;
        Ok([&[FORM][..], &nonce, &sealed].concat())
    }

    pub(crate) fn open_for(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let rest = sealed.strip_prefix(&[FORM]).ok_or(KeyError::Altered)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(KeyError::Altered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Altered)?;
        let mut plain = sealed.to_vec();
        let length =
            self.key.open_in_place(nonce, Aad::from(place), &mut plain).map_err(|_| KeyError::Altered)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// The two ids have a fixed length, so no two places read the same.
fn place(tenant_id: Uuid, resource_id: Uuid, field: &str) -> Vec<u8> {
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
    fn a_secret_opens_nowhere_but_in_its_place() {
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
    fn an_altered_byte_anywhere_is_refused() {
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
    fn the_same_secret_is_sealed_differently_each_time() {
        let seal = || key(7).seal(TENANT, CONFIG, "secrets", b"hush").unwrap();
        assert_ne!(seal(), seal());
    }
}
