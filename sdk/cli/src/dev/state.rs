//! `dev.json`: the addresses of a running development stack, so that other commands need no flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::secrets::write_private;

const FILE: &str = "dev.json";

/// The addresses of a running development stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevState {
    /// The process id of `orchid dev`.
    pub pid: u32,
    /// The address of the control plane, `host:port`.
    pub grpc: String,
    /// The tenant that the stack created.
    pub tenant: Uuid,
    /// The broker and the topics.
    pub kafka: KafkaState,
    /// The URL of Postgres for its superuser.
    pub postgres: String,
    /// The URL of Redis.
    pub redis: String,
    /// The URL of the demo upstream.
    pub upstream: String,
    /// The values of `${NAME}` in applied files.
    pub variables: BTreeMap<String, String>,
    /// The folder with the logs of the child processes.
    pub logs: PathBuf,
}

/// The broker and the topics of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KafkaState {
    /// The bootstrap addresses, `host:port`, separated by commas.
    pub brokers: String,
    /// The topic of pages.
    pub topic_responses: String,
    /// The topic of errors.
    pub topic_errors: String,
    /// The topic of execution starts and ends.
    pub topic_events: String,
}

impl KafkaState {
    /// Returns the names of all topics.
    pub(crate) fn topics(&self) -> [String; 3] {
        [&self.topic_responses, &self.topic_errors, &self.topic_events].map(Clone::clone)
    }
}

impl DevState {
    /// Returns the stack that runs with this data folder; `None` if none does.
    ///
    /// # Errors
    /// When `dev.json` cannot be read or is damaged.
    pub(crate) fn running(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let state: Self =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Path::new("/proc").join(state.pid.to_string()).exists().then_some(state))
    }

    /// Writes `dev.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        write_private(&folder.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// Removes `dev.json`.
    pub(crate) fn remove(folder: &Path) {
        // A missing file is fine: it is gone either way.
        let _ = fs::remove_file(folder.join(FILE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pid: u32) -> DevState {
        let topic = |name: &str| name.to_owned();
        DevState {
            pid,
            grpc: "127.0.0.1:7400".into(),
            tenant: Uuid::from_u128(1),
            kafka: KafkaState {
                brokers: "127.0.0.1:9092".into(),
                topic_responses: topic("api-responses"),
                topic_errors: topic("api-errors"),
                topic_events: topic("execution-events"),
            },
            postgres: "postgres://127.0.0.1".into(),
            redis: "redis://127.0.0.1".into(),
            upstream: "http://127.0.0.1".into(),
            variables: BTreeMap::new(),
            logs: PathBuf::from("logs"),
        }
    }

    #[test]
    fn stack_of_a_dead_process_is_not_running() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(DevState::running(folder.path()).unwrap(), None);
        state(u32::MAX).save(folder.path()).unwrap();
        assert_eq!(DevState::running(folder.path()).unwrap(), None);
    }

    #[test]
    fn running_stack_is_found_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(std::process::id());
        state.save(folder.path()).unwrap();
        assert_eq!(DevState::running(folder.path()).unwrap(), Some(state));
        DevState::remove(folder.path());
        assert_eq!(DevState::running(folder.path()).unwrap(), None);
    }
}
