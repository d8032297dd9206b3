//! Exit codes of the command and the errors that select them.

use std::process::ExitCode;

/// The reason for an exit code, as `--help` documents the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// 0: success.
    Done,
    /// 1: the command was tried and failed.
    Failed,
    /// 2: invalid usage; clap uses the same code.
    Usage,
    /// 3: the control plane or the broker is unreachable.
    Unreachable,
}

impl From<ExitReason> for ExitCode {
    fn from(exit: ExitReason) -> Self {
        Self::from(match exit {
            ExitReason::Done => 0,
            ExitReason::Failed => 1,
            ExitReason::Usage => 2,
            ExitReason::Unreachable => 3,
        })
    }
}

/// The arguments make no sense together: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub String);

/// A server other than the control plane is unreachable: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnreachableError(pub String);

impl ExitReason {
    /// Returns the reason for an error that ended a command, from its causes.
    pub fn from_error(error: &anyhow::Error) -> Self {
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

/// Returns an error with its causes in one line.
///
/// Stops at a client's error, whose message already contains its own causes.
pub(crate) fn error_chain(error: &anyhow::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        messages.push(cause.to_string());
        if cause.is::<orchid_sdk::Error>() {
            break;
        }
    }
    messages.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[tokio::test]
    async fn unreachable_server_is_reported_once() {
        let connecting =
            orchid_sdk::Client::connect("127.0.0.1:1", orchid_sdk::Credentials::Development { tenant: None });
        let error = anyhow::Error::from(connecting.await.unwrap_err()).context("listing");
        assert_eq!(
            error_chain(&error),
            "listing: cannot reach 127.0.0.1:1: Connection refused (os error 111)"
        );
        assert_eq!(ExitReason::from_error(&error), ExitReason::Unreachable);
    }

    #[test]
    fn nested_cause_selects_the_exit_code() {
        let usage = Err::<(), _>(UsageError("no tenant".into())).context("listing").unwrap_err();
        assert_eq!(ExitReason::from_error(&usage), ExitReason::Usage);
        let gone = Err::<(), _>(UnreachableError("no broker".into())).context("a").context("b").unwrap_err();
        assert_eq!(ExitReason::from_error(&gone), ExitReason::Unreachable);
        assert_eq!(ExitReason::from_error(&anyhow::anyhow!("it failed")), ExitReason::Failed);
    }
}
