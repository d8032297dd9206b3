//! How a command ends, as a number for scripts.

use std::process::ExitCode;

/// Exit codes, as `--help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 1: it was tried, and failed.
    Failed,
    /// 2: the command itself was wrong (clap's own code).
    Usage,
    /// 3: the control plane or the broker cannot be reached.
    Unreachable,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
        })
    }
}

/// What the user asked for cannot be meant: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub String);

/// Something that is no control plane cannot be reached: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnreachableError(pub String);

impl Exit {
    /// The code for an error that ended a command.
    pub fn of(error: &anyhow::Error) -> Self {
        let unreachable = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<UnreachableError>()
                || cause.downcast_ref::<orchid_sdk::Error>().is_some_and(orchid_sdk::Error::is_unreachable)
        };
        if error.chain().any(unreachable) {
            Self::Unreachable
        } else if error.chain().any(|cause| cause.is::<UsageError>()) {
            Self::Usage
        } else {
            Self::Failed
        }
    }
}

/// An error with its causes in one line. What a client's error stands on is said by itself already.
pub(crate) fn words(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in error.chain() {
        words.push(cause.to_string());
        if cause.is::<orchid_sdk::Error>() {
            break;
        }
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[tokio::test]
    async fn nobody_there_is_said_once() {
        let nobody =
            orchid_sdk::Client::connect("127.0.0.1:1", orchid_sdk::Credentials::Development { tenant: None });
        let error = anyhow::Error::from(nobody.await.unwrap_err()).context("listing");
        assert_eq!(words(&error), "listing: cannot reach 127.0.0.1:1: Connection refused (os error 111)");
        assert_eq!(Exit::of(&error), Exit::Unreachable);
    }

    #[test]
    fn the_code_follows_the_cause_however_deep_it_is() {
        let usage = Err::<(), _>(UsageError("no tenant".into())).context("listing").unwrap_err();
        assert_eq!(Exit::of(&usage), Exit::Usage);
        let gone = Err::<(), _>(UnreachableError("no broker".into())).context("a").context("b").unwrap_err();
        assert_eq!(Exit::of(&gone), Exit::Unreachable);
        assert_eq!(Exit::of(&anyhow::anyhow!("it failed")), Exit::Failed);
    }
}
