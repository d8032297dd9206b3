//! The fleet protocol: the calls that executors make. One file or folder per call.
//!
//! A call arrives decoded and belongs to an authenticated session. It answers with a verdict for
//! each lease, or with a typed error for the whole call. Nothing here knows of gRPC, and nothing
//! decides: `orchid_domain` does, and `commands::executions::transition` writes what it decided.
//!
//! Shared parts are `placement`, which splits work into transactions of one placement group,
//! `fair_queue`, which chooses the next executions of a pool, `lease_token` and `lease_results`,
//! which open lease tokens and collect verdicts, and `resources`.

pub mod acquire;
pub mod checkpoint;
pub mod ending;
pub mod error;
pub(crate) mod fair_queue;
pub mod fetch_context;
pub mod heartbeat;
pub mod lease_results;
pub mod lease_token;
pub mod placement;
pub mod register;
pub mod resources;
mod sealed_state;
pub mod session;
pub mod wakeups;

pub use checkpoint::update::{CheckpointUpdate, ContextChange, CursorChange};
pub use ending::{complete, park, release};
pub use error::FleetError;
pub use lease_results::{InvalidItem, LeaseResult, LeaseStatus};
pub use lease_token::LeaseToken;
pub use placement::{GroupTransaction, Placement};
pub use resources::{Fleet, FleetSettings};
pub use session::Session;
pub use wakeups::Wakeups;
