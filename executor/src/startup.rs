//! The start of the process before it has a runtime: reads its settings, and builds the runtime
//! that they ask for.

use std::io;
use std::path::Path;

use orchid_kit::settings::SettingsSources;
use tokio::runtime::{Builder, Runtime};

use crate::settings::Settings;

/// Threads for blocking work, beside one for each slot.
const BLOCKING_THREADS: usize = 512;

/// Reads the settings from this file and the environment.
///
/// # Errors
///
/// Fails if a source cannot be read, or a setting is missing or invalid.
pub fn load_settings(file: Option<&Path>) -> anyhow::Result<Settings> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "executor" } else { host.trim() };
    Ok(SettingsSources::load(file)?.read(|reader| Settings::read(reader, host, std::process::id()))?)
}

/// Creates the runtime.
///
/// # Errors
///
/// Fails if the system grants no threads.
pub fn runtime(settings: &Settings) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        // Every attempt may compute in the slow lane, on a thread that it has given away: should
        // the pool be used up, nothing would take that thread's work over.
        .max_blocking_threads(BLOCKING_THREADS + settings.executor.slots)
        .build()
}
