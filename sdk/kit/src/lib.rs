//! Infrastructure that all Orchid processes share: settings, telemetry, tasks, shutdown, backoff,
//! the clock, and private servers for development. Nothing here knows about plans or executions.

pub mod address_file;
pub mod backoff;
pub mod clock;
pub mod servers;
pub mod settings;
pub mod shutdown;
pub mod stall;
pub mod tasks;
pub mod telemetry;
