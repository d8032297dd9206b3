//! The secrets of a config: taken out of its values and its transport, kept as a sealed map by JSON pointer of each, and put
//! back in their places for an executor. Where a secret belongs, a marker stands.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use uuid::Uuid;

use crate::keys::{DataKey, KeyError};

/// What stands for a secret wherever a config is read; written back, it keeps the value.
pub const MARKER: &str = "[SECRET]";

/// What of a config holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigPart {
    /// Its values.
    Values,
    /// Its transport.
    Transport,
}

impl ConfigPart {
    /// The field that the sealed map is bound to.
    fn field(self) -> &'static str {
        match self {
            ConfigPart::Values => "secrets",
            ConfigPart::Transport => "transport_secrets",
        }
    }
}

/// Secrets by JSON pointers that begin at the part. Has no `Debug`.
#[derive(Default)]
pub struct SecretValues(pub(crate) BTreeMap<String, Json>);

impl SecretValues {
    /// Opens the sealed map of a config; none is an empty one.
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

    /// Seals the map for a config; none where it is empty.
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

    /// Puts each secret in its place.
    pub fn put_back(&self, values: &mut Json) {
        for (pointer, secret) in &self.0 {
            if let Some(place) = values.pointer_mut(pointer) {
                place.clone_from(secret);
            }
        }
    }

    /// Where the secrets belong.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Takes the values at the pointers out, and leaves the marker there.
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
    fn what_was_taken_out_is_put_back_exactly() {
        let original = json!({"a": {"t": "hush"}, "b/c": [{"k": {"deep": 1}}], "d": 2});
        let mut values = original.clone();
        let pointers = ["/a/t".to_owned(), "/b~1c/0/k".to_owned(), "/missing".to_owned()];
        let secrets = SecretValues::take_out(&mut values, &pointers);
        assert_eq!(values, json!({"a": {"t": MARKER}, "b/c": [{"k": MARKER}], "d": 2}));
        secrets.put_back(&mut values);
        assert_eq!(values, original);
    }

    #[test]
    fn sealed_secrets_open_for_their_config_and_part_alone() {
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
