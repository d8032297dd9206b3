//! The leases that this process holds.
//!
//! The registry is shared by the attempts, which own [`LeaseHandle`]s, and the heartbeat, which
//! speaks for all of them. The heartbeat takes one consistent snapshot of resolved acquire calls
//! and running leases, and sends commands to attempts. A lease stays listed until its attempt drops
//! the handle, and that happens only after the response to its Complete, Park or Release.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::lease::acquire_tracker::AcquireTracker;

/// A command of the control plane for one attempt. Later variants override earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseCommand {
    /// Go on.
    Continue,
    /// Stop, and complete as cancelled.
    Cancel,
    /// Stop at once and report nothing: the lease belongs to another attempt.
    Lost,
}

/// All leases of the current session.
#[derive(Debug, Default)]
pub struct LeaseRegistry {
    state: Mutex<RegistryState>,
}

#[derive(Debug, Default)]
struct RegistryState {
    session: Uuid,
    acquires: AcquireTracker,
    leases: HashMap<Uuid, HeldLease>,
}

#[derive(Debug)]
struct HeldLease {
    token: Bytes,
    granted_at: Instant,
    last_request: String,
    command: watch::Sender<LeaseCommand>,
}

/// An attempt's hold on its lease. While it exists, heartbeats list the lease.
#[derive(Debug)]
pub struct LeaseHandle {
    id: Uuid,
    token: Bytes,
    granted_at: Instant,
    commands: watch::Receiver<LeaseCommand>,
    registry: Arc<LeaseRegistry>,
}

/// The content of one heartbeat, taken under one lock.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeartbeatSnapshot {
    /// The highest seq up to which all acquire calls are resolved.
    pub resolved_acquire_seq: i64,
    /// All leases held.
    pub leases: Vec<LeaseSnapshot>,
}

/// One lease in a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub struct LeaseSnapshot {
    /// The lease token from the grant.
    pub token: Bytes,
    /// Method and URL of the attempt's last request, without the query.
    pub last_request: String,
    /// Time since the grant.
    pub running: Duration,
}

impl LeaseRegistry {
    /// Starts a new session: leases of an earlier one are lost, and acquire calls count from 1.
    pub fn begin_session(&self, session: Uuid) {
        let mut state = self.lock();
        state.lose_all();
        state.session = session;
        state.acquires = AcquireTracker::default();
    }

    /// Loses all leases of a session that is gone. Does nothing if a newer session has begun.
    pub fn end_session(&self, session: Uuid) {
        let mut state = self.lock();
        if state.session == session {
            state.lose_all();
        }
    }

    /// Opens an acquire call and returns its seq, or `None` if `session` is not the current one.
    pub fn begin_acquire(&self, session: Uuid) -> Option<i64> {
        let mut state = self.lock();
        (state.session == session).then(|| state.acquires.open())
    }

    /// Resolves an acquire call and registers its grants (lease id and token).
    ///
    /// Both happen under one lock: a heartbeat that named the call as resolved without listing its
    /// grants would give them back. Returns one handle per new lease. A lease that is already held
    /// (the response was repeated) gets no second handle, and a response to an old session gets
    /// none at all.
    pub fn resolve_acquire(
        self: &Arc<Self>,
        session: Uuid,
        seq: i64,
        grants: impl IntoIterator<Item = (Uuid, Bytes)>,
    ) -> Vec<LeaseHandle> {
        let mut state = self.lock();
        if state.session != session {
            return Vec::new();
        }
        let granted_at = Instant::now();
        let mut handles = Vec::new();
        for (id, token) in grants {
            // A repeated response: the first one started the attempt.
            if state.leases.contains_key(&id) {
                continue;
            }
            let (command, commands) = watch::channel(LeaseCommand::Continue);
            let lease = HeldLease { token: token.clone(), granted_at, last_request: String::new(), command };
            state.leases.insert(id, lease);
            handles.push(LeaseHandle { id, token, granted_at, commands, registry: Arc::clone(self) });
        }
        state.acquires.resolve(seq);
        handles
    }

    /// Takes the snapshot for the next heartbeat.
    pub fn snapshot(&self) -> HeartbeatSnapshot {
        let state = self.lock();
        let leases = state.leases.values().map(|lease| LeaseSnapshot {
            token: lease.token.clone(),
            last_request: lease.last_request.clone(),
            running: lease.granted_at.elapsed(),
        });
        HeartbeatSnapshot { resolved_acquire_seq: state.acquires.resolved_up_to(), leases: leases.collect() }
    }

    /// Sends a command to an attempt. A command never weakens an earlier one. Does nothing for a
    /// lease that is no longer held.
    pub fn send_command(&self, id: Uuid, command: LeaseCommand) {
        if let Some(lease) = self.lock().leases.get(&id) {
            lease.send_command(command);
        }
    }

    /// Returns the number of leases held.
    pub fn len(&self) -> usize {
        self.lock().leases.len()
    }

    /// Returns whether no lease is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, RegistryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegistryState {
    /// Commands all attempts to stop. New heartbeats no longer list their leases.
    fn lose_all(&mut self) {
        for (_, lease) in self.leases.drain() {
            lease.send_command(LeaseCommand::Lost);
        }
    }
}

impl HeldLease {
    fn send_command(&self, command: LeaseCommand) {
        self.command.send_if_modified(|current| {
            let is_stronger = command > *current;
            if is_stronger {
                *current = command;
            }
            is_stronger
        });
    }
}

impl LeaseHandle {
    /// Returns the id of the lease.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the token that authorizes the attempt's calls.
    pub fn token(&self) -> &Bytes {
        &self.token
    }

    /// Returns the time at which the grant arrived.
    pub fn granted_at(&self) -> Instant {
        self.granted_at
    }

    /// Returns the command in force.
    pub fn command(&self) -> LeaseCommand {
        *self.commands.borrow()
    }

    /// Subscribes to commands.
    pub fn commands(&self) -> watch::Receiver<LeaseCommand> {
        self.commands.clone()
    }

    /// Records the request that the next heartbeats report. A dead letter shows it, so `url` must
    /// not contain the query or credentials.
    pub fn record_request(&self, method: &str, url: impl AsRef<str>) {
        // Missing after the session was lost: the attempt has not noticed yet.
        if let Some(lease) = self.registry.lock().leases.get_mut(&self.id) {
            lease.last_request.clear();
            lease.last_request.extend([method, " ", url.as_ref()]);
        }
    }
}

impl Drop for LeaseHandle {
    fn drop(&mut self) {
        self.registry.lock().leases.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Uuid = Uuid::from_u128(1);

    fn leases() -> Arc<LeaseRegistry> {
        let leases = Arc::new(LeaseRegistry::default());
        leases.begin_session(SESSION);
        leases
    }

    fn grant(n: u128) -> (Uuid, Bytes) {
        (Uuid::from_u128(n), Bytes::from(format!("token-{n}")))
    }

    fn listed(leases: &LeaseRegistry) -> (i64, usize) {
        let snapshot = leases.snapshot();
        (snapshot.resolved_acquire_seq, snapshot.leases.len())
    }

    #[tokio::test]
    async fn grant_is_listed_from_resolving_its_call_until_its_drop() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        assert_eq!(listed(&leases), (0, 0));
        let given = leases.resolve_acquire(SESSION, seq, [grant(7), grant(8)]);
        assert_eq!(listed(&leases), (1, 2));
        drop(given);
        assert_eq!(listed(&leases), (1, 0));
    }

    #[tokio::test]
    async fn repeated_response_returns_no_second_handle() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let first = leases.resolve_acquire(SESSION, seq, [grant(7)]);
        let again = leases.resolve_acquire(SESSION, seq, [grant(7), grant(8)]);
        assert_eq!(first.len(), 1);
        assert_eq!(again.iter().map(LeaseHandle::id).collect::<Vec<_>>(), [Uuid::from_u128(8)]);
    }

    #[tokio::test]
    async fn new_session_loses_old_leases_and_restarts_seqs() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let given = leases.resolve_acquire(SESSION, seq, [grant(7)]);
        let next = Uuid::from_u128(2);
        leases.begin_session(next);
        assert_eq!(given[0].command(), LeaseCommand::Lost);
        assert_eq!(listed(&leases), (0, 0));
        assert_eq!(leases.begin_acquire(SESSION), None);
        assert_eq!(leases.begin_acquire(next), Some(1));
        assert!(
            leases.resolve_acquire(SESSION, 1, [grant(9)]).is_empty(),
            "a late response of the old session"
        );
    }

    #[tokio::test]
    async fn command_never_weakens() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let given = leases.resolve_acquire(SESSION, seq, [grant(7)]);
        let lease = &given[0];
        leases.send_command(lease.id(), LeaseCommand::Cancel);
        leases.send_command(lease.id(), LeaseCommand::Continue);
        assert_eq!(lease.command(), LeaseCommand::Cancel);
        leases.send_command(lease.id(), LeaseCommand::Lost);
        assert_eq!(lease.command(), LeaseCommand::Lost);
        leases.send_command(Uuid::from_u128(99), LeaseCommand::Lost);
    }

    #[tokio::test]
    async fn snapshot_names_the_last_request() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let given = leases.resolve_acquire(SESSION, seq, [grant(7)]);
        given[0].record_request("GET", "https://a.test/orders");
        assert_eq!(leases.snapshot().leases[0].last_request, "GET https://a.test/orders");
    }
}
