//! Feeds all watchers of a replica: one task asks the database for every watched execution at once, and hands each that changed to
//! those who watch it.
//!
//! What comes in are watches, what goes out are rows, newest last; a slow watcher skips states that were overtaken. The task never
//! holds a transaction, and asks for nothing while nobody watches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{db::Databases, executions, executions::Execution};

const INTERVAL: Duration = Duration::from_millis(200);
/// How long to leave a database alone that cannot be asked.
const INTERVAL_AFTER_ERROR: Duration = Duration::from_secs(2);
/// Executions in one question.
const BATCH: usize = 500;

type Id = (Uuid, Uuid);
type Feed = watch::Sender<Option<Arc<Execution>>>;

/// The watches of this replica.
#[derive(Default)]
pub struct Watches {
    feeds: Mutex<HashMap<Id, Feed>>,
    came: Notify,
}

impl Watches {
    /// Watches an execution of a tenant: what it is at the next look, and then whenever it changed.
    pub fn watch(&self, tenant_id: Uuid, execution_id: Uuid) -> watch::Receiver<Option<Arc<Execution>>> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = feeds.entry((tenant_id, execution_id)).or_insert_with(|| watch::channel(None).0);
        let receiver = feed.subscribe();
        self.came.notify_one();
        receiver
    }

    /// Feeds the watchers until it is told to stop; then their streams end.
    pub async fn run(self: Arc<Self>, databases: Databases, stop: CancellationToken) {
        loop {
            let interval = match self.look(&databases).await {
                Ok(true) => INTERVAL,
                Ok(false) => {
                    tokio::select! {
                        () = self.came.notified() => continue,
                        () = stop.cancelled() => break,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "watched executions cannot be read");
                    INTERVAL_AFTER_ERROR
                }
            };
            tokio::select! {
                () = time::sleep(interval) => {}
                () = stop.cancelled() => break,
            }
        }
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Looks once; false where nobody watches.
    async fn look(&self, databases: &Databases) -> Result<bool, crate::store::error::StoreError> {
        let watched: Vec<Id> = {
            let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
            feeds.retain(|_, feed| feed.receiver_count() > 0);
            feeds.keys().copied().collect()
        };
        for batch in watched.chunks(BATCH) {
            let (tenants, ids) = batch.iter().copied().unzip();
            for row in executions::watched(databases, tenants, ids).await? {
                self.hand_out(row);
            }
        }
        Ok(!watched.is_empty())
    }

    fn hand_out(&self, row: Execution) {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(feed) = feeds.get(&(row.tenant_id, row.id)) else { return };
        let version = row.version;
        feed.send_if_modified(|last| {
            let is_new = last.as_ref().is_none_or(|last| last.version < version);
            if is_new {
                *last = Some(Arc::new(row));
            }
            is_new
        });
    }
}
