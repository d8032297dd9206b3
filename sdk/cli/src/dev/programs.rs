//! Where Orchid's other programs are: beside this one, else in PATH.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// The control plane's program.
pub(super) const CONTROL_PLANE: &str = "orchid-control-plane";
/// The executor's program.
pub(super) const EXECUTOR: &str = "orchid-executor";

/// The file of a program.
pub(super) fn find(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
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

/// How this program is typed, so that it finds the stack of this data folder: `orchid`, or its path where the shell would not find it, and
/// the folder where that is not the usual one.
pub(crate) fn invocation(folder: &Path) -> String {
    let usual = std::path::absolute(crate::args::DATA_FOLDER).is_ok_and(|usual| usual == folder);
    let data = if usual { String::new() } else { format!(" --data {}", folder.display()) };
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
