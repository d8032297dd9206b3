//! `dev.json`: where everything of a running development stack is, so that the other commands need no flags.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::secrets::write_private;

const FILE: &str = "dev.json";

/// A running development stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevState {
    /// Process id of `orchid dev`.
    pub pid: u32,
    /// `host:port` of the control plane.
    pub grpc: String,
    /// The tenant that the stack created.
    pub tenant: Uuid,
    /// The broker.
    pub kafka: KafkaState,
    /// Url of Postgres, as its superuser.
    pub postgres: String,
    /// Url of Redis.
    pub redis: String,
    /// The demo upstream's url.
    pub upstream: String,
    /// What `${NAME}` stands for in files that are applied.
    pub variables: BTreeMap<String, String>,
    /// The folder with the logs.
    pub logs: PathBuf,
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KafkaState {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// Where pages go.
    pub topic_responses: String,
    /// Where errors go.
    pub topic_errors: String,
    /// Where starts and ends go.
    pub topic_events: String,
}

impl KafkaState {
    /// The names of all topics.
    pub(crate) fn topics(&self) -> [String; 3] {
        [&self.topic_responses, &self.topic_errors, &self.topic_events].map(Clone::clone)
    }
}

impl DevState {
    /// The stack that runs with this data folder; `None` when none does.
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

    /// Tells the other commands.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        write_private(&folder.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// The stack has ended.
    pub(crate) fn remove(folder: &Path) {
        // Whether it was there or not: now it is not.
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
    fn a_stack_whose_process_is_gone_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(DevState::running(folder.path()).unwrap(), None);
        state(u32::MAX).save(folder.path()).unwrap();
        assert_eq!(DevState::running(folder.path()).unwrap(), None);
    }

    #[test]
    fn a_running_stack_is_found_until_it_says_that_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(std::process::id());
        state.save(folder.path()).unwrap();
        assert_eq!(DevState::running(folder.path()).unwrap(), Some(state));
        DevState::remove(folder.path());
        assert_eq!(DevState::running(folder.path()).unwrap(), None);
    }
}
