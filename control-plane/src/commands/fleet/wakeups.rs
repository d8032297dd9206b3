//! Wakes the loops and long polls of this process as soon as one of its transactions commits work.
//! Commits of other replicas are found by polling: no database notification is on the path of a
//! job.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The notifications inside this process. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Wakeups {
    ready: Arc<Notify>,
    polls: Arc<Notify>,
    schedules: Arc<Notify>,
}

impl Wakeups {
    /// Reports that ready rows were committed.
    pub fn work_is_ready(&self) {
        // `notify_one` leaves a permit for a relay that is busy; waiting polls are all woken, since
        // any of them may get the work.
        self.ready.notify_one();
        self.polls.notify_waiters();
    }

    /// Reports that a schedule may be due earlier than before.
    pub fn schedules_changed(&self) {
        self.schedules.notify_one();
    }

    /// Waits for ready rows. Returns at once when a commit came since the last wait. Only the relay
    /// waits here.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Waits for changed schedules. Returns at once when a change came since the last wait. Only
    /// the scheduler waits here.
    pub async fn schedules(&self) {
        self.schedules.notified().await;
    }

    /// Returns a wait for ready rows that counts commits from now on. Any number of long polls wait
    /// here.
    pub fn next_work(&self) -> Notified<'_> {
        self.polls.notified()
    }
}
