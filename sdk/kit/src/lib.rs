//! What all of Orchid's processes share, and nothing that knows what they do: settings, telemetry, tasks, shutdown, back-off, the clock,
//! private servers for development.

pub mod address_file;
pub mod backoff;
pub mod clock;
pub mod servers;
pub mod settings;
pub mod shutdown;
pub mod stall;
pub mod tasks;
pub mod telemetry;
