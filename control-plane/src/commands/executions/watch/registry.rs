//! Registry of watched executions: one cell per execution, shared by its watchers. A cell holds
//! only the newest state, so a slow watcher may skip states, but never the last one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use orchid_domain::execution::State;
use tokio::sync::watch::{Receiver, Sender, channel};
use uuid::Uuid;

use crate::store::executions::{Execution, SeenVersion};

/// Maximum number of watched executions per replica.
const MAX_WATCHED: usize = 10_000;
/// Maximum number of watchers of one tenant per replica, so that one tenant cannot take them all.
const MAX_WATCHERS_OF_TENANT: usize = 1000;

/// Cells of all watched executions, by tenant and id.
#[derive(Default)]
pub(super) struct WatchRegistry {
    cells: Mutex<HashMap<(Uuid, Uuid), Sender<Execution>>>,
}

/// The registry has reached a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RegistryFull {
    /// That of all tenants.
    Replica,
    /// That of one tenant.
    Tenant,
}

impl WatchRegistry {
    /// Adds a watcher of an execution. Its receiver first yields the newest state, and then closes
    /// if that state is terminal.
    pub(super) fn subscribe(&self, execution: Execution) -> Result<Receiver<Execution>, RegistryFull> {
        let mut cells = self.cells();
        let key = (execution.tenant_id, execution.id);
        let of_tenant = cells.iter().filter(|((tenant_id, _), _)| *tenant_id == key.0);
        let watchers: usize = of_tenant.map(|(_, cell)| cell.receiver_count()).sum();
        if watchers >= MAX_WATCHERS_OF_TENANT && !has_ended(&execution) {
            return Err(RegistryFull::Tenant);
        }
        let mut receiver = match cells.get(&key) {
            Some(cell) => {
                let receiver = cell.subscribe();
                replace(cell, execution);
                receiver
            }
            // An ended execution gets no cell: no later change would ever remove it.
            None if has_ended(&execution) => channel(execution).1,
            None if cells.len() >= MAX_WATCHED => return Err(RegistryFull::Replica),
            None => {
                let (cell, receiver) = channel(execution);
                cells.insert(key, cell);
                receiver
            }
        };
        receiver.mark_changed();
        Ok(receiver)
    }

    /// Returns all watched executions with the version that their watchers have seen, and removes
    /// cells without watchers.
    pub(super) fn seen(&self) -> Vec<SeenVersion> {
        let mut cells = self.cells();
        cells.retain(|_, cell| cell.receiver_count() > 0);
        cells
            .iter()
            .map(|(&(tenant_id, id), cell)| SeenVersion { tenant_id, id, version: cell.borrow().version })
            .collect()
    }

    /// Publishes newer states to their watchers. The cell of an ended execution is removed, which
    /// closes its receivers after this last state.
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
        // No panic can leave the map half changed, so a poisoned lock is safe to use.
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
    async fn slow_watcher_skips_states_but_sees_the_last() {
        let registry = WatchRegistry::default();
        let mut receiver = registry.subscribe(at(1, "queued")).unwrap();
        registry.show(vec![at(2, "running")]);
        registry.show(vec![at(3, "running")]);
        registry.show(vec![at(4, "succeeded")]);
        receiver.changed().await.unwrap();
        assert_eq!(receiver.borrow_and_update().version, 4);
        assert!(receiver.changed().await.is_err());
        assert!(registry.seen().is_empty());
    }

    #[tokio::test]
    async fn ended_execution_is_seen_once() {
        let registry = WatchRegistry::default();
        let mut receiver = registry.subscribe(at(9, "failed")).unwrap();
        receiver.changed().await.unwrap();
        assert_eq!(receiver.borrow_and_update().state, "failed");
        assert!(receiver.changed().await.is_err());
    }

    #[tokio::test]
    async fn older_state_never_replaces_a_newer_one() {
        let registry = WatchRegistry::default();
        let mut first = registry.subscribe(at(5, "running")).unwrap();
        let mut second = registry.subscribe(at(4, "queued")).unwrap();
        registry.show(vec![at(3, "queued")]);
        assert_eq!(first.borrow_and_update().version, 5);
        assert_eq!(second.borrow_and_update().version, 5);
    }

    #[test]
    fn unwatched_execution_is_not_polled() {
        let registry = WatchRegistry::default();
        let receiver = registry.subscribe(at(1, "queued")).unwrap();
        assert_eq!(registry.seen().len(), 1);
        drop(receiver);
        assert!(registry.seen().is_empty());
    }

    #[test]
    fn same_id_of_another_tenant_is_another_cell() {
        let registry = WatchRegistry::default();
        let _mine = registry.subscribe(at(1, "queued")).unwrap();
        let mut theirs =
            registry.subscribe(Execution { tenant_id: Uuid::from_u128(99), ..at(1, "queued") }).unwrap();
        registry.show(vec![at(2, "running")]);
        assert_eq!(theirs.borrow_and_update().version, 1);
    }

    #[test]
    fn full_registry_accepts_watchers_of_known_cells_only() {
        let registry = WatchRegistry::default();
        let other = |number: u128| Execution {
            id: Uuid::from_u128(number),
            tenant_id: Uuid::from_u128(number / 500),
            ..at(1, "queued")
        };
        let held: Vec<_> =
            (0..MAX_WATCHED as u128).map(|number| registry.subscribe(other(number)).unwrap()).collect();
        assert_eq!(registry.subscribe(other(1 << 64)).err(), Some(RegistryFull::Replica));
        assert!(registry.subscribe(other(0)).is_ok());
        assert_eq!(held.len(), MAX_WATCHED);
    }

    #[test]
    fn one_tenant_cannot_take_all_watches() {
        let registry = WatchRegistry::default();
        let mut held: Vec<_> =
            (0..MAX_WATCHERS_OF_TENANT).map(|_| registry.subscribe(at(1, "queued")).unwrap()).collect();
        assert_eq!(registry.subscribe(at(1, "queued")).err(), Some(RegistryFull::Tenant));
        let other = Execution { id: Uuid::from_u128(77), ..at(1, "queued") };
        assert_eq!(registry.subscribe(other).err(), Some(RegistryFull::Tenant));
        let foreign = Execution { tenant_id: Uuid::from_u128(99), ..at(1, "queued") };
        assert!(registry.subscribe(foreign).is_ok());
        held.pop();
        assert!(registry.subscribe(at(1, "queued")).is_ok());
    }
}
