//! How a commit of this process wakes its loops and long polls at once. Other replicas' commits are found by polling; no database
//! notification is on the path of a job.

use std::sync::Arc;

use tokio::sync::Notify;

/// Bells inside this process; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Wakeups {
    ready: Arc<Notify>,
    polls: Arc<Notify>,
    schedules: Arc<Notify>,
}

impl Wakeups {
    /// Ready rows were committed.
    pub fn work_is_ready(&self) {
        self.ready.notify_one();
        self.polls.notify_waiters();
    }

    /// A schedule may be due earlier than before.
    pub fn schedules_changed(&self) {
        self.schedules.notify_one();
    }

    /// Waits for ready rows; remembers one commit that came before. For the relay alone.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Waits for changed schedules; remembers one change that came before. For the scheduler alone.
    pub async fn schedules(&self) {
        self.schedules.notified().await;
    }

    /// A wait for ready rows that counts commits from now on; for any number of long polls.
    pub fn next_work(&self) -> tokio::sync::futures::Notified<'_> {
        self.polls.notified()
    }
}
