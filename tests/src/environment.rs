//! The environment of a test run: its folder, the binaries under test, and settings that all stacks
//! share.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use orchid_kit::servers::orchid_variables;

/// The pool that a test's executors join.
pub const POOL: &str = "default";
/// The token that executors present to join the pool.
pub const POOL_TOKEN: &str = "pool-token-of-the-tests";
/// The base64 of 32 bytes: a master key that protects no secret.
const MASTER_KEY: &str = "b3JjaGlkLXRlc3RzLW9yY2hpZC10ZXN0cy1vcmNoaWQ=";

/// Returns a command without the settings of the test run in its environment, which the program
/// would refuse as unknown.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in orchid_variables() {
        command.env_remove(name);
    }
    command
}

/// Returns the path of a binary that was built beside this program.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the test's own file");
    // Test binaries are one folder deeper.
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not beside {}: run `cargo build --workspace` first", own.display())
    })
}

/// Returns the folder of this test run. The folders that earlier runs left behind are removed.
pub fn run_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let root = std::env::temp_dir();
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let gone = |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
            if name.strip_prefix("orchid-tests-").is_some_and(gone) {
                // Another run may be removing it at the same time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = root.join(format!("orchid-tests-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for this run");
        folder
    })
}

/// Returns the control plane's settings that all tests share, as environment variables.
pub fn server_settings() -> Vec<(String, String)> {
    [
        ("ORCHID_LISTEN", "127.0.0.1:0".to_owned()),
        ("ORCHID_AUTH_MODE", "development".to_owned()),
        ("ORCHID_FLEET_POOL_TOKENS", format!("{POOL}={POOL_TOKEN}")),
        ("ORCHID_KEYS_MASTER", MASTER_KEY.to_owned()),
        ("ORCHID_KEYS_MASTER_ID", "tests".to_owned()),
        ("ORCHID_REDIS_URL", "redis://127.0.0.1:1".to_owned()),
        ("ORCHID_LOG_FILTER", "info".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
