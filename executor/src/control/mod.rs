//! The client of the control plane, and the session that its calls carry.
//!
//! Each call sends one request and returns one response or a status. `client` keeps channels to two
//! replicas and switches over when one does not respond. It never repeats a call: only the caller
//! knows whether the call is still wanted.

mod client;
mod session;
mod status;

pub use client::ControlPlaneClient;
pub use session::{CurrentSession, InvalidSession, PlanLimits, Session};
pub use status::{CallFailure, MAX_INTERNAL_ERRORS, failure_of, is_session_gone, requested_delay};
