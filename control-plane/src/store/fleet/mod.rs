//! Rows that belong to the fleet: leases and sessions, the ready queue, checkpoints, context and
//! cursors, terminal announcements, and the schedules that executions run for.
//!
//! Each statement names its tenants (`tenant_id = ANY($1)`) and so stays inside one placement
//! group. Rows that belong to an execution are written under that execution's row lock. A
//! transaction locks in this order: executions by key, then ready rows, leases and schedules.

pub mod announcements;
pub mod checkpoints;
pub mod cursors;
pub mod grants;
pub mod leases;
pub mod loop_runs;
pub mod ready;
pub mod ready_queue;
pub mod replicas;
pub mod retention;
pub mod schedule_scan;
pub mod schedules;
pub mod sessions;
