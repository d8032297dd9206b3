//! Outputs of the engine: requests to send, messages to emit, timers to start, and the end of the
//! attempt.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::attempt::CursorKey;
use crate::error::ExecutionError;
use crate::input::{EmitId, TimerId, TryId};
use crate::message::Message;
use crate::progress::Progress;
use crate::request::Request;

/// An action for the caller to perform.
///
/// `Park` and `Finished` are the last outputs of an attempt: the caller drops whatever is still in
/// flight, but continues to report acknowledgements, since they decide what
/// [`crate::Machine::checkpoint`] returns. One exception: a message that is refused after the
/// execution succeeded produces a second `Park` or `Finished`, which replaces the first.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a short-lived return value; boxing it would cost an allocation for each request"
)]
pub enum Output {
    /// Send a request. Several may be in flight at once.
    Fetch {
        /// Id that the response carries.
        try_id: TryId,
        /// The request.
        request: Request,
    },
    /// Deliver the next piece of a streamed body, as soon as there is room for the messages it may
    /// produce.
    ReadBody {
        /// The try whose body is read.
        try_id: TryId,
    },
    /// Give up a try: the rest of its body is not needed.
    Discard {
        /// The try.
        try_id: TryId,
    },
    /// Send a message. Messages are sent in the order of these outputs.
    Emit {
        /// Id that the acknowledgement carries.
        emit_id: EmitId,
        /// The complete message.
        message: Message,
    },
    /// Save the newest checkpoint as soon as possible: an upstream has begun to work for the
    /// execution, and an attempt that knows nothing of it would ask for the same work again.
    SaveCheckpoint,
    /// Start a timer. Several may run at once.
    StartTimer {
        /// Id that `TimerFired` carries.
        timer_id: TimerId,
        /// Delay from now, on the monotonic clock.
        delay: Duration,
    },
    /// Park the execution with its newest checkpoint.
    Park {
        /// Earliest time at which it may continue.
        not_before: DateTime<Utc>,
        /// Description of what it waits for, for operators.
        reason: String,
    },
    /// The attempt is over.
    Finished(ExecutionFinish),
}

/// End of an attempt that is not parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionFinish {
    /// The execution ended: complete it with its newest checkpoint, once all messages are
    /// acknowledged.
    Ended(ExecutionEnd),
    /// The executor drains: release the execution with its newest checkpoint.
    Released,
}

/// The end of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionEnd {
    /// The terminal status.
    pub status: EndStatus,
    /// True if something was ignored, skipped or cut off by a limit.
    pub partial: bool,
    /// True if every loop reached its own end, with nothing ignored and nothing failed.
    pub complete: bool,
    /// True if it ended at a limit that the plan permits: the next execution continues at its
    /// checkpoint.
    pub at_limit: bool,
    /// The error, for every status but success and cancellation.
    pub error: Option<ExecutionError>,
}

/// A terminal status that the engine can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndStatus {
    /// All steps ended, or a limit that the plan permits was reached.
    Succeeded,
    /// An error ended the execution.
    Failed,
    /// The plan's `abort_on` or `abort_when` ended the execution.
    Aborted,
    /// A cancel ended the execution.
    Cancelled,
}

/// A state from which a later attempt can continue: every message before it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Position of the execution, and the values that the rest of it reads: JSON of at most 256
    /// KiB.
    pub resume_state: Bytes,
    /// True if an upstream works on an async job for this execution. If it is cancelled while no
    /// executor holds it, it has to be granted once more to cancel that job.
    pub must_cancel: bool,
    /// Values of finished steps, JSON of at most 8 MiB; `None` if unchanged since the last
    /// checkpoint.
    pub finished_steps: Option<Bytes>,
    /// Context fields that changed since the last checkpoint: JSON text, or `None` for a removed
    /// field.
    pub context_changes: Vec<(String, Option<Bytes>)>,
    /// Cursors and validators that changed since the last checkpoint.
    pub cursor_changes: Vec<CursorChange>,
    /// Counts, positions and warnings up to this state.
    pub progress: Progress,
}

/// A new value of a cursor or validator, with which a later execution begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorChange {
    /// The key.
    pub key: CursorKey,
    /// The value as JSON text.
    pub json: Bytes,
}

impl From<(CursorKey, Bytes)> for CursorChange {
    fn from((key, json): (CursorKey, Bytes)) -> Self {
        Self { key, json }
    }
}
