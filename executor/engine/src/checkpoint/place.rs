//! The two documents of a checkpoint: the place, and the values of finished steps.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_common::limits::{FINISHED_STEPS_MAX_BYTES, RESUME_STATE_MAX_BYTES};
use orchid_plan::Value;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::machine::{Pointer, Seen};

/// The layout below. A reader takes this one alone.
const VERSION: u32 = 2;

/// A place that cannot be written, or does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("the place is {0} bytes, more than {RESUME_STATE_MAX_BYTES}")]
    PlaceTooLarge(usize),
    #[error("the values of finished steps are {0} bytes, more than {FINISHED_STEPS_MAX_BYTES}")]
    FinishedTooLarge(usize),
    #[error("{0}")]
    Json(String),
    #[error("version {0} is not {VERSION}")]
    Version(u32),
}

impl PlaceError {
    /// Whether there is more to say than a place may hold.
    pub(crate) fn is_too_large(&self) -> bool {
        match self {
            PlaceError::PlaceTooLarge(_) | PlaceError::FinishedTooLarge(_) => true,
            PlaceError::Json(_) | PlaceError::Version(_) => false,
        }
    }
}

/// JSON as it stands.
pub(crate) type Json = Box<RawValue>;

/// Where a run is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    version: u32,
    /// The execution that was there; another one goes on with limits and counts of its own.
    pub(crate) execution_id: Uuid,
    /// Something was ignored or left out.
    pub(crate) partial: bool,
    /// Every loop so far ended by itself.
    pub(crate) complete: bool,
    /// What warnings are made of, by the steps' paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) seen: BTreeMap<String, Seen>,
    /// Cursors that the run began with, by the steps' ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) began: BTreeMap<String, Json>,
    /// The root steps; none: all are done.
    pub(crate) at: Option<SequencePlace>,
}

/// Where a sequence of steps is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SequencePlace {
    /// Number of the step on its level, and its id: a check that the plan is the same.
    pub(crate) index: usize,
    pub(crate) id: String,
    pub(crate) step: ActivePlace,
    /// Below the root: what of the level's earlier steps is read later, and goes into the row around.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) finished: BTreeMap<String, Json>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) gathered: BTreeMap<String, Json>,
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub(crate) carried: Carried,
}

/// What is saved with the row or item around, and not before.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carried {
    /// Context fields; null where one was removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) writes: BTreeMap<String, Json>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cursors: Vec<CursorPlace>,
}

impl Carried {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.cursors.is_empty()
    }
}

/// A cursor or validator that is not saved yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CursorPlace {
    pub(crate) validator: bool,
    pub(crate) step: String,
    pub(crate) item: String,
    pub(crate) json: Json,
}

/// Where the step under way is, by what kind of step it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ActivePlace {
    Loop(Box<StepPlace>),
    Each(EachPlace),
    Job(Box<JobPlace>),
}

impl SequencePlace {
    /// An upstream works for what lies here, and can be told to stop.
    pub(crate) fn works_upstream(&self) -> bool {
        self.step.works_upstream()
    }
}

impl RowsPlace {
    fn works_upstream(&self) -> bool {
        self.under_way.values().any(|row| row.at.works_upstream())
    }
}

impl ActivePlace {
    /// The same of a single step.
    pub(crate) fn works_upstream(&self) -> bool {
        match self {
            ActivePlace::Loop(step) => step.rows.as_ref().is_some_and(RowsPlace::works_upstream),
            ActivePlace::Each(each) => each.under_way.values().any(|item| item.step.works_upstream()),
            ActivePlace::Job(job) => job.around.is_some(),
        }
    }

    /// The same place for another execution: its limits begin anew, and it waits for nothing of the one before.
    pub(crate) fn begin_anew(&mut self) {
        match self {
            ActivePlace::Loop(step) => step.begin_anew(),
            ActivePlace::Each(each) => each.under_way.values_mut().for_each(|item| item.step.begin_anew()),
            ActivePlace::Job(job) => {
                job.due_ms = None;
                job.step.iter_mut().for_each(|step| step.begin_anew());
                job.download.iter_mut().for_each(|download| download.step.begin_anew());
            }
        }
    }
}

impl StepPlace {
    fn begin_anew(&mut self) {
        (self.base, self.retry, self.due_ms) = (self.page, 0, None);
        let rows = self.rows.iter_mut().flat_map(|rows| rows.under_way.values_mut());
        rows.for_each(|row| row.at.step.begin_anew());
    }
}

/// Where a loop is: before the first try of a pass, or before a further one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepPlace {
    /// `execute_if` was asked, and said yes.
    pub(crate) asked: bool,
    /// Passes before this one.
    pub(crate) page: u64,
    /// Passes before this one that an earlier execution made, or that earlier slices took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) base: u64,
    /// Passes before this slice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) slice_base: u64,
    /// Tries before the next one of this pass.
    #[serde(default)]
    pub(crate) retry: u32,
    /// When the next try is due, in milliseconds of the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due_ms: Option<i64>,
    #[serde(default)]
    pub(crate) pointer: Pointer,
    /// Scheme, host and port of the step's own url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) home: Option<String>,
    /// What the loop asked so far.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) guard: String,
    /// What the next pass reads of the latest response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latest: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<WindowPlace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<ReachPlace>,
    /// Rows of this pass that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<RowsPlace>,
    /// Rows of earlier passes that go into the row around.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gathered: Vec<Json>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The slice that a loop is in, and the end of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowPlace {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

/// What a step began reading from, and the furthest that it came since.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReachPlace {
    pub(crate) item: String,
    pub(crate) began: Json,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) furthest: Option<Json>,
}

/// How far a pass is with its rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsPlace {
    /// Rows that are done, and those in the messages so far.
    pub(crate) done: u64,
    /// Hex of the first 16 bytes of SHA-256 over those rows, each after its length in 8 bytes, big endian.
    pub(crate) hash: String,
    /// Number of the next chunk.
    pub(crate) chunk: u32,
    /// What those rows wrote.
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub(crate) carried: Carried,
    /// Rows under way, where a run is handed back in the middle of them, or upstreams work for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) under_way: BTreeMap<u64, RowPlace>,
}

/// Where one row is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowPlace {
    /// Hex of the first 8 bytes of SHA-256 over the row: the page may be another one when it is fetched again.
    pub(crate) row: String,
    pub(crate) at: SequencePlace,
}

/// How far a `for_each` is with its items.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EachPlace {
    /// Items that are done, all those before it too.
    pub(crate) done: u64,
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub(crate) carried: Carried,
    /// Items that are done out of their turn.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) ended: BTreeMap<u64, Carried>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) under_way: BTreeMap<u64, ItemPlace>,
    /// Last responses of the items so far, where `steps.<id>` is read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) responses: BTreeMap<u64, Json>,
    /// Rows of the items so far that go into the row around.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) gathered: BTreeMap<u64, Vec<Json>>,
}

/// Where one item is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemPlace {
    pub(crate) step: ActivePlace,
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub(crate) carried: Carried,
}

/// Where an async job is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobPlace {
    pub(crate) asked: bool,
    pub(crate) phase: JobPhase,
    /// Polls so far.
    #[serde(default)]
    pub(crate) polls: u64,
    /// What the next poll reads of the last one's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_poll: Option<Json>,
    /// When the submit was answered, in milliseconds of the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since_ms: Option<i64>,
    /// When the next poll is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due_ms: Option<i64>,
    /// Answers of its steps that others of them read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) finished: BTreeMap<String, Json>,
    /// Where the submit or the poll is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<Box<StepPlace>>,
    /// Where the downloads are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) download: Option<Box<SequencePlace>>,
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub(crate) carried: Carried,
    /// What its `cancel` reads of the rows and steps around it, while the upstream works; none where nothing is around.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) around: Option<AroundPlace>,
}

/// The rows and steps around an async job, as far as its `cancel` reads them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AroundPlace {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) items: Vec<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<Json>,
}

/// What an async job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobPhase {
    Submit,
    Wait,
    Poll,
    Download,
}

/// What a run knows beside where it is.
pub(crate) struct PlaceHead {
    pub(crate) execution_id: Uuid,
    pub(crate) partial: bool,
    pub(crate) complete: bool,
    pub(crate) seen: BTreeMap<String, Seen>,
    pub(crate) began: BTreeMap<String, Json>,
}

impl Place {
    pub(crate) fn new(head: PlaceHead, at: Option<SequencePlace>) -> Place {
        let PlaceHead { execution_id, partial, complete, seen, began } = head;
        Place { version: VERSION, execution_id, partial, complete, seen, began, at }
    }

    /// The bytes; an error where they are too many.
    pub(crate) fn encode(&self) -> Result<Bytes, PlaceError> {
        let json = serde_json::to_vec(self).map_err(|error| PlaceError::Json(error.to_string()))?;
        if json.len() > RESUME_STATE_MAX_BYTES {
            return Err(PlaceError::PlaceTooLarge(json.len()));
        }
        Ok(json.into())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Place, PlaceError> {
        check_version(bytes)?;
        serde_json::from_slice(bytes).map_err(|error| PlaceError::Json(error.to_string()))
    }
}

/// What later steps read of the root's finished ones, and the lists of `for_each`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Finished {
    /// By the steps' ids.
    pub(crate) steps: BTreeMap<String, Value>,
    /// By the steps' paths.
    pub(crate) lists: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FinishedWire {
    version: u32,
    steps: BTreeMap<String, Json>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lists: BTreeMap<String, Json>,
}

impl Finished {
    pub(crate) fn encode(&self) -> Result<Bytes, PlaceError> {
        let wire =
            FinishedWire { version: VERSION, steps: raw_map(&self.steps)?, lists: raw_map(&self.lists)? };
        let json = serde_json::to_vec(&wire).map_err(|error| PlaceError::Json(error.to_string()))?;
        if json.len() > FINISHED_STEPS_MAX_BYTES {
            return Err(PlaceError::FinishedTooLarge(json.len()));
        }
        Ok(json.into())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Finished, PlaceError> {
        check_version(bytes)?;
        let wire: FinishedWire =
            serde_json::from_slice(bytes).map_err(|error| PlaceError::Json(error.to_string()))?;
        Ok(Finished { steps: unraw_map(&wire.steps)?, lists: unraw_map(&wire.lists)? })
    }
}

/// Values as JSON text.
pub(crate) fn raw_map(values: &BTreeMap<String, Value>) -> Result<BTreeMap<String, Json>, PlaceError> {
    values.iter().map(|(name, value)| Ok((name.clone(), raw(value)?))).collect()
}

/// The reverse.
pub(crate) fn unraw_map(values: &BTreeMap<String, Json>) -> Result<BTreeMap<String, Value>, PlaceError> {
    values.iter().map(|(name, value)| Ok((name.clone(), unraw(value)?))).collect()
}

/// JSON bytes as they stand.
pub(crate) fn json(bytes: &[u8]) -> Result<Json, PlaceError> {
    serde_json::from_slice(bytes).map_err(|error| PlaceError::Json(error.to_string()))
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
            asked: true,
            page: 3,
            base: 0,
            slice_base: 0,
            retry: 1,
            due_ms: Some(1_768_473_000_000),
            pointer: Pointer::Cursor("\"b\"".to_owned()),
            home: Some("https://api.example.com".to_owned()),
            guard: String::new(),
            latest: Some(RawValue::from_string(latest.to_owned()).unwrap()),
            window: None,
            cursor: None,
            rows: None,
            gathered: Vec::new(),
        };
        let head = PlaceHead {
            execution_id: Uuid::nil(),
            partial: false,
            complete: true,
            seen: BTreeMap::new(),
            began: BTreeMap::new(),
        };
        let at = SequencePlace {
            index: 0,
            id: "orders".to_owned(),
            step: ActivePlace::Loop(Box::new(step)),
            finished: BTreeMap::new(),
            gathered: BTreeMap::new(),
            carried: Carried::default(),
        };
        Place::new(head, Some(at))
    }

    #[test]
    fn a_place_reads_as_it_was_written() {
        let written = place("{\"n\":9007199254740993}").encode().unwrap();
        let read = Place::decode(&written).unwrap();
        assert_eq!(read.encode().unwrap(), written);
    }

    #[test]
    fn a_place_of_another_layout_is_refused_by_its_version() {
        let written = br#"{"version":9,"anything":true}"#;
        assert_eq!(Place::decode(written).unwrap_err(), PlaceError::Version(9));
        assert!(matches!(Place::decode(b"{"), Err(PlaceError::Json(_))));
        let unknown = br#"{"version":2,"execution_id":"00000000-0000-0000-0000-000000000000","partial":false,"complete":true,"at":null,"more":1}"#;
        assert!(matches!(Place::decode(unknown), Err(PlaceError::Json(_))));
    }

    #[test]
    fn a_place_over_256_kib_is_refused() {
        let large = format!("\"{}\"", "x".repeat(RESUME_STATE_MAX_BYTES));
        assert!(matches!(place(&large).encode(), Err(PlaceError::PlaceTooLarge(_))));
    }

    #[test]
    fn finished_values_and_lists_read_as_they_were_written() {
        let value = |json: &str| Value::parse(json.as_bytes()).unwrap();
        let finished = Finished {
            steps: BTreeMap::from([("a".to_owned(), value("{\"n\":18446744073709551615}"))]),
            lists: BTreeMap::from([("b".to_owned(), value("[1,2]"))]),
        };
        assert_eq!(Finished::decode(&finished.encode().unwrap()).unwrap(), finished);
        assert_eq!(Finished::decode(b"{\"version\":0}").unwrap_err(), PlaceError::Version(0));
    }

    #[test]
    fn finished_values_over_8_mib_are_refused() {
        let steps = BTreeMap::from([("a".to_owned(), Value::from("x".repeat(FINISHED_STEPS_MAX_BYTES)))]);
        let finished = Finished { steps, lists: BTreeMap::new() };
        assert!(matches!(finished.encode(), Err(PlaceError::FinishedTooLarge(_))));
    }
}
