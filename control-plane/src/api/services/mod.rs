//! One file per gRPC service: each method decodes, makes one call, encodes.

mod config;
mod execution;
mod executor;
mod integration;
mod plan;
mod schedule;
mod tenant;

pub(crate) use config::Configs;
pub(crate) use execution::Executions;
pub(crate) use executor::Executors;
pub(crate) use integration::Integrations;
pub(crate) use plan::Plans;
pub(crate) use schedule::Schedules;
pub(crate) use tenant::Tenants;
