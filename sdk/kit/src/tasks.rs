//! Background tasks with an owner.
//!
//! Each task has a name, all tasks of a group share one stop token, and the owner joins them with a
//! deadline. A task that ends early or panics is reported.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;

/// The way in which a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskExit {
    /// The future returned.
    Finished,
    /// The task panicked with this message.
    Panicked(String),
    /// The task was aborted.
    Aborted,
}

/// A task that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// Name that the task was started with.
    pub name: String,
    /// The way in which it ended.
    pub exit: TaskExit,
}

/// Tasks that did not end by their deadline and were aborted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("tasks still running after {} ms: {}", deadline.as_millis(), names.join(", "))]
pub struct UnfinishedTasks {
    /// Names of the tasks, sorted.
    pub names: Vec<String>,
    /// Time that they had to end.
    pub deadline: Duration,
}

/// The tasks of one owner. Dropping the group aborts tasks that still run.
#[derive(Debug, Default)]
pub struct TaskGroup {
    stop: CancellationToken,
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl TaskGroup {
    /// Creates an empty group with a new stop token.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty group whose stop token is a child of `parent`.
    pub fn with_parent(parent: &CancellationToken) -> Self {
        Self { stop: parent.child_token(), ..Self::default() }
    }

    /// Returns the token that every task watches. When it is cancelled, the tasks return soon.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task, which should run until the stop token is cancelled.
    pub fn start<F>(&mut self, name: impl Into<String>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.running.spawn(future);
        self.names.insert(handle.id(), name.into());
    }

    /// Returns the number of tasks that [`TaskGroup::next_ended`] has not returned yet.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns true if there are no such tasks.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Waits for the next task to end, forever if there is none. Cancel safe. An owner selects on
    /// it, because a task that ends before it is asked to is a defect of the process.
    pub async fn next_ended(&mut self) -> EndedTask {
        match self.running.join_next_with_id().await {
            Some(joined) => self.report(joined),
            // An empty group must not make the owner's `select!` spin.
            None => std::future::pending().await,
        }
    }

    /// Asks all tasks to stop, and waits for them. Panics are logged.
    ///
    /// # Errors
    /// Fails with the names of the tasks that had to be aborted after the deadline.
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
        // Waits for the aborted tasks, so that nothing of the group runs after this call.
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
                Ok(payload) => (id, TaskExit::Panicked(panic_message(payload.as_ref()))),
                // A `JoinError` is either a panic or an abort.
                Err(_) => (id, TaskExit::Aborted),
            }
        }
    };
    EndedTask { name: names.remove(&id).unwrap_or_default(), exit }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panicked_task_is_reported_with_name_and_message() {
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
    async fn task_that_returns_early_is_reported() {
        let mut tasks = TaskGroup::new();
        tasks.start("relay", async {});
        assert_eq!(tasks.next_ended().await, EndedTask { name: "relay".into(), exit: TaskExit::Finished });
        assert!(tasks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn join_names_the_tasks_that_did_not_stop() {
        let mut tasks = TaskGroup::new();
        tasks.start("stubborn", std::future::pending());
        let stop = tasks.stop_token();
        tasks.start("cooperative", async move { stop.cancelled().await });
        let error = tasks.join(Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.to_string(), "tasks still running after 30000 ms: stubborn");
    }

    #[tokio::test]
    async fn tasks_stop_with_the_parent_token() {
        let parent = CancellationToken::new();
        let mut tasks = TaskGroup::with_parent(&parent);
        let stop = tasks.stop_token();
        tasks.start("child", async move { stop.cancelled().await });
        parent.cancel();
        assert_eq!(tasks.next_ended().await.exit, TaskExit::Finished);
    }
}
