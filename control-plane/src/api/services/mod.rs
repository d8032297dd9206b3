//! The gRPC services, one file each. A method decodes its request, runs one command, and encodes
//! the result.

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
