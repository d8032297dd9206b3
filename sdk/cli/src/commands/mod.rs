//! The commands that talk to a running control plane, one module per command.

pub(crate) mod apply;
pub(crate) mod executions;
pub(crate) mod plan;
pub(crate) mod tail;
pub(crate) mod tenants;
pub(crate) mod watch;
