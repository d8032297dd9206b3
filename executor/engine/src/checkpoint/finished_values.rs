//! The values of finished steps: the second document of a checkpoint, written only when it changes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_common::limits::FINISHED_STEPS_MAX_BYTES;
use orchid_plan::Value;
use serde::{Deserialize, Serialize};

use crate::checkpoint::error::{CheckpointError, VERSION, check_version};
use crate::checkpoint::json::{RawJson, decode_map, encode_map};

/// Values of the finished root steps that later steps read, and the lists of `for_each` steps with
/// the answers of their items.
#[derive(Debug, Default)]
pub(crate) struct FinishedValues {
    /// Responses by step id.
    pub(crate) steps: BTreeMap<String, Value>,
    /// Lists by step path.
    pub(crate) lists: BTreeMap<String, Value>,
    /// Last responses of finished items, by step path.
    pub(crate) answers: BTreeMap<String, ItemAnswers>,
}

/// The parts of the items' last responses that later steps read, by the number of the item.
pub(crate) type ItemAnswers = BTreeMap<u64, RawJson>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FinishedDocument<'a> {
    version: u32,
    steps: BTreeMap<String, RawJson>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lists: BTreeMap<String, RawJson>,
    /// Borrowed where the document is written, since answers can be many.
    #[serde(default, skip_serializing_if = "has_none")]
    answers: Cow<'a, BTreeMap<String, ItemAnswers>>,
}

fn has_none(answers: &BTreeMap<String, ItemAnswers>) -> bool {
    answers.is_empty()
}

impl FinishedValues {
    /// Writes the document.
    ///
    /// # Errors
    /// Fails if the document would be larger than [`FINISHED_STEPS_MAX_BYTES`].
    pub(crate) fn encode(
        steps: &BTreeMap<String, Value>,
        lists: &BTreeMap<String, Value>,
        answers: &BTreeMap<String, ItemAnswers>,
    ) -> Result<Bytes, CheckpointError> {
        let (steps, lists) = (encode_map(steps)?, encode_map(lists)?);
        let document = FinishedDocument { version: VERSION, steps, lists, answers: Cow::Borrowed(answers) };
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
        let document: FinishedDocument<'_> = serde_json::from_slice(bytes)?;
        let (steps, lists) = (decode_map(&document.steps)?, decode_map(&document.lists)?);
        Ok(Self { steps, lists, answers: document.answers.into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_values_survive_encoding() {
        let value = |json: &str| Value::parse(json.as_bytes()).unwrap();
        let steps = BTreeMap::from([("a".to_owned(), value("{\"n\":18446744073709551615}"))]);
        let lists = BTreeMap::from([("b".to_owned(), value("[1,2]"))]);
        let answer = serde_json::value::RawValue::from_string("{\"c\":1.50}".to_owned()).unwrap();
        let answers = BTreeMap::from([("b".to_owned(), ItemAnswers::from([(7, answer)]))]);
        let written = FinishedValues::encode(&steps, &lists, &answers).unwrap();
        let read = FinishedValues::decode(&written).unwrap();
        assert_eq!((&read.steps, &read.lists), (&steps, &lists));
        assert_eq!(read.answers["b"][&7].get(), "{\"c\":1.50}");
        assert_eq!(FinishedValues::decode(b"{\"version\":0}").unwrap_err(), CheckpointError::Version(0));
    }

    #[test]
    fn finished_values_over_8_mib_are_refused() {
        let steps = BTreeMap::from([("a".to_owned(), Value::from("x".repeat(FINISHED_STEPS_MAX_BYTES)))]);
        let written = FinishedValues::encode(&steps, &BTreeMap::new(), &BTreeMap::new());
        assert!(matches!(written, Err(CheckpointError::FinishedValuesTooLarge(_))));
    }
}
