//! Checkpoints: saves the progress of leases as far as Kafka acknowledged it. `save` is the call;
//! calls that end an attempt write their last checkpoint with the same parts.

pub(in crate::commands::fleet) mod cursors;
pub(in crate::commands::fleet) mod persist;
mod save;
pub mod update;

pub use save::run;
