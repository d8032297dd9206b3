//! The request and the response of an acquire call, with the bounds of the request.

use std::time::Duration;

use orchid_domain::lease::LeaseRefusal;

use super::grant::Grant;
use crate::commands::fleet::error::FleetError;
use crate::store::keys::ExecutionKey;

/// Maximum announced executions of one call.
const MAX_RUNG: usize = 1024;

/// An acquire call.
#[derive(Clone, Debug)]
pub struct AcquireRequest {
    /// Number of the session's acquire call, from 1. A call with the same number is the same call.
    pub seq: i64,
    /// Free slots of the executor.
    pub max_leases: usize,
    /// Executions that the doorbell announced; empty asks for any of the pool.
    pub rung: Vec<ExecutionKey>,
    /// Time to wait for work when `rung` is empty.
    pub wait: Duration,
    /// SHA-256 of definitions that the executor holds already.
    pub known_definitions: Vec<Vec<u8>>,
}

/// The response to an acquire call.
#[derive(Clone, Debug, Default)]
pub struct AcquireResponse {
    /// Number of the call.
    pub seq: i64,
    /// The granted leases.
    pub grants: Vec<Grant>,
    /// Announced executions that were not granted, with the reason.
    pub refused: Vec<(ExecutionKey, LeaseRefusal)>,
}

impl AcquireRequest {
    /// Checks the bounds of the request.
    pub(super) fn check(&self) -> Result<(), FleetError> {
        if self.seq < 1 {
            return Err(FleetError::Invalid(format!("acquire_seq is {}, it counts from 1", self.seq)));
        }
        if self.rung.len() > MAX_RUNG {
            let message = format!("{} rung executions, at most {MAX_RUNG}", self.rung.len());
            return Err(FleetError::Invalid(message));
        }
        Ok(())
    }
}
