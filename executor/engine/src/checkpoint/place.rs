//! The two documents of a checkpoint: the place, and the values of finished steps.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_plan::Value;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::machine::{Pointer, Seen};

/// Bytes of a place.
pub(crate) const PLACE_MAX: usize = 256 * 1024;
/// Bytes of finished values.
const FINISHED_MAX: usize = 8 * 1024 * 1024;
/// The layout below. A reader takes this one alone.
const VERSION: u32 = 1;

/// A place that cannot be written, or does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("the place is {0} bytes, more than {PLACE_MAX}")]
    PlaceTooLarge(usize),
    #[error("the values of finished steps are {0} bytes, more than {FINISHED_MAX}")]
    FinishedTooLarge(usize),
    #[error("{0}")]
    Json(String),
    #[error("version {0} is not {VERSION}")]
    Version(u32),
}

/// Where a run is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    version: u32,
    /// The execution that was there; another one goes on with limits and counts of its own.
    pub(crate) execution_id: Uuid,
    /// Something was ignored or left out.
    pub(crate) partial: bool,
    /// Every loop so far ended by itself.
    pub(crate) complete: bool,
    /// The step being run; none: all steps are done.
    pub(crate) step: Option<StepPlace>,
}

/// Where a step is: before the first try of a pass, or before a further one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepPlace {
    /// Index of the root step, and its id: a check that the plan is the same.
    pub(crate) index: usize,
    pub(crate) id: String,
    /// `execute_if` was asked, and said yes.
    pub(crate) asked: bool,
    /// Passes before this one.
    pub(crate) page: u64,
    /// Passes before this one that an earlier execution made.
    pub(crate) base: u64,
    /// Tries before the next one of this pass.
    pub(crate) retry: u32,
    /// When the next try is due, in milliseconds of the epoch.
    pub(crate) due_ms: Option<i64>,
    pub(crate) pointer: Pointer,
    /// Scheme, host and port of the step's own url.
    pub(crate) home: Option<String>,
    /// What the loop asked so far.
    pub(crate) guard: String,
    /// What the next pass reads of the latest response.
    pub(crate) latest: Box<RawValue>,
    pub(crate) seen: Vec<Seen>,
}

impl Place {
    pub(crate) fn new(execution_id: Uuid, partial: bool, complete: bool, step: Option<StepPlace>) -> Place {
        Place { version: VERSION, execution_id, partial, complete, step }
    }

    /// The bytes; an error where they are too many.
    pub(crate) fn encode(&self) -> Result<Bytes, PlaceError> {
        let json = serde_json::to_vec(self).map_err(|error| PlaceError::Json(error.to_string()))?;
        if json.len() > PLACE_MAX {
            return Err(PlaceError::PlaceTooLarge(json.len()));
        }
        Ok(json.into())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Place, PlaceError> {
        check_version(bytes)?;
        serde_json::from_slice(bytes).map_err(|error| PlaceError::Json(error.to_string()))
    }
}

/// Values of finished steps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    version: u32,
    steps: BTreeMap<String, Box<RawValue>>,
}

impl Finished {
    pub(crate) fn encode(steps: &BTreeMap<String, Value>) -> Result<Bytes, PlaceError> {
        let raw = steps
            .iter()
            .map(|(id, value)| Ok((id.clone(), raw(value)?)))
            .collect::<Result<_, PlaceError>>()?;
        let finished = Finished { version: VERSION, steps: raw };
        let json = serde_json::to_vec(&finished).map_err(|error| PlaceError::Json(error.to_string()))?;
        if json.len() > FINISHED_MAX {
            return Err(PlaceError::FinishedTooLarge(json.len()));
        }
        Ok(json.into())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<BTreeMap<String, Value>, PlaceError> {
        check_version(bytes)?;
        let finished: Finished =
            serde_json::from_slice(bytes).map_err(|error| PlaceError::Json(error.to_string()))?;
        finished.steps.into_iter().map(|(id, value)| Ok((id, unraw(&value)?))).collect()
    }
}

/// A value as JSON text.
pub(crate) fn raw(value: &Value) -> Result<Box<RawValue>, PlaceError> {
    let json = String::from_utf8(value.to_json()).map_err(|error| PlaceError::Json(error.to_string()))?;
    RawValue::from_string(json).map_err(|error| PlaceError::Json(error.to_string()))
}

/// The reverse.
pub(crate) fn unraw(raw: &RawValue) -> Result<Value, PlaceError> {
    Value::parse(raw.get().as_bytes()).map_err(|error| PlaceError::Json(error.to_string()))
}

/// Reads the version before the rest: a document of another layout is named as such.
fn check_version(bytes: &[u8]) -> Result<(), PlaceError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } =
        serde_json::from_slice(bytes).map_err(|error| PlaceError::Json(error.to_string()))?;
    if version == VERSION { Ok(()) } else { Err(PlaceError::Version(version)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(latest: &str) -> Place {
        let step = StepPlace {
            index: 0,
            id: "orders".to_owned(),
            asked: true,
            page: 3,
            base: 0,
            retry: 1,
            due_ms: Some(1_768_473_000_000),
            pointer: Pointer::Cursor("\"b\"".to_owned()),
            home: Some("https://api.example.com".to_owned()),
            guard: String::new(),
            latest: RawValue::from_string(latest.to_owned()).unwrap(),
            seen: Vec::new(),
        };
        Place::new(Uuid::nil(), false, true, Some(step))
    }

    #[test]
    fn a_place_reads_as_it_was_written() {
        let written = place("{\"n\":9007199254740993}").encode().unwrap();
        let read = Place::decode(&written).unwrap();
        assert_eq!(read.encode().unwrap(), written);
    }

    #[test]
    fn a_place_of_another_layout_is_refused_by_its_version() {
        let written = br#"{"version":2,"anything":true}"#;
        assert_eq!(Place::decode(written).unwrap_err(), PlaceError::Version(2));
        assert!(matches!(Place::decode(b"{"), Err(PlaceError::Json(_))));
        let unknown = br#"{"version":1,"execution_id":"00000000-0000-0000-0000-000000000000","partial":false,"complete":true,"step":null,"more":1}"#;
        assert!(matches!(Place::decode(unknown), Err(PlaceError::Json(_))));
    }

    #[test]
    fn a_place_over_256_kib_is_refused() {
        let large = format!("\"{}\"", "x".repeat(PLACE_MAX));
        assert!(matches!(place(&large).encode(), Err(PlaceError::PlaceTooLarge(_))));
    }

    #[test]
    fn finished_values_read_as_they_were_written() {
        let steps =
            BTreeMap::from([("a".to_owned(), Value::parse(b"{\"n\":18446744073709551615}").unwrap())]);
        let read = Finished::decode(&Finished::encode(&steps).unwrap()).unwrap();
        assert_eq!(read, steps);
        assert_eq!(Finished::decode(b"{\"version\":0}").unwrap_err(), PlaceError::Version(0));
    }
    #[test]
    fn finished_values_over_8_mib_are_refused() {
        let steps = BTreeMap::from([("a".to_owned(), Value::from("x".repeat(FINISHED_MAX)))]);
        assert!(matches!(Finished::encode(&steps), Err(PlaceError::FinishedTooLarge(_))));
    }
}
