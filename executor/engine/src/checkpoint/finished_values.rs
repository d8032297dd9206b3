//! The values of finished steps: the second document of a checkpoint, written only when it changes.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_common::limits::FINISHED_STEPS_MAX_BYTES;
use orchid_plan::Value;
use serde::{Deserialize, Serialize};

use crate::checkpoint::error::{CheckpointError, VERSION, check_version};
use crate::checkpoint::json::{RawJson, decode_map, encode_map};

/// Values of the finished root steps that later steps read, and the lists of `for_each` steps.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct FinishedValues {
    /// Responses by step id.
    pub(crate) steps: BTreeMap<String, Value>,
    /// Lists by step path.
    pub(crate) lists: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FinishedDocument {
    version: u32,
    steps: BTreeMap<String, RawJson>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lists: BTreeMap<String, RawJson>,
}

impl FinishedValues {
    /// Writes the document.
    ///
    /// # Errors
    /// Fails if the document would be larger than [`FINISHED_STEPS_MAX_BYTES`].
    pub(crate) fn encode(&self) -> Result<Bytes, CheckpointError> {
        let document = FinishedDocument {
            version: VERSION,
            steps: encode_map(&self.steps)?,
            lists: encode_map(&self.lists)?,
        };
        let json = serde_json::to_vec(&document)?;
        if json.len() > FINISHED_STEPS_MAX_BYTES {
            return Err(CheckpointError::FinishedValuesTooLarge(json.len()));
        }
        Ok(json.into())
    }

    /// Reads the document.
    ///
    /// # Errors
    /// Fails if the bytes are not a document of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        check_version(bytes)?;
        let document: FinishedDocument = serde_json::from_slice(bytes)?;
        Ok(Self { steps: decode_map(&document.steps)?, lists: decode_map(&document.lists)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_values_survive_encoding() {
        let value = |json: &str| Value::parse(json.as_bytes()).unwrap();
        let finished = FinishedValues {
            steps: BTreeMap::from([("a".to_owned(), value("{\"n\":18446744073709551615}"))]),
            lists: BTreeMap::from([("b".to_owned(), value("[1,2]"))]),
        };
        assert_eq!(FinishedValues::decode(&finished.encode().unwrap()).unwrap(), finished);
        assert_eq!(FinishedValues::decode(b"{\"version\":0}").unwrap_err(), CheckpointError::Version(0));
    }

    #[test]
    fn finished_values_over_8_mib_are_refused() {
        let steps = BTreeMap::from([("a".to_owned(), Value::from("x".repeat(FINISHED_STEPS_MAX_BYTES)))]);
        let finished = FinishedValues { steps, lists: BTreeMap::new() };
        assert!(matches!(finished.encode(), Err(CheckpointError::FinishedValuesTooLarge(_))));
    }
}
