//! Orchid's stateless executor: takes leases, runs plans, streams what upstreams answer into Kafka.
//!
//! A job passes the stations `intake` (doorbell, lease) → `worker` (slot) → `drive` (the run, with the engine) → `fetch`
//! (upstream) → `sink` (Kafka) → `report` (checkpoint, end). Beside them `beat` keeps all leases alive and `announce` sends
//! terminal events. Nothing here knows a database, and nothing outlives the process.

pub mod announce;
pub mod app;
pub mod beat;
pub mod control;
pub mod drive;
pub mod fetch;
pub mod intake;
pub mod plans;
pub mod report;
pub mod settings;
pub mod sink;
pub mod worker;

mod health;
mod lru_cache;
