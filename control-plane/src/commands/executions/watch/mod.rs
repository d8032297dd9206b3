//! Watches executions: the state now, then again whenever it changed, until it has ended. All watchers of a replica are served by one
//! task, which reads what changed of everything that is watched in one go, and only while something is. It never waits for a watcher.

mod registry;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch::Receiver},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::registry::{RegistryFull, WatchRegistry};
use super::GetExecution;
use crate::{
    commands::CommandError,
    store::{
        db::Databases,
        error::StoreError,
        executions::{self, Execution},
    },
};

/// Between two reads while something is watched.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// After a read that failed.
const POLL_PAUSE: Duration = Duration::from_secs(2);
/// The most executions of one read.
const POLL_BATCH: usize = 1000;

/// Why there is nothing more to see, though the execution has not ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchEnd {
    /// This replica is stopping; another goes on.
    #[error("this server is stopping: watch again")]
    Stopping,
    /// This replica watches as many executions as it can.
    #[error("this server watches as many executions as it can: watch again later")]
    Full,
    /// There is nothing to watch, or it cannot be read.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Everything that is watched on this replica.
#[derive(Clone)]
pub struct WatchHub {
    databases: Databases,
    stop: CancellationToken,
    board: Arc<WatchRegistry>,
    somebody_came: Arc<Notify>,
}

impl WatchHub {
    /// Nothing is watched yet. All watches end when `stop` is cancelled.
    pub fn new(databases: Databases, stop: CancellationToken) -> Self {
        Self { databases, stop, board: Arc::default(), somebody_came: Arc::default() }
    }

    /// Begins to watch an execution of a tenant.
    pub async fn watch(&self, tenant_id: Uuid, id: Uuid) -> Result<ExecutionWatch, WatchEnd> {
        let execution = self.databases.run_tenant(tenant_id, &GetExecution { id }).await?;
        let states = self.board.subscribe(execution).map_err(|RegistryFull| WatchEnd::Full)?;
        self.somebody_came.notify_one();
        Ok(ExecutionWatch { states, stop: self.stop.clone(), over: false })
    }

    /// The task that serves all watchers; runs until the stop token is cancelled.
    pub async fn serve(self) {
        self.stop.run_until_cancelled(self.poll_for_ever()).await;
    }

    async fn poll_for_ever(&self) {
        let mut failed = false;
        loop {
            let seen = self.board.seen();
            if seen.is_empty() {
                self.somebody_came.notified().await;
                continue;
            }
            match self.poll(&seen).await {
                Ok(()) => failed = false,
                Err(error) => {
                    if !failed {
                        tracing::warn!(%error, watched = seen.len(), "cannot read what is watched; trying on");
                    }
                    failed = true;
                }
            }
            sleep(if failed { POLL_PAUSE } else { POLL_INTERVAL }).await;
        }
    }

    async fn poll(&self, seen: &[executions::SeenVersion]) -> Result<(), StoreError> {
        for batch in seen.chunks(POLL_BATCH) {
            self.board.show(executions::read::find_changed(&self.databases, batch).await?);
        }
        Ok(())
    }
}

/// One watcher's view of an execution.
#[derive(Debug)]
pub struct ExecutionWatch {
    states: Receiver<Execution>,
    stop: CancellationToken,
    over: bool,
}

impl ExecutionWatch {
    /// The newest state that was not seen yet, as soon as there is one; none after the terminal one.
    pub async fn next(&mut self) -> Option<Result<Execution, WatchEnd>> {
        if self.over {
            return None;
        }
        tokio::select! {
            biased;
            changed = self.states.changed() => match changed {
                Ok(()) => Some(Ok(self.states.borrow_and_update().clone())),
                Err(_) => None,
            },
            () = self.stop.cancelled() => {
                self.over = true;
                Some(Err(WatchEnd::Stopping))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::executions::samples::execution;

    #[tokio::test]
    async fn a_stopping_server_tells_its_watchers_once_and_after_what_there_is_to_see() {
        let board = WatchRegistry::default();
        let stop = CancellationToken::new();
        let states = board.subscribe(execution()).unwrap();
        let mut watch = ExecutionWatch { states, stop: stop.clone(), over: false };
        stop.cancel();
        assert_eq!(watch.next().await.unwrap().unwrap().id, execution().id);
        assert!(matches!(watch.next().await, Some(Err(WatchEnd::Stopping))));
        assert!(watch.next().await.is_none());
    }

    #[tokio::test]
    async fn a_watch_ends_after_the_terminal_state() {
        let board = WatchRegistry::default();
        let states = board.subscribe(execution()).unwrap();
        let mut watch = ExecutionWatch { states, stop: CancellationToken::new(), over: false };
        board.show(vec![Execution { version: 7, state: "cancelled".to_owned(), ..execution() }]);
        assert_eq!(watch.next().await.unwrap().unwrap().state, "cancelled");
        assert!(watch.next().await.is_none());
    }
}
