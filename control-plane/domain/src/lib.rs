//! Orchid's decisions as pure functions: the next state of an execution, the due times of a
//! schedule, the fair order of work, and which executors are gone.
//!
//! Values come in (rows as read, the time, settings), and values that say what to write come out.
//! Nothing here reads a clock, draws a random number, or knows of a database.

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
