//! Finds the programs and third-party servers that `.ci/install test` installs.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

/// Returns the cache folder, which outlives the clone.
#[expect(clippy::disallowed_methods, reason = "the tests have no settings file")]
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("ORCHID_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("orchid")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/orchid")))
        .unwrap_or_else(|| PathBuf::from("/tmp/.cache/orchid"))
}

/// Finds a program in `PATH` or in the cache.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([cache().join("bin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Returns the folder of a third-party server. Its name contains the hash of the file that defines
/// the installation.
pub fn server_folder(name: &str, recipe: &str) -> PathBuf {
    let digest = hex::encode(Sha256::digest(recipe.as_bytes()));
    cache().join(format!("{name}-{}", &digest[..12]))
}
