//! What an example is made of: a folder, and an API that holds something.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::Value;

/// An example, and the API that it is about.
#[derive(Clone, Copy)]
pub(super) struct Example {
    /// Below `docs/examples`.
    pub(super) folder: &'static str,
    /// Values of the config that are other than in the folder: addresses above all.
    pub(super) values: fn(&ApiSetup) -> Value,
    /// The API as it is before the first run.
    pub(super) api: fn(&ApiSetup) -> Box<dyn ExampleApi>,
}

/// What an API is built on.
#[derive(Debug, Clone)]
pub(super) struct ApiSetup {
    /// The time before the first run.
    pub(super) now: DateTime<Utc>,
    /// The API's address, `http://127.0.0.1:…`.
    pub(super) url: String,
    /// Its second address.
    pub(super) other: String,
    /// Nothing changes while a run is going: a page that is asked for twice is the same.
    pub(super) calm: bool,
    /// Time costs nothing: waits may be as long as they are in the world.
    pub(super) patient: bool,
}

/// An API as its documentation describes it.
pub(super) trait ExampleApi: Send {
    /// What happens before the run of this number, counted from 0; false: there is no such run.
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool;

    /// The answer to a request.
    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply;

    /// What has to come out of the run of this number, which began then.
    fn expected(&self, run: usize, started: DateTime<Utc>) -> ExpectedOutcome;

    /// Whether the run of this number is cancelled when it waits for the first time.
    fn cancels(&self, _run: usize) -> bool {
        false
    }
}

/// What has to come out of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpectedOutcome {
    /// How it ends.
    pub(super) status: &'static str,
    /// Whether something is missing.
    pub(super) partial: bool,
    /// Rows by step, in any order.
    pub(super) rows: BTreeMap<String, Vec<Value>>,
    /// Codes of the errors that are reported, in any order.
    pub(super) errors: Vec<&'static str>,
}

impl ExpectedOutcome {
    /// A run that succeeds, whole, and emits these rows of a step.
    pub(super) fn rows(step: &str, rows: Vec<Value>) -> ExpectedOutcome {
        let rows = BTreeMap::from([(step.to_owned(), rows)]);
        ExpectedOutcome { status: "succeeded", partial: false, rows, errors: Vec::new() }
    }

    /// One that emits nothing.
    pub(super) fn nothing() -> ExpectedOutcome {
        ExpectedOutcome { rows: BTreeMap::new(), ..ExpectedOutcome::rows("", Vec::new()) }
    }

    /// The same, without something that was reported.
    pub(super) fn partial(self, errors: &[&'static str]) -> ExpectedOutcome {
        ExpectedOutcome { partial: true, errors: errors.to_vec(), ..self }
    }

    /// The same, ended in another way.
    pub(super) fn ended(self, status: &'static str, errors: &[&'static str]) -> ExpectedOutcome {
        ExpectedOutcome { status, errors: errors.to_vec(), ..self }
    }
}
