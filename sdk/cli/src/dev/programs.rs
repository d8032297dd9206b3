//! Finds Orchid's other programs: beside this one, else in `PATH`.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The file name of the control plane.
pub(super) const CONTROL_PLANE: &str = "orchid-control-plane";
/// The file name of the executor.
pub(super) const EXECUTOR: &str = "orchid-executor";

/// Returns the path of a program.
///
/// # Errors
/// When it is neither beside this program nor in `PATH`.
pub(super) fn find(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("cannot find the path of this program")?;
    let beside = own.parent().map(|folder| folder.join(name));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join(name));
    match beside.into_iter().chain(in_path).find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => bail!(
            "{name} is neither beside {} nor in PATH; build it with `cargo build --workspace`",
            own.display()
        ),
    }
}

/// Returns the command line prefix that runs this program against the stack of a data folder:
/// `orchid`, or its path if the shell would not find it, and `--data` unless the folder is the
/// default.
pub(crate) fn invocation(folder: &Path) -> String {
    let is_default = std::path::absolute(crate::args::DATA_FOLDER).is_ok_and(|default| default == folder);
    let data = if is_default { String::new() } else { format!(" --data {}", folder.display()) };
    format!("{}{data}", own_name().unwrap_or_else(|| "orchid".to_owned()))
}

fn own_name() -> Option<String> {
    let own = env::current_exe().ok()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let first = env::split_paths(&path).map(|folder| folder.join("orchid")).find(|file| file.is_file());
    if first.and_then(|file| file.canonicalize().ok()).is_some_and(|file| file == own) {
        return None;
    }
    let here = env::current_dir().ok()?;
    Some(own.strip_prefix(here).unwrap_or(&own).display().to_string())
}
