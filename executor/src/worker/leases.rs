//! The leases that this process holds, shared by the runs that own them and the heartbeat that speaks for all.
//!
//! In: grants, what each run last requested, and the heartbeat's orders. Out: for the heartbeat one consistent picture of
//! what is answered and what runs; for each run its orders. A lease stays listed until its run lets go of the handle, and
//! that is after its Complete, Park or Release was answered. It calls nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::intake::AcquireLedger;

/// What a run is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Go on.
    Continue,
    /// Stop, and complete as cancelled.
    Cancel,
    /// The lease is not ours any more: stop at once, report nothing.
    Lost,
}

/// All leases of the process's session.
#[derive(Debug, Default)]
pub struct Leases {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    session: Uuid,
    acquires: AcquireLedger,
    held: HashMap<Uuid, Held>,
}

#[derive(Debug)]
struct Held {
    token: Bytes,
    begun: Instant,
    last_request: String,
    order: watch::Sender<Order>,
}

/// A run's own end of its lease. Dropped when the lease needs no more beats.
#[derive(Debug)]
pub struct Lease {
    id: Uuid,
    token: Bytes,
    begun: Instant,
    orders: watch::Receiver<Order>,
    leases: Arc<Leases>,
}

/// What one heartbeat lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Every acquire call up to this one is answered or given up.
    pub answered_acquire_seq: i64,
    /// All leases held.
    pub running: Vec<Running>,
}

/// One lease in a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub struct Running {
    /// From the grant.
    pub token: Bytes,
    /// Method and url without query.
    pub last_request: String,
    /// How long the attempt runs.
    pub running: Duration,
}

impl Leases {
    /// A new session: what an earlier one held is lost, and calls count from 1 again.
    pub fn begin_session(&self, session: Uuid) {
        let mut inner = self.lock();
        inner.lose_all();
        inner.session = session;
        inner.acquires = AcquireLedger::default();
    }

    /// The session is gone, and with it all its leases.
    pub fn end_session(&self, session: Uuid) {
        let mut inner = self.lock();
        if inner.session == session {
            inner.lose_all();
        }
    }

    /// Begins an acquire call of the session; none if that is not the current one.
    pub fn begin_acquire(&self, session: Uuid) -> Option<i64> {
        let mut inner = self.lock();
        (inner.session == session).then(|| inner.acquires.begin())
    }

    /// Ends an acquire call: its grants (lease id and token) are listed from the same moment on in which it counts as
    /// answered. A grant that is held already (a repeated answer) is not given out twice; an answer to a session that is
    /// gone gives out nothing.
    pub fn settle_acquire(
        self: &Arc<Self>,
        session: Uuid,
        seq: i64,
        grants: impl IntoIterator<Item = (Uuid, Bytes)>,
    ) -> Vec<Lease> {
        let mut inner = self.lock();
        if inner.session != session {
            return Vec::new();
        }
        let begun = Instant::now();
        let mut given = Vec::new();
        for (id, token) in grants {
            if inner.held.contains_key(&id) {
                continue;
            }
            let (order, orders) = watch::channel(Order::Continue);
            let held = Held { token: token.clone(), begun, last_request: String::new(), order };
            inner.held.insert(id, held);
            given.push(Lease { id, token, begun, orders, leases: Arc::clone(self) });
        }
        inner.acquires.settle(seq);
        given
    }

    /// What the next heartbeat lists.
    pub fn picture(&self) -> Picture {
        let inner = self.lock();
        let running = inner.held.values().map(|held| Running {
            token: held.token.clone(),
            last_request: held.last_request.clone(),
            running: held.begun.elapsed(),
        });
        Picture { answered_acquire_seq: inner.acquires.answered(), running: running.collect() }
    }

    /// Tells a run; an order never weakens an earlier one. Nothing happens for a lease that is not held any more.
    pub fn tell(&self, id: Uuid, order: Order) {
        if let Some(held) = self.lock().held.get(&id) {
            held.tell(order);
        }
    }

    /// How many leases are held.
    pub fn len(&self) -> usize {
        self.lock().held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Their runs hear of it; new beats do not list them.
    fn lose_all(&mut self) {
        for (_, held) in self.held.drain() {
            held.tell(Order::Lost);
        }
    }
}

impl Held {
    fn tell(&self, order: Order) {
        self.order.send_if_modified(|current| {
            let stronger = order > *current;
            if stronger {
                *current = order;
            }
            stronger
        });
    }
}

impl Lease {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Opens the calls of this attempt.
    pub fn token(&self) -> &Bytes {
        &self.token
    }

    /// When the attempt was granted.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The order in force.
    pub fn order(&self) -> Order {
        *self.orders.borrow()
    }

    /// A view of the orders, to wait on.
    pub fn orders(&self) -> watch::Receiver<Order> {
        self.orders.clone()
    }

    /// Names the request that the next heartbeats report: method, and url without query, for a dead letter's reader.
    pub fn requested(&self, method: &str, place: impl AsRef<str>) {
        if let Some(held) = self.leases.lock().held.get_mut(&self.id) {
            held.last_request.clear();
            held.last_request.extend([method, " ", place.as_ref()]);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().held.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Uuid = Uuid::from_u128(1);

    fn leases() -> Arc<Leases> {
        let leases = Arc::new(Leases::default());
        leases.begin_session(SESSION);
        leases
    }

    fn grant(n: u128) -> (Uuid, Bytes) {
        (Uuid::from_u128(n), Bytes::from(format!("token-{n}")))
    }

    fn listed(leases: &Leases) -> (i64, usize) {
        let picture = leases.picture();
        (picture.answered_acquire_seq, picture.running.len())
    }

    #[tokio::test]
    async fn a_grant_is_listed_no_later_than_its_call_counts_as_answered_and_until_its_handle_goes() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        assert_eq!(listed(&leases), (0, 0));
        let given = leases.settle_acquire(SESSION, seq, [grant(7), grant(8)]);
        assert_eq!(listed(&leases), (1, 2));
        drop(given);
        assert_eq!(listed(&leases), (1, 0));
    }

    #[tokio::test]
    async fn a_repeated_answer_gives_no_lease_out_twice() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let first = leases.settle_acquire(SESSION, seq, [grant(7)]);
        let again = leases.settle_acquire(SESSION, seq, [grant(7), grant(8)]);
        assert_eq!(first.len(), 1);
        assert_eq!(again.iter().map(Lease::id).collect::<Vec<_>>(), [Uuid::from_u128(8)]);
    }

    #[tokio::test]
    async fn a_new_session_loses_the_leases_of_the_old_and_counts_anew() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let given = leases.settle_acquire(SESSION, seq, [grant(7)]);
        let next = Uuid::from_u128(2);
        leases.begin_session(next);
        assert_eq!(given[0].order(), Order::Lost);
        assert_eq!(listed(&leases), (0, 0));
        assert_eq!(leases.begin_acquire(SESSION), None);
        assert_eq!(leases.begin_acquire(next), Some(1));
        assert!(leases.settle_acquire(SESSION, 1, [grant(9)]).is_empty(), "a late answer of the old session");
    }

    #[tokio::test]
    async fn an_order_never_weakens() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let given = leases.settle_acquire(SESSION, seq, [grant(7)]);
        let lease = &given[0];
        leases.tell(lease.id(), Order::Cancel);
        leases.tell(lease.id(), Order::Continue);
        assert_eq!(lease.order(), Order::Cancel);
        leases.tell(lease.id(), Order::Lost);
        assert_eq!(lease.order(), Order::Lost);
        leases.tell(Uuid::from_u128(99), Order::Lost);
    }

    #[tokio::test]
    async fn a_beat_names_the_last_request() {
        let leases = leases();
        let seq = leases.begin_acquire(SESSION).unwrap();
        let given = leases.settle_acquire(SESSION, seq, [grant(7)]);
        given[0].requested("GET", "https://a.test/orders");
        assert_eq!(leases.picture().running[0].last_request, "GET https://a.test/orders");
    }
}
