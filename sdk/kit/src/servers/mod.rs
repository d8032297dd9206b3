//! Private Postgres and Redis servers, for `orchid dev` and for the tests.
//!
//! In go a folder and options; out comes a running server on a free loopback port, with a password of its own, and the
//! url to reach it. A server stops when its value is stopped or dropped, and when this process dies, however it dies.
//! It never touches a server or a cluster that is installed on the machine: programs are all that it borrows.

mod account;
mod postgres;
mod process;
mod redis;

use std::{
    env,
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

pub use account::UserAccount;
pub use postgres::{PostgresOptions, PostgresServer};
pub use process::{ChildCommand, ChildProcess, ProcessSignal};
pub use redis::RedisServer;

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to end in good order before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a server that starts or stops is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program is not on this machine.
    #[error("{program} is not installed: {remedy}")]
    NotInstalled {
        /// The program that was looked for.
        program: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Postgres refuses to run as root, and there is no account to run it as.
    #[error(
        "postgres does not run as root, and none of the accounts {tried} exists: create one, or run as an ordinary user"
    )]
    NoAccount {
        /// The accounts that were looked for.
        tried: &'static str,
    },
    /// The folder for the data belongs to somebody else.
    #[error("{} belongs to another user: remove it or choose another data folder", .0.display())]
    ForeignFolder(PathBuf),
    /// The program began, and ended before it was ready.
    #[error("{program} ended before it was ready ({status}); it said: {said}")]
    Ended {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The last lines of its output.
        said: String,
    },
    /// The program runs, but does not answer.
    #[error("{program} did not answer within {} s; it said: {said}", START_TIMEOUT.as_secs())]
    Silent {
        /// The program.
        program: &'static str,
        /// The last lines of its output.
        said: String,
    },
    /// A file or a process could not be made.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What went wrong.
        source: io::Error,
    },
}

/// Gives an I/O error the words for what was tried.
fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::Io { doing: what.into(), source }
}

/// Names of this process's own settings in its environment (`ORCHID_…`): a child of another program is given its own, and would
/// refuse these as unknown.
pub fn orchid_variables() -> Vec<OsString> {
    let names = env::vars_os().map(|(name, _)| name);
    names.filter(|name| name.to_string_lossy().starts_with("ORCHID_")).collect()
}

/// A TCP port that was free on the loopback interface a moment ago.
///
/// # Errors
/// When no socket can be bound.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The first file of this name in the folders of `PATH`, then in `more`.
fn find_program(name: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(more.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// 128 random bits, in hex.
fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The last lines of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(8);
    lines.get(last..).map_or_else(String::new, |lines| lines.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_nowhere_is_not_found() {
        assert_eq!(find_program("orchid-no-such-program", &[PathBuf::from("/")]), None);
    }

    #[test]
    fn a_free_port_can_be_bound() {
        let port = free_port().expect("a port");
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "{port}");
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let folder = env::temp_dir().join(format!("orchid-tail-{}", random_password()));
        fs::create_dir(&folder).expect("folder");
        let log = folder.join("log");
        fs::write(&log, (0..20).map(|line| format!("{line}\n")).collect::<String>()).expect("write");
        assert_eq!(tail(&log), "12 | 13 | 14 | 15 | 16 | 17 | 18 | 19");
        assert_eq!(tail(&folder.join("none")), "");
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
