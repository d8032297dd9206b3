//! Orchid's control plane: the management API, the scheduling of plans, and the leases of executors. It owns Postgres; every change
//! of state is decided by a pure function of `orchid-domain` and applied as one conditional update in one transaction.

pub mod api;
pub mod app;
pub mod commands;
pub mod doorbell;
pub mod keys;
pub mod loops;
pub mod migrate;
pub mod settings;
pub mod store;
