//! Intake: joins the fleet, listens to the doorbell, and gets leases for free slots.
//!
//! In: doorbell entries and free slots. Out: granted runs, for the worker. It runs nothing, and gives no lease back: what
//! it does not hand on, the heartbeat returns.

mod any;
mod asker;
mod doorbell;
mod ledger;
mod pulse;
mod session;

pub use pulse::Pulse;

pub(crate) use any::ask_any;
pub(crate) use asker::Asker;
pub(crate) use doorbell::Doorbell;
pub(crate) use ledger::AcquireLedger;
pub(crate) use session::Registrar;
