//! What goes round without being asked: making due runs, ringing the doorbell, ending what is lost or overdue, throwing away what is old.
//!
//! Each loop looks across tenants without locks, then works group by group in short transactions that take only rows that still are as
//! they were found; so any number of replicas go round side by side. A pass that fails is logged and tried again: nothing here ends
//! because a server is away. No loop keeps state that another replica would need.

mod enforcer;
mod keeper;
mod pace;
mod reaper;
mod relay;
mod retention;
mod scheduler;
mod sweep;

use orchid_kit::tasks::TaskGroup;

use crate::commands::fleet::Fleet;
use crate::doorbell::Doorbell;
use crate::settings::{ExecutionSettings, LoopSettings};

/// Starts all loops; they end when the tasks' stop token is cancelled.
pub fn start(
    tasks: &mut TaskGroup,
    fleet: &Fleet,
    doorbell: &Doorbell,
    loops: &LoopSettings,
    runs: &ExecutionSettings,
) {
    let stop = tasks.stop_token();
    let retention = runs.history_retention;
    tasks
        .start("scheduler", scheduler::run(fleet.clone(), loops.scheduler_interval, retention, stop.clone()));
    tasks.start("relay", relay::run(fleet.clone(), doorbell.clone(), loops.clone(), stop.clone()));
    tasks.start("reaper", reaper::run(fleet.clone(), loops.clone(), stop.clone()));
    tasks.start("enforcer", enforcer::run(fleet.clone(), runs.clone(), stop.clone()));
    tasks.start("sweep", sweep::run(fleet.clone(), stop.clone()));
    tasks.start("retention", retention::run(fleet.clone(), retention, stop.clone()));
    tasks.start("doorbell keeper", keeper::run(fleet.clone(), doorbell.clone(), stop));
}
