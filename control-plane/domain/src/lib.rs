//! Orchid's decisions, as pure functions: what state a run goes to, when a schedule is due, whose turn it is, who is gone.
//!
//! In come values (rows as read, the time, settings); out come values that say what to write. Nothing here reads a clock, draws
//! a random number, or knows of a database.

pub mod admission;
pub mod cursor;
pub mod execution;
pub mod expiry;
pub mod fairness;
pub mod fence;
mod ids;
pub mod lease;
pub mod occurrence;
pub mod ring;
pub mod schedule;
mod text;

pub use ids::{AnnouncementId, ConfigId, ExecutionId, LeaseId, PlanId, ScheduleId, SessionId, TenantId};
pub use text::UnknownName;
