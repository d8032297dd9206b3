//! Orchid's stateless executor: takes leases, runs plans, and writes responses to Kafka.
//!
//! A job passes these rooms in order: `intake` (doorbell entry → lease) → `worker` (one task per
//! lease) → `runner` (drives the engine) → `fetch` (HTTP) and `sink` (Kafka) → `report`
//! (checkpoint, complete, park, release). `heartbeat` keeps all leases alive, and `announce` sends
//! terminal events. Below them lie `lease` (which leases this process holds, and whether it may
//! still use them), `memory` (the byte budget that attempts share), `control` (the client of the
//! control plane), `convert` (the border between wire types and ours) and `settings`. `app`
//! composes everything.
//!
//! An executor has no database, and keeps nothing that must survive the process.

pub mod announce;
pub mod app;
pub mod control;
pub mod convert;
pub mod fetch;
pub mod heartbeat;
pub mod intake;
pub mod lease;
pub mod memory;
pub mod plan_cache;
pub mod report;
pub mod runner;
pub mod settings;
pub mod sink;
pub mod startup;
pub mod worker;

mod health;
mod lru_cache;
mod metrics;
