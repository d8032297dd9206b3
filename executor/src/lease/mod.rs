//! The leases of this process, and whether it may still act on them. This is the bottom room: it
//! calls nothing else in the crate.
//!
//! `registry` holds the leases, `slots` bounds how many there are, `acquire_tracker` knows which
//! acquire calls are resolved, `liveness` proves that the consume loop turns, and `fence` closes
//! before another executor may take over.

mod acquire_tracker;
mod fence;
mod liveness;
mod registry;
mod slots;

pub use fence::SelfFence;
pub use liveness::Liveness;
pub use registry::{HeartbeatSnapshot, LeaseCommand, LeaseHandle, LeaseRegistry, LeaseSnapshot};
pub use slots::{SlotPermit, SlotPool};
