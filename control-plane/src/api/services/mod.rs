//! One file per gRPC service: each method decodes, makes one call, encodes.

mod config;
mod execution;
mod executor;
mod integration;
mod plan;
mod schedule;
mod tenant;

pub(crate) use config::ConfigHandler;
pub(crate) use execution::ExecutionHandler;
pub(crate) use executor::ExecutorHandler;
pub(crate) use integration::IntegrationHandler;
pub(crate) use plan::PlanHandler;
pub(crate) use schedule::ScheduleHandler;
pub(crate) use tenant::TenantHandler;
