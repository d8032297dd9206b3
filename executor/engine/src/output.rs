//! What the engine asks for: requests to send, messages to emit, waits, and the run's end or hand-back.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::error::RunError;
use crate::input::{EmitId, TryId, WaitId};
use crate::job::CursorKey;
use crate::message::Message;
use crate::progress::Progress;
use crate::request::Request;

/// What is to be done. After `Park` or `Finished` comes nothing more: whatever is still under way is dropped, but
/// acknowledgements are still taken, and move what [`crate::Machine::checkpoint`] says. One exception: a message that is
/// refused after the run succeeded makes a second `Finished`, which counts.
#[derive(Debug)]
pub enum Output {
    /// Send a request. Several may be under way at once.
    Fetch {
        /// Comes back with the answer.
        try_id: TryId,
        /// What to send.
        request: Request,
    },
    /// Hand over the next piece of a body, as soon as there is room for what it may make.
    Read {
        /// Comes back with the piece.
        try_id: TryId,
    },
    /// Nothing more of this try is wanted; it may be given up.
    Discard {
        /// Which.
        try_id: TryId,
    },
    /// Send a message. Messages leave in the order of their outputs.
    Emit {
        /// Comes back with the acknowledgement.
        emit_id: EmitId,
        /// What to send, complete.
        message: Message,
    },
    /// Say `Woke` after a while. Several may be under way at once.
    Wait {
        /// Comes back.
        wait_id: WaitId,
        /// From now, on the monotonic clock.
        delay: Duration,
    },
    /// Hand the run back until a time, with its newest checkpoint.
    Park {
        /// When it may go on.
        not_before: DateTime<Utc>,
        /// What it waits for, for people.
        reason: String,
    },
    /// The run is over, or to be released.
    Finished(Finish),
}

/// How a run leaves the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It ended: complete it with its newest checkpoint, once all messages are acknowledged.
    Ended(Ending),
    /// It is handed back at once (drain): release it with its newest checkpoint.
    Released,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The terminal state.
    pub status: EndStatus,
    /// Something was ignored, skipped or limited.
    pub partial: bool,
    /// Every loop ended by itself, and nothing was ignored or failed.
    pub complete: bool,
    /// Why, for every status but success; also the limit that an `on_limit: continue` ended by.
    pub error: Option<RunError>,
}

/// The terminal states that an engine can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndStatus {
    /// To its end, or to a limit that the plan lets pass.
    Succeeded,
    /// By an error.
    Failed,
    /// By the plan's `abort_on` or `abort_when`.
    Aborted,
    /// By a cancel.
    Cancelled,
}

/// A place that a later attempt can go on from: every message before it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// JSON, at most 256 KiB: where the run is, and what the rest of it reads.
    pub place: Bytes,
    /// An upstream works for the run there: should it be cancelled while nobody has it, it has to be granted once more to say so.
    pub must_cancel: bool,
    /// JSON, at most 8 MiB: values of finished steps; none where they did not change since the last checkpoint.
    pub finished: Option<Bytes>,
    /// Context fields that changed since the last checkpoint: JSON text, or none where the field was removed.
    pub context_changes: Vec<(String, Option<Bytes>)>,
    /// Cursors and validators that changed since the last checkpoint.
    pub cursor_changes: Vec<CursorChange>,
    /// What the run did until there.
    pub progress: Progress,
}

/// A cursor or validator that a later run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorChange {
    /// Which.
    pub key: CursorKey,
    /// JSON text.
    pub json: Bytes,
}

impl From<(CursorKey, Bytes)> for CursorChange {
    fn from((key, json): (CursorKey, Bytes)) -> CursorChange {
        CursorChange { key, json }
    }
}
