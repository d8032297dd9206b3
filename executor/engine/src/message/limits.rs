//! The sizes of messages that the broker accepts, as far as the execution knows them.
//!
//! The setting may be larger than the broker's own limit, which shows only when the broker refuses
//! a message. A refused message with several rows is made again as smaller ones. A refused message
//! with a single row or element shows that this element cannot be sent at all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::BodyKind;
use super::id::short_hash;
use super::kafka::{Message, Topic};

/// Most refused elements of an execution. A checkpoint holds a hash of each.
const REFUSED_MAX: usize = 256;

/// Size of a message with a part of a file from which on a smaller one is not tried.
const PART_MIN_BYTES: usize = 16 * 1024;

/// Limits of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageLimits {
    /// Largest message that is sent, in bytes.
    pub(crate) max_bytes: usize,
    learned: LearnedLimits,
}

/// Limits that refusals of the broker have shown, as a checkpoint holds them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LearnedLimits {
    /// Largest message with more than one row, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_bytes: Option<usize>,
    /// Hashes of rows and elements that the broker refused even alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    refused: BTreeSet<String>,
}

/// The parts of a payload that tell what a message carries.
#[derive(Deserialize)]
struct RefusedPayload<'a> {
    body_kind: &'a str,
    #[serde(borrow)]
    response_body: Vec<&'a RawValue>,
}

impl MessageLimits {
    /// Creates the limits of an execution whose messages the broker has always accepted.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, learned: LearnedLimits::default() }
    }

    /// Adds what an earlier attempt has learned.
    pub(crate) fn resume(&mut self, learned: LearnedLimits) {
        self.learned = learned;
    }

    /// Returns what a checkpoint keeps; `None` if the broker refused nothing.
    pub(crate) fn learned(&self) -> Option<LearnedLimits> {
        (self.learned != LearnedLimits::default()).then(|| self.learned.clone())
    }

    /// Returns the largest message with more than one row, in bytes. A single row is tried up to
    /// [`Self::max_bytes`].
    pub(crate) fn batch_bytes(&self) -> usize {
        self.learned.batch_bytes.map_or(self.max_bytes, |bytes| bytes.min(self.max_bytes))
    }

    /// Returns whether elements have to be looked up, because some were refused.
    pub(crate) fn has_refused(&self) -> bool {
        !self.learned.refused.is_empty()
    }

    /// Returns whether the broker refused this element even alone.
    pub(crate) fn is_refused(&self, element: &[u8]) -> bool {
        // Without refusals, which is the rule, nothing is hashed.
        self.has_refused() && self.learned.refused.contains(&short_hash(element.trim_ascii()))
    }

    /// Learns from a message that the broker refused. Returns false if the message cannot be made
    /// smaller. A message that was made before an earlier refusal may tell nothing new.
    pub(crate) fn learn(&mut self, message: &Message) -> bool {
        let Ok(RefusedPayload { body_kind, response_body }) = serde_json::from_slice(&message.payload) else {
            return false;
        };
        let is_file = [BodyKind::Text, BodyKind::Binary].iter().any(|kind| kind.as_str() == body_kind);
        match (message.topic, response_body.as_slice()) {
            (Topic::Events, _) | (_, []) => false,
            // Parts of files may be of any size, but each is an envelope and something of the file.
            (Topic::Responses, [_]) if is_file && message.size() < PART_MIN_BYTES => false,
            (Topic::Responses, [element]) if !is_file => {
                self.learned.refused.insert(short_hash(element.get().as_bytes()));
                self.learned.refused.len() <= REFUSED_MAX
            }
            // An error message is made smaller by leaving out its body.
            (Topic::Responses | Topic::Errors, _) => {
                let smaller = message.size() / 2;
                self.learned.batch_bytes = Some(self.batch_bytes().min(smaller));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(body: &str) -> Message {
        let payload = Bytes::from(format!("{{\"body_kind\":\"rows\",\"response_body\":{body}}}"));
        Message { topic: Topic::Responses, key: String::new(), headers: Vec::new(), payload }
    }

    #[test]
    fn several_rows_are_made_smaller_and_a_single_one_is_refused() {
        let mut limits = MessageLimits::new(1_000);
        let several = message("[1,{\"a\": 2}]");
        assert!(limits.learn(&several));
        assert_eq!((limits.batch_bytes(), limits.max_bytes), (several.size() / 2, 1_000));
        assert!(limits.learn(&message("[1,{\"a\": 22222222}]")), "it was in flight at that time");
        assert_eq!(limits.batch_bytes(), several.size() / 2);
        assert!(limits.learn(&message("[ {\"a\": 2} ]")));
        assert!(limits.is_refused(b"{\"a\": 2}") && !limits.is_refused(b"1"));
        assert!(limits.learn(&message("[{\"a\": 2}]")) && !limits.learn(&message("[]")));
        let mut resumed = MessageLimits::new(1_000);
        resumed.resume(limits.learned().unwrap());
        assert_eq!(resumed, limits);
    }

    #[test]
    fn parts_of_files_are_made_smaller_down_to_a_bound() {
        let file = |bytes: usize| {
            let payload = format!("{{\"body_kind\":\"text\",\"response_body\":[\"{}\"]}}", "x".repeat(bytes));
            Message { payload: payload.into(), ..message("[]") }
        };
        let mut limits = MessageLimits::new(100_000);
        let part = file(90_000);
        assert!(limits.learn(&part) && !limits.has_refused());
        assert_eq!(limits.batch_bytes(), part.size() / 2);
        assert!(!limits.learn(&file(1_000)));
    }

    #[test]
    fn refused_elements_are_bounded() {
        let mut limits = MessageLimits::new(1_000);
        assert!((0..REFUSED_MAX).all(|number| limits.learn(&message(&format!("[{number}]")))));
        assert!(!limits.learn(&message("[\"one more\"]")));
    }
}
