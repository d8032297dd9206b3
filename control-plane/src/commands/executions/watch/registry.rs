//! Who watches what, and what they saw last: one cell per watched execution, shared by its watchers. A cell holds the newest state
//! alone, so a slow watcher skips what came in between, and never the last.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use orchid_domain::execution::State;
use tokio::sync::watch::{Receiver, Sender, channel};
use uuid::Uuid;

use crate::store::executions::{Execution, SeenVersion};

/// The most executions that one replica watches.
const MAX_WATCHED: usize = 10_000;

/// The cells.
#[derive(Default)]
pub(super) struct WatchRegistry {
    cells: Mutex<HashMap<(Uuid, Uuid), Sender<Execution>>>,
}

/// There is no room for another cell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RegistryFull;

impl WatchRegistry {
    /// A new watcher's end of an execution's cell. It sees the newest state first, and then the end of the channel where that is
    /// terminal.
    pub(super) fn subscribe(&self, execution: Execution) -> Result<Receiver<Execution>, RegistryFull> {
        let mut cells = self.cells();
        let key = (execution.tenant_id, execution.id);
        let mut receiver = match cells.get(&key) {
            Some(cell) => {
                let receiver = cell.subscribe();
                replace(cell, execution);
                receiver
            }
            None if has_ended(&execution) => channel(execution).1,
            None if cells.len() >= MAX_WATCHED => return Err(RegistryFull),
            None => {
                let (cell, receiver) = channel(execution);
                cells.insert(key, cell);
                receiver
            }
        };
        receiver.mark_changed();
        Ok(receiver)
    }

    /// What is watched, as it was seen last. Cells that nobody watches any more are cleared away.
    pub(super) fn seen(&self) -> Vec<SeenVersion> {
        let mut cells = self.cells();
        cells.retain(|_, cell| cell.receiver_count() > 0);
        cells
            .iter()
            .map(|(&(tenant_id, id), cell)| SeenVersion { tenant_id, id, version: cell.borrow().version })
            .collect()
    }

    /// Shows newer states to who watches them; what has ended is shown once more and then cleared away.
    pub(super) fn show(&self, executions: Vec<Execution>) {
        let mut cells = self.cells();
        for execution in executions {
            let key = (execution.tenant_id, execution.id);
            let ended = has_ended(&execution);
            if let Some(cell) = cells.get(&key) {
                replace(cell, execution);
                if ended {
                    cells.remove(&key);
                }
            }
        }
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<(Uuid, Uuid), Sender<Execution>>> {
        // No panic can happen between two changes that belong together.
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn replace(cell: &Sender<Execution>, newer: Execution) {
    cell.send_if_modified(|seen| {
        let is_newer = newer.version > seen.version;
        if is_newer {
            *seen = newer;
        }
        is_newer
    });
}

fn has_ended(execution: &Execution) -> bool {
    execution.state.parse::<State>().is_ok_and(State::is_terminal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::executions::samples::execution;

    fn at(version: i64, state: &str) -> Execution {
        Execution { version, state: state.to_owned(), ..execution() }
    }

    #[tokio::test]
    async fn a_slow_watcher_skips_states_and_sees_the_last_then_the_end() {
        let board = WatchRegistry::default();
        let mut receiver = board.subscribe(at(1, "queued")).unwrap();
        board.show(vec![at(2, "running")]);
        board.show(vec![at(3, "running")]);
        board.show(vec![at(4, "succeeded")]);
        receiver.changed().await.unwrap();
        assert_eq!(receiver.borrow_and_update().version, 4);
        assert!(receiver.changed().await.is_err());
        assert!(board.seen().is_empty());
    }

    #[tokio::test]
    async fn what_has_ended_already_is_seen_once() {
        let board = WatchRegistry::default();
        let mut receiver = board.subscribe(at(9, "failed")).unwrap();
        receiver.changed().await.unwrap();
        assert_eq!(receiver.borrow_and_update().state, "failed");
        assert!(receiver.changed().await.is_err());
    }

    #[tokio::test]
    async fn an_older_state_never_replaces_a_newer_one() {
        let board = WatchRegistry::default();
        let mut first = board.subscribe(at(5, "running")).unwrap();
        let mut second = board.subscribe(at(4, "queued")).unwrap();
        board.show(vec![at(3, "queued")]);
        assert_eq!(first.borrow_and_update().version, 5);
        assert_eq!(second.borrow_and_update().version, 5);
    }

    #[test]
    fn what_nobody_watches_is_not_asked_for() {
        let board = WatchRegistry::default();
        let receiver = board.subscribe(at(1, "queued")).unwrap();
        assert_eq!(board.seen().len(), 1);
        drop(receiver);
        assert!(board.seen().is_empty());
    }

    #[test]
    fn another_tenants_execution_of_the_same_id_is_another_cell() {
        let board = WatchRegistry::default();
        let _mine = board.subscribe(at(1, "queued")).unwrap();
        let mut theirs =
            board.subscribe(Execution { tenant_id: Uuid::from_u128(99), ..at(1, "queued") }).unwrap();
        board.show(vec![at(2, "running")]);
        assert_eq!(theirs.borrow_and_update().version, 1);
    }

    #[test]
    fn a_full_board_refuses_another_cell_and_lets_more_watch_what_it_has() {
        let board = WatchRegistry::default();
        let other = |number: u128| Execution { id: Uuid::from_u128(number), ..at(1, "queued") };
        let held: Vec<_> =
            (0..MAX_WATCHED as u128).map(|number| board.subscribe(other(number)).unwrap()).collect();
        assert_eq!(board.subscribe(other(1 << 64)).err(), Some(RegistryFull));
        assert!(board.subscribe(other(0)).is_ok());
        assert_eq!(held.len(), MAX_WATCHED);
    }
}
