//! Watches executions: each watcher gets the current state, then every change until the end. One
//! task per replica serves all watchers: it polls the changes of all watched executions in one
//! query, and only while there are watchers. It never waits for a slow watcher.

mod registry;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::registry::{RegistryFull, WatchRegistry};
use super::GetExecution;
use crate::commands::CommandError;
use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::store::executions::{self, Execution};

/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Pause after a failed poll.
const POLL_PAUSE: Duration = Duration::from_secs(2);
/// Maximum number of executions per query.
const POLL_BATCH: usize = 1000;

/// Reason why a watch ends before the execution has ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchEnd {
    /// This replica is stopping; the client can watch on another one.
    #[error("this server is stopping: watch again on another one")]
    Stopping,
    /// This replica has reached its limit of watched executions.
    #[error("too many watched executions on this server: watch again later")]
    Full,
    /// The tenant has reached its limit of watches on this replica.
    #[error("too many watches of this tenant on this server: end some of them")]
    TenantFull,
    /// The execution does not exist or cannot be read.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Serves all watchers of this replica.
#[derive(Clone)]
pub struct WatchHub {
    databases: Databases,
    stop: CancellationToken,
    registry: Arc<WatchRegistry>,
    watcher_added: Arc<Notify>,
}

impl WatchHub {
    /// Creates a hub without watchers. All watches end when `stop` is cancelled.
    pub fn new(databases: Databases, stop: CancellationToken) -> Self {
        Self { databases, stop, registry: Arc::default(), watcher_added: Arc::default() }
    }

    /// Starts to watch an execution of a tenant.
    ///
    /// # Errors
    /// Fails if the execution does not exist, or if this replica watches too many.
    pub async fn watch(&self, tenant_id: Uuid, id: Uuid) -> Result<ExecutionWatch, WatchEnd> {
        let execution = self.databases.run_tenant(tenant_id, &GetExecution { id }).await?;
        let states = self.registry.subscribe(execution).map_err(|full| match full {
            RegistryFull::Replica => WatchEnd::Full,
            RegistryFull::Tenant => WatchEnd::TenantFull,
        })?;
        self.watcher_added.notify_one();
        Ok(ExecutionWatch { states, stop: self.stop.clone(), over: false })
    }

    /// Serves all watchers until the stop token is cancelled.
    pub async fn serve(self) {
        self.stop.run_until_cancelled(self.poll_forever()).await;
    }

    async fn poll_forever(&self) {
        let mut failed = false;
        loop {
            let seen = self.registry.seen();
            if seen.is_empty() {
                // `notify_one` stores a permit, so a watcher added since `seen()` is not missed.
                self.watcher_added.notified().await;
                continue;
            }
            match self.poll(&seen).await {
                Ok(()) => failed = false,
                Err(error) => {
                    if !failed {
                        tracing::warn!(%error, watched = seen.len(), "cannot read watched executions; retrying");
                    }
                    failed = true;
                }
            }
            sleep(if failed { POLL_PAUSE } else { POLL_INTERVAL }).await;
        }
    }

    async fn poll(&self, seen: &[executions::SeenVersion]) -> Result<(), StoreError> {
        for batch in seen.chunks(POLL_BATCH) {
            self.registry.show(executions::read::find_changed(&self.databases, batch).await?);
        }
        Ok(())
    }
}

/// One watcher of an execution.
#[derive(Debug)]
pub struct ExecutionWatch {
    states: Receiver<Execution>,
    stop: CancellationToken,
    over: bool,
}

impl ExecutionWatch {
    /// Waits for the next state and returns the newest; none after the terminal one.
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
    async fn stopping_server_ends_watch_after_pending_state() {
        let registry = WatchRegistry::default();
        let stop = CancellationToken::new();
        let states = registry.subscribe(execution()).unwrap();
        let mut watch = ExecutionWatch { states, stop: stop.clone(), over: false };
        stop.cancel();
        assert_eq!(watch.next().await.unwrap().unwrap().id, execution().id);
        assert!(matches!(watch.next().await, Some(Err(WatchEnd::Stopping))));
        assert!(watch.next().await.is_none());
    }

    #[tokio::test]
    async fn watch_ends_after_terminal_state() {
        let registry = WatchRegistry::default();
        let states = registry.subscribe(execution()).unwrap();
        let mut watch = ExecutionWatch { states, stop: CancellationToken::new(), over: false };
        registry.show(vec![Execution { version: 7, state: "cancelled".to_owned(), ..execution() }]);
        assert_eq!(watch.next().await.unwrap().unwrap().state, "cancelled");
        assert!(watch.next().await.is_none());
    }
}
