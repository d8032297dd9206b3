//! Orchid's execution engine, sans I/O.
//!
//! In: an [`AttemptSpec`], then one [`Input`] at a time with the time it happened at. Out: a list
//! of [`Output`]s: requests to send, messages to emit, timers to start, and the end of the attempt.
//! The engine opens no socket, reads no clock and draws no randomness: the same attempt with the
//! same inputs gives the same outputs, byte by byte.

mod media_type;
pub mod message;

mod attempt;
mod body;
mod checkpoint;
mod error;
mod input;
mod limits;
mod output;
mod page;
mod program;
mod progress;
mod request;
mod rules;
mod run;
mod state;
mod step;
mod tree;

pub use attempt::{
    AttemptSpec, CursorKey, CursorKind, ExecutionConfig, ExecutionIdentity, ExecutionLimits, SavedCheckpoint,
    TraceContext,
};
pub use error::{ErrorClass, ExecutionError, StartError};
pub use input::{
    ArchiveFile, BodyPiece, CurrentTime, EmitId, FetchError, FetchErrorKind, Input, Response, StopReason,
    TimerId, TryId,
};
pub use limits::{CANCEL_GRACE, UNACKED_BYTES_MAX, UNACKED_MESSAGES_MAX};
pub use message::{Message, Topic};
pub use output::{Checkpoint, CursorChange, EndStatus, ExecutionEnd, ExecutionFinish, Output};
pub use progress::{Counts, Progress, Warning};
pub use request::{BodyStreaming, HostPolicy, HostRefusal, RedirectPolicy, Request};
pub use run::Machine;
