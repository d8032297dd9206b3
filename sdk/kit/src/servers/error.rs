//! The reasons why a private server does not start.

use std::io;
use std::path::PathBuf;

use super::host::START_TIMEOUT;

/// The reason why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program is not installed.
    #[error("{program} is not installed: {remedy}")]
    NotInstalled {
        /// Name of the program.
        program: &'static str,
        /// Instruction for installing it.
        remedy: &'static str,
    },
    /// Postgres refuses to run as root, and no unprivileged account exists.
    #[error(
        "postgres does not run as root, and none of the accounts {tried} exists: create one, or run as an ordinary user"
    )]
    NoAccount {
        /// Accounts that were looked for.
        tried: &'static str,
    },
    /// The data folder belongs to another user.
    #[error("{} belongs to another user: remove it or choose another data folder", .0.display())]
    ForeignFolder(PathBuf),
    /// The program ended before it was ready.
    #[error("{program} ended before it was ready ({status}); its last output: {output}")]
    Ended {
        /// Name of the program.
        program: &'static str,
        /// Exit status.
        status: String,
        /// Last lines of its output.
        output: String,
    },
    /// The program runs but is not ready in time.
    #[error("{program} was not ready within {} s; its last output: {output}", START_TIMEOUT.as_secs())]
    NotReady {
        /// Name of the program.
        program: &'static str,
        /// Last lines of its output.
        output: String,
    },
    /// A file or a process could not be created.
    #[error("cannot {action}: {source}")]
    Io {
        /// Action that failed, as a verb phrase.
        action: String,
        /// Reason.
        source: io::Error,
    },
}

/// Adds the action that failed to an I/O error. The action completes "cannot …".
pub(super) fn failed_to(action: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::Io { action: action.into(), source }
}
