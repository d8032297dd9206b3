//! The secrets of a config. They are taken out of its values and transport, stored as a sealed map
//! by JSON pointer, and put back for an executor. A marker takes their place elsewhere.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use uuid::Uuid;

use crate::keys::{DataKey, KeyError};

/// Placeholder for a secret in configs that are read. Writing it back keeps the stored secret.
pub const MARKER: &str = "[SECRET]";

/// The parts of a config that contain secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigPart {
    /// Config values.
    Values,
    /// Network settings.
    Transport,
}

impl ConfigPart {
    /// Returns the field that the sealed map is bound to.
    fn field(self) -> &'static str {
        match self {
            Self::Values => "secrets",
            Self::Transport => "transport_secrets",
        }
    }
}

/// Secrets by JSON pointer, relative to their part of the config. Has no `Debug`, so that secrets
/// are never logged.
#[derive(Default)]
pub struct SecretValues(pub(crate) BTreeMap<String, Json>);

impl SecretValues {
    /// Decrypts the secrets of a config; empty if nothing is stored.
    ///
    /// # Errors
    /// Fails if the bytes were not sealed for this config and part.
    pub fn open(
        key: &DataKey,
        (tenant_id, config_id): (Uuid, Uuid),
        part: ConfigPart,
        sealed: Option<&[u8]>,
    ) -> Result<Self, KeyError> {
        let Some(sealed) = sealed else { return Ok(Self::default()) };
        let plain = key.open(tenant_id, config_id, part.field(), sealed)?;
        serde_json::from_slice(&plain).map(Self).map_err(|_| KeyError::Altered)
    }

    /// Encrypts the secrets of a config; none if there are none.
    ///
    /// # Errors
    /// Fails if the system has no randomness.
    pub fn seal(
        &self,
        key: &DataKey,
        (tenant_id, config_id): (Uuid, Uuid),
        part: ConfigPart,
    ) -> Result<Option<Vec<u8>>, KeyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let plain = serde_json::to_vec(&self.0).map_err(|_| KeyError::Altered)?;
        key.seal(tenant_id, config_id, part.field(), &plain).map(Some)
    }

    /// Replaces the markers in `values` by the secrets.
    pub fn put_back(&self, values: &mut Json) {
        for (pointer, secret) in &self.0 {
            if let Some(place) = values.pointer_mut(pointer) {
                place.clone_from(secret);
            }
        }
    }

    /// Returns the pointers of the secrets.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Takes out the values at the pointers and leaves markers in their place.
    pub(crate) fn take_out<'a>(values: &mut Json, pointers: impl IntoIterator<Item = &'a String>) -> Self {
        let mut taken = BTreeMap::new();
        for pointer in pointers {
            if let Some(place) = values.pointer_mut(pointer) {
                taken.insert(pointer.clone(), std::mem::replace(place, Json::String(MARKER.to_owned())));
            }
        }
        Self(taken)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_put_back_exactly() {
        let original = json!({"a": {"t": "hush"}, "b/c": [{"k": {"deep": 1}}], "d": 2});
        let mut values = original.clone();
        let pointers = ["/a/t".to_owned(), "/b~1c/0/k".to_owned(), "/missing".to_owned()];
        let secrets = SecretValues::take_out(&mut values, &pointers);
        assert_eq!(values, json!({"a": {"t": MARKER}, "b/c": [{"k": MARKER}], "d": 2}));
        secrets.put_back(&mut values);
        assert_eq!(values, original);
    }

    #[test]
    fn sealed_secrets_open_for_their_config_and_part_only() {
        let key = DataKey::new(&[3; 32]).unwrap();
        let (tenant, config) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let secrets = SecretValues(BTreeMap::from([("/t".to_owned(), json!("hush"))]));
        let sealed = secrets.seal(&key, (tenant, config), ConfigPart::Values).unwrap().unwrap();
        let open = |config, part| SecretValues::open(&key, (tenant, config), part, Some(&sealed));
        assert!(open(tenant, ConfigPart::Values).is_err());
        assert!(open(config, ConfigPart::Transport).is_err());
        assert_eq!(open(config, ConfigPart::Values).unwrap().0, secrets.0);
        assert!(SecretValues::default().seal(&key, (tenant, config), ConfigPart::Values).unwrap().is_none());
    }
}
