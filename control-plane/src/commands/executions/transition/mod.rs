//! Transitions of executions: the one place that turns a decided `Transition` into rows.
//!
//! Everything that moves an execution comes through here: triggers and the scheduler create
//! (`create`), grants open leases (`grant`), and every end, park, release, loss, cancel and passed
//! deadline is applied by `apply`. `effects` holds the only match over `Effect`. It lives beside
//! the executions and not in the fleet protocol, because a trigger or a cancel needs no executor.
//!
//! All of it runs in the caller's transaction, on executions whose rows the caller has locked. The
//! order of the statements is the order of locks: executions, attempts, leases, ready rows,
//! history, announcements, and last the schedules with the executions that wait behind them.

pub mod announcement;
pub mod apply;
pub mod cancel;
pub mod create;
pub mod decided;
mod effects;
pub mod grant;
pub mod promotion;
