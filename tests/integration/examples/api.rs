//! The parts of an example: a folder, and a server for its API.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::Value;

/// An example with the server for its API.
#[derive(Clone, Copy)]
pub(super) struct Example {
    /// The folder below `docs/examples`.
    pub(super) folder: &'static str,
    /// The config values that differ from the folder's, such as addresses.
    pub(super) values: fn(&ApiSetup) -> Value,
    /// Creates the API in its state before the first execution.
    pub(super) api: fn(&ApiSetup) -> Box<dyn ExampleApi>,
}

/// The environment of an example's API.
#[derive(Debug, Clone)]
pub(super) struct ApiSetup {
    /// The time before the first execution.
    pub(super) now: DateTime<Utc>,
    /// The base URL of the API, `http://127.0.0.1:…`.
    pub(super) url: String,
    /// The API's second base URL.
    pub(super) other: String,
    /// Whether nothing changes during an execution, so that a repeated page is the same.
    pub(super) calm: bool,
    /// Whether time is simulated, so that waits may be as long as in reality.
    pub(super) patient: bool,
}

/// A server that behaves as the API's documentation describes.
pub(super) trait ExampleApi: Send {
    /// Prepares execution number `run`, from 0; returns false if there is no such execution.
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool;

    /// Returns the response to a request.
    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply;

    /// Returns the expected outcome of execution number `run`, which started at `started`.
    fn expected(&self, run: usize, started: DateTime<Utc>) -> ExpectedOutcome;

    /// Returns whether execution number `run` is cancelled when it first waits.
    fn cancels(&self, _run: usize) -> bool {
        false
    }
}

/// The expected outcome of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpectedOutcome {
    /// The final status.
    pub(super) status: &'static str,
    /// Whether the execution is partial.
    pub(super) partial: bool,
    /// The rows of each step, in any order.
    pub(super) rows: BTreeMap<String, Vec<Value>>,
    /// The codes of the reported errors, in any order.
    pub(super) errors: Vec<&'static str>,
}

impl ExpectedOutcome {
    /// Returns the outcome of an execution that succeeds with these rows of a step.
    pub(super) fn rows(step: &str, rows: Vec<Value>) -> ExpectedOutcome {
        let rows = BTreeMap::from([(step.to_owned(), rows)]);
        ExpectedOutcome { status: "succeeded", partial: false, rows, errors: Vec::new() }
    }

    /// Returns the outcome of an execution that succeeds without rows.
    pub(super) fn nothing() -> ExpectedOutcome {
        ExpectedOutcome { rows: BTreeMap::new(), ..ExpectedOutcome::rows("", Vec::new()) }
    }

    /// Returns the same outcome as partial, with these errors.
    pub(super) fn partial(self, errors: &[&'static str]) -> ExpectedOutcome {
        ExpectedOutcome { partial: true, errors: errors.to_vec(), ..self }
    }

    /// Returns the same outcome with another status and these errors.
    pub(super) fn ended(self, status: &'static str, errors: &[&'static str]) -> ExpectedOutcome {
        ExpectedOutcome { status, errors: errors.to_vec(), ..self }
    }
}
