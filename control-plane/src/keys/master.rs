//! Master keys: they encrypt ("wrap") the data keys of tenants, and the keys that sign tokens are
//! derived from them.

use std::sync::atomic::{AtomicUsize, Ordering};

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

/// The master keys: the current one, which seals, and others, which only open.
///
/// While another replica cannot open the current key yet, one of the others seals: see
/// [`seal_for`](Self::seal_for).
pub struct MasterKeys {
    /// The current key first.
    keys: Vec<MasterKey>,
    /// Place of the key that seals.
    sealing: AtomicUsize,
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
    pub fn new<'k>(
        current: (&'k str, &'k str),
        others: impl IntoIterator<Item = (&'k str, &'k str)>,
    ) -> Result<Self, KeyError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (id, key) in std::iter::once(current).chain(others) {
            let key = MasterKey::parse(id, key)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyError::DuplicateKeyId(key.id));
            }
            keys.push(key);
        }
        Ok(Self { keys, sealing: AtomicUsize::new(0) })
    }

    /// Returns the ids of all keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Returns whether the current key seals.
    pub fn seals_with_current(&self) -> bool {
        self.sealing.load(Ordering::Relaxed) == 0
    }

    /// Chooses the key that seals from now on, given the ids of the keys that each other replica
    /// can open: the first one that all of them can open. Returns false if there is none; the
    /// current key seals then.
    pub fn seal_for(&self, replicas: &[Vec<String>]) -> bool {
        let opens = |key: &MasterKey| replicas.iter().all(|ids| ids.contains(&key.id));
        let chosen = self.keys.iter().position(opens);
        self.sealing.store(chosen.unwrap_or(0), Ordering::Relaxed);
        chosen.is_some()
    }

    /// Generates a data key for a tenant and returns it encrypted.
    ///
    /// # Errors
    /// Fails if the system has no randomness.
    pub fn new_data_key(&self, tenant_id: Uuid) -> Result<WrappedKey, KeyError> {
        let mut bytes = [0; KEY_LEN];
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
        self.wrap(tenant_id, &bytes)
    }

    /// Encrypts the data key of a tenant with the key that seals now.
    ///
    /// # Errors
    /// Fails if the master key is unknown, or if the data key is not that of this tenant.
    pub fn rewrap(&self, tenant_id: Uuid, wrapped: &WrappedKey) -> Result<WrappedKey, KeyError> {
        self.wrap(tenant_id, &self.unwrap(tenant_id, wrapped)?)
    }

    fn wrap(&self, tenant_id: Uuid, bytes: &[u8; KEY_LEN]) -> Result<WrappedKey, KeyError> {
        let key = self.sealing();
        let sealed = key.wrapping.seal_for(tenant_id.as_bytes(), bytes)?;
        Ok(WrappedKey { key_id: key.id.clone(), sealed })
    }

    fn unwrap(&self, tenant_id: Uuid, wrapped: &WrappedKey) -> Result<[u8; KEY_LEN], KeyError> {
        let master =
            self.by_id(&wrapped.key_id).ok_or_else(|| KeyError::UnknownKey(wrapped.key_id.clone()))?;
        let bytes = master.wrapping.open_for(tenant_id.as_bytes(), &wrapped.sealed)?;
        bytes.try_into().map_err(|_| KeyError::Altered)
    }

    /// Decrypts the data key of a tenant.
    ///
    /// # Errors
    /// Fails if the master key is unknown, or if the data key is not that of this tenant.
    pub fn data_key(&self, tenant_id: Uuid, wrapped: &WrappedKey) -> Result<DataKey, KeyError> {
        DataKey::new(&self.unwrap(tenant_id, wrapped)?)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &MasterKey> {
        self.keys.iter()
    }

    /// Returns the key that seals now.
    pub(crate) fn sealing(&self) -> &MasterKey {
        // The place is always that of a key, and the first key always exists.
        &self.keys[self.sealing.load(Ordering::Relaxed)]
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
        let error = MasterKeys::new(("k1", &short), []).err().unwrap();
        assert_eq!(error, KeyError::BadKey("k1".to_owned()));
        assert!(!error.to_string().contains(&short));
    }

    #[test]
    fn data_key_of_previous_master_key_opens() {
        let tenant = Uuid::from_u128(1);
        let old = MasterKeys::new(("k1", &base64(1)), []).unwrap();
        let wrapped = old.new_data_key(tenant).unwrap();
        let sealed = old.data_key(tenant, &wrapped).unwrap().seal(tenant, tenant, "f", b"x").unwrap();

        let both = MasterKeys::new(("k2", &base64(2)), [("k1", &*base64(1))]).unwrap();
        assert_eq!(
            both.data_key(tenant, &wrapped).unwrap().open(tenant, tenant, "f", &sealed).unwrap(),
            b"x"
        );
        assert_eq!(both.new_data_key(tenant).unwrap().key_id, "k2");

        let new = MasterKeys::new(("k2", &base64(2)), []).unwrap();
        assert_eq!(new.data_key(tenant, &wrapped).err().unwrap(), KeyError::UnknownKey("k1".to_owned()));
    }

    #[test]
    fn key_that_a_replica_cannot_open_does_not_seal() {
        let tenant = Uuid::from_u128(1);
        let (one, two, three) = (base64(1), base64(2), base64(3));
        let keys = MasterKeys::new(("k3", &three), [("k1", &*one), ("k2", &*two)]).unwrap();
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        for (replicas, found, sealing) in [
            (vec![], true, "k3"),
            (vec![ids(&["k2", "k1"])], true, "k1"),
            (vec![ids(&["k2", "k1"]), ids(&["k2", "k3"])], true, "k2"),
            (vec![ids(&["k4"])], false, "k3"),
            (vec![ids(&["k3"])], true, "k3"),
        ] {
            assert_eq!(keys.seal_for(&replicas), found, "{replicas:?}");
            assert_eq!(keys.new_data_key(tenant).unwrap().key_id, sealing, "{replicas:?}");
        }
        assert_eq!(
            MasterKeys::new(("k", &one), [("k", &*two)]).err(),
            Some(KeyError::DuplicateKeyId("k".to_owned()))
        );
    }

    #[test]
    fn rewrapped_data_key_opens_without_the_old_master_key() {
        let tenant = Uuid::from_u128(1);
        let old = MasterKeys::new(("k1", &base64(1)), []).unwrap();
        let wrapped = old.new_data_key(tenant).unwrap();
        let sealed = old.data_key(tenant, &wrapped).unwrap().seal(tenant, tenant, "f", b"x").unwrap();
        let both = MasterKeys::new(("k2", &base64(2)), [("k1", &*base64(1))]).unwrap();
        let wrapped = both.rewrap(tenant, &wrapped).unwrap();
        let new = MasterKeys::new(("k2", &base64(2)), []).unwrap();
        assert_eq!(new.data_key(tenant, &wrapped).unwrap().open(tenant, tenant, "f", &sealed).unwrap(), b"x");
        assert!(both.rewrap(Uuid::from_u128(2), &wrapped).is_err());
    }

    #[test]
    fn data_key_opens_for_its_tenant_only() {
        let keys = MasterKeys::new(("k1", &base64(1)), []).unwrap();
        let wrapped = keys.new_data_key(Uuid::from_u128(1)).unwrap();
        assert_eq!(keys.data_key(Uuid::from_u128(2), &wrapped).err().unwrap(), KeyError::Altered);
    }
}
