//! Orchid's plan machine, sans I/O.
//!
//! In: a [`Job`] and then, one by one, what happened ([`Input`]) with the time it happened at. Out: what to do next
//! ([`Output`]): requests to send, messages to emit, waits, and the end. The machine opens no socket, reads no clock
//! and draws no randomness of its own: the same job with the same inputs gives the same outputs, byte by byte.

pub mod message;

mod body;
mod checkpoint;
mod error;
mod input;
mod job;
mod machine;
mod output;
mod progress;
mod request;

pub use error::{ErrorClass, RunError, StartError};
pub use input::{EmitId, FetchError, FetchErrorKind, Input, Now, Response, StopReason, TryId, WaitId};
pub use job::{CursorKey, CursorKind, Identity, Job, RunConfig, RunLimits, SavedCheckpoint, TraceContext};
pub use machine::Machine;
pub use message::{Message, Topic};
pub use output::{Checkpoint, CursorChange, EndStatus, Ending, Finish, Output};
pub use progress::{Counts, Progress, Warning};
pub use request::{HostPolicy, HostRefusal, Pieces, RedirectPolicy, Request};

/// Cursors and validators that a plan keeps for a config at most; the control plane refuses a checkpoint with more.
pub const CURSORS_MAX: usize = 100_000;
/// Bytes of their keys and values at most, all together.
pub const CURSORS_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one cursor's value at most.
pub const CURSOR_MAX_BYTES: usize = 64 * 1024;
/// Bytes of the step's id and the item's name together at most.
pub const CURSOR_KEY_MAX_BYTES: usize = 1024;

/// How long a run that was told to stop may take to tell upstreams that nobody waits for their jobs any more. A cancel reaches an
/// executor within a beat (10 s), and the server ends what has not ended 30 s after it was asked for: this lies between.
pub const CANCEL_WAIT: std::time::Duration = std::time::Duration::from_secs(15);
