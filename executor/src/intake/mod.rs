//! Intake: registers with the control plane, listens to the doorbell, and acquires leases for free
//! slots.
//!
//! Granted attempts go to the worker, each with a slot. Intake runs nothing itself and gives no
//! lease back: grants that it does not pass on are missing from the next heartbeat, and the control
//! plane queues them again.

mod doorbell;
mod doorbell_stream;
mod lease_requester;
mod poll;
mod registrar;

pub(crate) use doorbell::DoorbellListener;
pub(crate) use lease_requester::LeaseRequester;
pub(crate) use poll::poll_for_work;
pub(crate) use registrar::SessionRegistrar;
