//! Background loops: create due executions, ring the doorbell, end what is lost or overdue, and
//! delete what is old.
//!
//! Each loop scans all tenants without locks. It then works in short transactions, one placement
//! group at a time, and takes only rows that still are as the scan found them. So any number of
//! replicas run the loops side by side. A run that fails is logged and tried again, and no outage
//! of another server ends a loop. No loop keeps state that another replica would need.

mod deadlines;
mod loop_runtime;
mod reaper;
mod reconciler;
mod relay;
mod relay_pace;
pub mod replicas;
mod retention;
mod scheduler;
mod stranded;
mod stream_maintenance;

use orchid_kit::tasks::TaskGroup;

use crate::commands::fleet::resources::Fleet;
use crate::doorbell::Doorbell;
use crate::settings::{ExecutionSettings, LoopSettings};

/// Starts all loops. They end when the tasks' stop token is cancelled.
pub fn start(
    tasks: &mut TaskGroup,
    fleet: &Fleet,
    doorbell: &Doorbell,
    loops: &LoopSettings,
    executions: &ExecutionSettings,
) {
    let stop = tasks.stop_token();
    let retention = executions.history_retention;
    tasks
        .start("scheduler", scheduler::run(fleet.clone(), loops.scheduler_interval, retention, stop.clone()));
    tasks.start("relay", relay::run(fleet.clone(), doorbell.clone(), loops.clone(), stop.clone()));
    tasks.start("reaper", reaper::run(fleet.clone(), loops.clone(), stop.clone()));
    tasks.start("deadlines", deadlines::run(fleet.clone(), executions.clone(), stop.clone()));
    tasks.start("reconciler", reconciler::run(fleet.clone(), stop.clone()));
    tasks.start("retention", retention::run(fleet.clone(), retention, stop.clone()));
    tasks.start("stream maintenance", stream_maintenance::run(fleet.clone(), doorbell.clone(), stop));
}
