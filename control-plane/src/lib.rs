//! Orchid's control plane: the management API, the scheduling of plans, and the leases of
//! executors. It is the only process that connects to Postgres. A pure function of `orchid-domain`
//! decides every change of state; a command applies it as one conditional update in one
//! transaction.

pub mod api;
pub mod app;
pub mod commands;
pub mod doorbell;
pub mod keys;
pub mod loops;
pub mod migrate;
pub mod settings;
pub mod store;
