//! Master keys: they encrypt ("wrap") the data keys of tenants, and the keys that sign tokens are
//! derived from them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::keys::KeyError;
use crate::keys::data::{DataKey, KEY_LEN};

/// A data key in its stored form, encrypted by a master key.
pub struct WrappedKey {
    /// Id of the master key that encrypted it.
    pub key_id: String,
    /// The encrypted data key.
    pub sealed: Vec<u8>,
}

/// The current master key and, during a key rotation, its predecessor.
pub struct MasterKeys {
    current: MasterKey,
    previous: Option<MasterKey>,
}

pub(crate) struct MasterKey {
    pub(crate) id: String,
    wrapping: DataKey,
    root: hkdf::Prk,
}

impl MasterKeys {
    /// Creates the keys from pairs of id and base64 of 32 bytes.
    ///
    /// # Errors
    /// Fails if an id or a key is malformed.
    pub fn new(current: (&str, &str), previous: Option<(&str, &str)>) -> Result<Self, KeyError> {
        Ok(Self {
            current: MasterKey::parse(current.0, current.1)?,
            previous: previous.map(|(id, key)| MasterKey::parse(id, key)).transpose()?,
        })
    }

    /// Generates a data key for a tenant and returns it encrypted.
    ///
    /// # Errors
    /// Fails if the system has no randomness.
    pub fn new_data_key(&self, tenant_id: Uuid) -> Result<WrappedKey, KeyError> {
        let mut bytes = [0; KEY_LEN];
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
        let sealed = self.current.wrapping.seal_for(tenant_id.as_bytes(), &bytes)?;
        Ok(WrappedKey { key_id: self.current.id.clone(), sealed })
    }

    /// Decrypts the data key of a tenant.
    ///
    /// # Errors
    /// Fails if the master key is unknown, or if the data key is not that of this tenant.
    pub fn data_key(&self, tenant_id: Uuid, wrapped: &WrappedKey) -> Result<DataKey, KeyError> {
        let master =
            self.by_id(&wrapped.key_id).ok_or_else(|| KeyError::UnknownKey(wrapped.key_id.clone()))?;
        let bytes = master.wrapping.open_for(tenant_id.as_bytes(), &wrapped.sealed)?;
        DataKey::new(&bytes.try_into().map_err(|_| KeyError::Altered)?)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    fn by_id(&self, id: &str) -> Option<&MasterKey> {
        self.all().find(|key| key.id == id)
    }
}

impl MasterKey {
    fn parse(id: &str, key: &str) -> Result<Self, KeyError> {
        if id.is_empty() || id.len() > 64 {
            return Err(KeyError::BadKeyId(id.to_owned()));
        }
        let bytes: [u8; KEY_LEN] = STANDARD
            .decode(key.trim())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| KeyError::BadKey(id.to_owned()))?;
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"orchid").extract(&bytes);
        let mut wrapping = [0; KEY_LEN];
        expand(&root, b"wrap data keys", &mut wrapping)?;
        Ok(Self { id: id.to_owned(), wrapping: DataKey::new(&wrapping)?, root })
    }

    /// Derives a key for one purpose (HKDF, RFC 5869). It reveals nothing of other derived keys.
    pub(crate) fn derive(&self, purpose: &str) -> Result<[u8; KEY_LEN], KeyError> {
        let mut key = [0; KEY_LEN];
        expand(&self.root, purpose.as_bytes(), &mut key)?;
        Ok(key)
    }
}

fn expand(root: &hkdf::Prk, purpose: &[u8], into: &mut [u8; KEY_LEN]) -> Result<(), KeyError> {
    root.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|key| key.fill(into)).map_err(|_| KeyError::Altered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(byte: u8) -> String {
        STANDARD.encode([byte; KEY_LEN])
    }

    #[test]
    fn key_of_wrong_length_is_refused_without_showing_it() {
        let short = STANDARD.encode([1; 16]);
        let error = MasterKeys::new(("k1", &short), None).err().unwrap();
        assert_eq!(error, KeyError::BadKey("k1".to_owned()));
        assert!(!error.to_string().contains(&short));
    }

    #[test]
    fn data_key_of_previous_master_key_opens() {
        let tenant = Uuid::from_u128(1);
        let old = MasterKeys::new(("k1", &base64(1)), None).unwrap();
        let wrapped = old.new_data_key(tenant).unwrap();
        let sealed = old.data_key(tenant, &wrapped).unwrap().seal(tenant, tenant, "f", b"x").unwrap();

        let both = MasterKeys::new(("k2", &base64(2)), Some(("k1", &base64(1)))).unwrap();
        assert_eq!(
            both.data_key(tenant, &wrapped).unwrap().open(tenant, tenant, "f", &sealed).unwrap(),
            b"x"
        );
        assert_eq!(both.new_data_key(tenant).unwrap().key_id, "k2");

        let new = MasterKeys::new(("k2", &base64(2)), None).unwrap();
        assert_eq!(new.data_key(tenant, &wrapped).err().unwrap(), KeyError::UnknownKey("k1".to_owned()));
    }

    #[test]
    fn data_key_opens_for_its_tenant_only() {
        let keys = MasterKeys::new(("k1", &base64(1)), None).unwrap();
        let wrapped = keys.new_data_key(Uuid::from_u128(1)).unwrap();
        assert_eq!(keys.data_key(Uuid::from_u128(2), &wrapped).err().unwrap(), KeyError::Altered);
    }
}
