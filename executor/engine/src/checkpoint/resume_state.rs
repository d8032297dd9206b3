//! The resume state: where an execution is, so that a later attempt can continue there.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_common::limits::RESUME_STATE_MAX_BYTES;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::checkpoint::error::{CheckpointError, check_version};
use crate::checkpoint::held_cursors::HeldCursorsState;
use crate::checkpoint::json::RawJson;
use crate::checkpoint::path_observations::PathObservations;
use crate::checkpoint::step_state::SequenceState;
use crate::message::limits::LearnedLimits;

/// Position of an execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeState {
    /// [`crate::checkpoint::error::VERSION`].
    pub(crate) version: u32,
    /// The execution that wrote the state. Another execution that continues here has its own limits
    /// and counts.
    pub(crate) execution_id: Uuid,
    /// True if something was ignored or left out.
    pub(crate) partial: bool,
    /// True if every loop so far reached its own end.
    pub(crate) complete: bool,
    /// Observations that warnings are made from, by step path.
    #[serde(rename = "seen", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) observations: BTreeMap<String, PathObservations>,
    /// Cursor values with which the execution began, by step id.
    #[serde(rename = "began", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cursor_starts: BTreeMap<String, RawJson>,
    /// Cursors that no later attempt saves, because rows behind them failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<HeldCursorsState>,
    /// Limits of messages that refusals of the broker have shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message_limits: Option<LearnedLimits>,
    /// The root steps; `None` once all are done.
    #[serde(rename = "at")]
    pub(crate) steps: Option<SequenceState>,
}

impl ResumeState {
    /// Writes the state.
    ///
    /// # Errors
    /// Fails if the JSON would be larger than [`RESUME_STATE_MAX_BYTES`].
    pub(crate) fn encode(&self) -> Result<Bytes, CheckpointError> {
        let json = serde_json::to_vec(self)?;
        if json.len() > RESUME_STATE_MAX_BYTES {
            return Err(CheckpointError::ResumeStateTooLarge(json.len()));
        }
        Ok(json.into())
    }

    /// Reads a state.
    ///
    /// # Errors
    /// Fails if the bytes are not a resume state of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        // Unknown members are refused too: they belong to another layout, and would be lost.
        check_version(bytes)?;
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::checkpoint::deferred_writes::DeferredWrites;
    use crate::checkpoint::error::VERSION;
    use crate::checkpoint::loop_parts::PageTarget;
    use crate::checkpoint::step_state::{ActiveStepState, LoopState};

    fn state(latest: &str) -> ResumeState {
        let step = LoopState {
            entered: true,
            page: 3,
            uncounted_pages: 0,
            rows_read: 0,
            pages_before_slice: 0,
            retry: 1,
            due_ms: Some(1_768_473_000_000),
            target: PageTarget::Cursor("\"b\"".to_owned()),
            home_origin: Some("https://api.example.com".to_owned()),
            repeat_guard: String::new(),
            latest_answer: None,
            latest_response: Some(RawValue::from_string(latest.to_owned()).unwrap()),
            window: None,
            watermark: None,
            shared_cursors: Vec::new(),
            rows: None,
            gathered: Vec::new(),
        };
        let steps = SequenceState {
            index: 0,
            id: "orders".to_owned(),
            step: ActiveStepState::Loop(Box::new(step)),
            finished: BTreeMap::new(),
            gathered: BTreeMap::new(),
            deferred: DeferredWrites::default(),
        };
        ResumeState {
            version: VERSION,
            execution_id: Uuid::nil(),
            partial: false,
            complete: true,
            observations: BTreeMap::new(),
            cursor_starts: BTreeMap::new(),
            held: Vec::new(),
            message_limits: None,
            steps: Some(steps),
        }
    }

    #[test]
    fn resume_state_survives_encoding() {
        let written = state("{\"n\":9007199254740993}").encode().unwrap();
        let read = ResumeState::decode(&written).unwrap();
        assert_eq!(read.encode().unwrap(), written);
    }

    #[test]
    fn state_of_another_version_is_refused() {
        let written = br#"{"version":9,"anything":true}"#;
        assert_eq!(ResumeState::decode(written).unwrap_err(), CheckpointError::Version(9));
        assert!(matches!(ResumeState::decode(b"{"), Err(CheckpointError::Json(_))));
        let unknown = br#"{"version":2,"execution_id":"00000000-0000-0000-0000-000000000000","partial":false,"complete":true,"at":null,"more":1}"#;
        assert!(matches!(ResumeState::decode(unknown), Err(CheckpointError::Json(_))));
    }

    #[test]
    fn resume_state_over_256_kib_is_refused() {
        let large = format!("\"{}\"", "x".repeat(RESUME_STATE_MAX_BYTES));
        assert!(matches!(state(&large).encode(), Err(CheckpointError::ResumeStateTooLarge(_))));
    }
}
