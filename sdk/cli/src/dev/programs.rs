//! Where Orchid's other programs are: beside this one, else in PATH.

use std::{env, path::PathBuf};

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
