//! Background tasks with an owner: each has a name, all share one stop token, and the owner joins them with a deadline. A task that ends
//! early or panics is reported, never silently gone.

use std::{collections::HashMap, time::Duration};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time,
};
use tokio_util::sync::CancellationToken;

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskExit {
    /// Its future returned.
    Finished,
    /// It panicked, with this text.
    Panicked(String),
    /// It was aborted.
    Aborted,
}

/// A task that ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// The name that it was started under.
    pub name: String,
    /// How it ended.
    pub exit: TaskExit,
}

/// TaskGroup did not end by their deadline and were aborted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not ended within {} ms: {}", deadline.as_millis(), names.join(", "))]
pub struct UnfinishedTasks {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// How long they had.
    pub deadline: Duration,
}

/// The tasks of one owner. Dropping it aborts what still runs.
#[derive(Debug, Default)]
pub struct TaskGroup {
    stop: CancellationToken,
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl TaskGroup {
    /// No tasks yet, and a stop token of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// No tasks yet; they stop when `parent` does, or alone.
    pub fn with_parent(parent: &CancellationToken) -> Self {
        Self { stop: parent.child_token(), ..Self::default() }
    }

    /// What every task watches: cancelled means return soon.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. It is meant to run until the stop token is cancelled.
    pub fn start<F>(&mut self, name: impl Into<String>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.running.spawn(future);
        self.names.insert(handle.id(), name.into());
    }

    /// How many have not ended, or were not yet told of by [`TaskGroup::next_ended`].
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Waits for the next task to end; for ever while there is none. Cancel safe. An owner selects on it: a task that ends while nobody
    /// asked it to is a fault of the process.
    pub async fn next_ended(&mut self) -> EndedTask {
        match self.running.join_next_with_id().await {
            Some(joined) => self.report(joined),
            None => std::future::pending().await,
        }
    }

    /// Asks all to stop and waits for them; those that are late are aborted and named. Panics on the way are logged.
    pub async fn join(mut self, deadline: Duration) -> Result<(), UnfinishedTasks> {
        self.stop.cancel();
        let all = async {
            while let Some(joined) = self.running.join_next_with_id().await {
                let ended = report(&mut self.names, joined);
                if let TaskExit::Panicked(text) = &ended.exit {
                    tracing::error!(task = ended.name, panic = text, "task panicked while stopping");
                }
            }
        };
        if time::timeout(deadline, all).await.is_ok() {
            return Ok(());
        }
        self.running.shutdown().await;
        let mut names: Vec<String> = self.names.into_values().collect();
        names.sort();
        Err(UnfinishedTasks { names, deadline })
    }

    fn report(&mut self, joined: Result<(Id, ()), JoinError>) -> EndedTask {
        report(&mut self.names, joined)
    }
}

fn report(names: &mut HashMap<Id, String>, joined: Result<(Id, ()), JoinError>) -> EndedTask {
    let (id, exit) = match joined {
        Ok((id, ())) => (id, TaskExit::Finished),
        Err(error) => {
            let id = error.id();
            match error.try_into_panic() {
                Ok(payload) => (id, TaskExit::Panicked(panic_text(payload.as_ref()))),
                Err(_) => (id, TaskExit::Aborted),
            }
        }
    };
    EndedTask { name: names.remove(&id).unwrap_or_default(), exit }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_reported_with_its_name_and_text() {
        let mut tasks = TaskGroup::new();
        let stop = tasks.stop_token();
        tasks.start("steady", async move { stop.cancelled().await });
        tasks.start("broken", async { panic!("no row {}", 7) });
        let ended = tasks.next_ended().await;
        assert_eq!(ended, EndedTask { name: "broken".into(), exit: TaskExit::Panicked("no row 7".into()) });
        assert_eq!(tasks.len(), 1);
        tasks.join(Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_returns_early_is_reported() {
        let mut tasks = TaskGroup::new();
        tasks.start("relay", async {});
        assert_eq!(tasks.next_ended().await, EndedTask { name: "relay".into(), exit: TaskExit::Finished });
        assert!(tasks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn join_names_what_did_not_stop_in_time() {
        let mut tasks = TaskGroup::new();
        tasks.start("deaf", std::future::pending());
        let stop = tasks.stop_token();
        tasks.start("obedient", async move { stop.cancelled().await });
        let error = tasks.join(Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.to_string(), "not ended within 30000 ms: deaf");
    }

    #[tokio::test]
    async fn tasks_stop_with_the_token_above_them() {
        let parent = CancellationToken::new();
        let mut tasks = TaskGroup::with_parent(&parent);
        let stop = tasks.stop_token();
        tasks.start("child", async move { stop.cancelled().await });
        parent.cancel();
        assert_eq!(tasks.next_ended().await.exit, TaskExit::Finished);
    }
}
