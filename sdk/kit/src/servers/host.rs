//! Small services of the host: programs, ports, environment variables, passwords and log files.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

/// Maximum time until a started server is ready.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum time for a server to shut down before it is killed.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between checks of a server that starts or stops.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Returns the names of all `ORCHID_…` variables of this process. Remove them from the environment
/// of another Orchid program: it gets its own settings and refuses unknown ones.
pub fn orchid_variables() -> Vec<OsString> {
    let names = env::vars_os().map(|(name, _)| name);
    names.filter(|name| name.to_string_lossy().starts_with("ORCHID_")).collect()
}

/// Returns a TCP port of the loopback interface that was free a moment ago.
///
/// # Errors
/// Fails if no socket can be bound.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Returns the first file of this name in the folders of `PATH`, then in `more_folders`.
pub(super) fn find_program(name: &str, more_folders: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(more_folders.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Returns 128 random bits in hexadecimal.
pub(super) fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Returns the last 8 lines of a log, for an error message.
pub(super) fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(8);
    lines.get(first..).map_or_else(String::new, |lines| lines.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_program_is_not_found() {
        assert_eq!(find_program("orchid-no-such-program", &[PathBuf::from("/")]), None);
    }

    #[test]
    fn free_port_can_be_bound() {
        let port = free_port().expect("a port");
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "{port}");
    }

    #[test]
    fn last_lines_of_a_log_are_joined() {
        let folder = env::temp_dir().join(format!("orchid-log-{}", random_password()));
        fs::create_dir(&folder).expect("folder");
        let log = folder.join("log");
        fs::write(&log, (0..20).map(|line| format!("{line}\n")).collect::<String>()).expect("write");
        assert_eq!(last_lines(&log), "12 | 13 | 14 | 15 | 16 | 17 | 18 | 19");
        assert_eq!(last_lines(&folder.join("none")), "");
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
