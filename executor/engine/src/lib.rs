//! Orchid's plan machine, sans I/O.
//!
//! In: a [`Job`] and then, one by one, what happened ([`Input`]) with the time it happened at. Out: what to do next
//! ([`Output`]): requests to send, messages to emit, waits, and the end. The machine opens no socket, reads no clock
//! and draws no randomness of its own: the same job with the same inputs gives the same outputs, byte by byte.

pub mod message;

#[cfg_attr(not(test), expect(dead_code, reason = "the machine takes its rows from here next"))]
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

/// How long a run that was told to stop may take to tell upstreams that nobody waits for their jobs any more.
pub const CANCEL_WAIT: std::time::Duration = std::time::Duration::from_secs(20);
