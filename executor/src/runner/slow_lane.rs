//! The slow lane: where the engine goes on with expressions that take long, so that a plan with
//! expensive expressions slows down only itself.
//!
//! The engine runs on the threads that also drive requests, timers and reports of all other
//! attempts. An attempt whose expressions take more than a few milliseconds gives its thread away
//! and waits for a turn in the lane, which has fewer turns than the machine has cores. Turns go
//! round the tenants, and last a few milliseconds while others wait: a tenant with many expensive
//! attempts delays another one's by a turn, not by its whole queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use orchid_plan::{Pacer, paced};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use uuid::Uuid;

/// Time in which another thread takes over the tasks of the one that is given away.
const HANDOVER: Duration = Duration::from_micros(500);

/// The lane of one executor.
#[derive(Debug)]
pub struct SlowLane {
    turns: Mutex<Turns>,
}

/// The free turns, and the attempts that wait for one.
#[derive(Debug)]
struct Turns {
    free: usize,
    /// Waiting attempts by tenant, the tenant that is next first.
    waiting: VecDeque<(Uuid, VecDeque<SyncSender<()>>)>,
}

impl Turns {
    /// Takes a turn, or returns the signal to wait for.
    fn take(&mut self, tenant: Uuid) -> Option<Receiver<()>> {
        if self.free > 0 {
            self.free -= 1;
            return None;
        }
        let (signal, granted) = sync_channel(1);
        match self.waiting.iter_mut().find(|(known, _)| *known == tenant) {
            Some((_, attempts)) => attempts.push_back(signal),
            None => self.waiting.push_back((tenant, VecDeque::from([signal]))),
        }
        Some(granted)
    }

    /// Gives a turn back: to the next tenant's oldest attempt, if any waits.
    fn give_back(&mut self) {
        while let Some((tenant, mut attempts)) = self.waiting.pop_front() {
            let next = attempts.pop_front();
            if !attempts.is_empty() {
                self.waiting.push_back((tenant, attempts));
            }
            // The receiver waits until it gets the signal, so this succeeds.
            if next.is_some_and(|next| next.send(()).is_ok()) {
                return;
            }
        }
        self.free += 1;
    }
}

impl SlowLane {
    /// Creates a lane for a machine with this number of cores: half of them stay free for
    /// everything else.
    pub fn new(cores: usize) -> Self {
        Self { turns: Mutex::new(Turns { free: (cores / 2).max(1), waiting: VecDeque::new() }) }
    }

    /// Creates the member for an attempt of this tenant.
    pub(crate) fn member(self: &Arc<Self>, tenant: Uuid) -> Arc<LaneMember> {
        Arc::new(LaneMember { lane: Arc::clone(self), tenant, has_turn: AtomicBool::new(false) })
    }

    fn take_turn(&self, tenant: Uuid) {
        let granted = self.turns().take(tenant);
        if let Some(granted) = granted {
            // The sender is dropped only after it has sent.
            let _signal = granted.recv();
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt, as the lane sees it.
#[derive(Debug)]
pub(crate) struct LaneMember {
    lane: Arc<SlowLane>,
    tenant: Uuid,
    has_turn: AtomicBool,
}

impl LaneMember {
    /// Runs work of the engine on this thread. If its expressions take long, the work goes on in
    /// the lane.
    pub(crate) fn run<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        let _turn = EndTurn(self);
        paced(Arc::clone(self) as Arc<dyn Pacer>, work)
    }

    fn end_turn(&self) {
        if self.has_turn.swap(false, Ordering::Relaxed) {
            self.lane.turns().give_back();
        }
    }
}

impl Pacer for LaneMember {
    #[expect(clippy::disallowed_methods, reason = "the thread is being given away, and drives nothing")]
    fn pause(&self) {
        off_workers(|| {
            // Without its turn while it waits for the next one: that is how turns go round.
            self.end_turn();
            thread::sleep(HANDOVER);
            self.lane.take_turn(self.tenant);
            self.has_turn.store(true, Ordering::Relaxed);
        });
    }
}

/// Gives the turn back once the work is over, also if it panics.
struct EndTurn<'a>(&'a LaneMember);

impl Drop for EndTurn<'_> {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

/// Runs `wait`, during which another thread takes over what this one drives. If it has done so by
/// the end, this thread keeps only its own task, and ends with it.
fn off_workers(wait: impl FnOnce()) {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(wait),
        // A runtime with a single thread has no other that could take over.
        Ok(_) | Err(_) => wait(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use chrono::DateTime;
    use orchid_plan::{EvalEnv, Scope};
    use serde_json::json;

    use super::*;

    #[test]
    fn turns_go_round_the_tenants() {
        let (hostile, quiet) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut turns = Turns { free: 1, waiting: VecDeque::new() };
        assert!(turns.take(hostile).is_none());
        let waiting: Vec<_> = [hostile, hostile, hostile, quiet]
            .into_iter()
            .map(|tenant| turns.take(tenant).unwrap())
            .collect();
        let mut order = Vec::new();
        for _ in 0..4 {
            turns.give_back();
            order.push(waiting.iter().position(|granted| granted.try_recv().is_ok()).unwrap());
        }
        assert_eq!(order, [0, 3, 1, 2], "the quiet tenant waits for one turn");
        assert_eq!(turns.free, 0);
        turns.give_back();
        assert_eq!(turns.free, 1);
    }

    /// Evaluates about two million steps.
    fn evaluate_expensively() {
        let text = "length(range(`0`, `100000`)[?@ > `5`]) > `7`";
        let plan = json!({"step": {"url": "https://api.example.com/", "while": text}});
        let plan = orchid_plan::compile(&plan, &orchid_plan::ServerLimits::default()).unwrap();
        let expr = plan.steps[0].while_expr.as_ref().unwrap();
        let env = EvalEnv::new(DateTime::UNIX_EPOCH, 1);
        for _ in 0..4 {
            assert!(expr.is_true(&Scope::new(), &env).unwrap());
        }
    }

    /// Without the lane, two of the four attempts hold both threads until they give up, and nothing
    /// else runs before.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn timers_fire_while_expensive_expressions_run() {
        const TICKS: u32 = 20;
        let lane = Arc::new(SlowLane::new(2));
        let (ticks, gave_up) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut attempts = tokio::task::JoinSet::new();
        for tenant in 0..4 {
            let member = lane.member(Uuid::from_u128(tenant));
            let (ticks, gave_up) = (Arc::clone(&ticks), Arc::clone(&gave_up));
            attempts.spawn(async move {
                member.run(|| {
                    for _ in 0..40 {
                        evaluate_expensively();
                        if ticks.load(Ordering::SeqCst) >= TICKS {
                            return;
                        }
                    }
                    gave_up.fetch_add(1, Ordering::SeqCst);
                });
            });
        }
        attempts.spawn({
            let ticks = Arc::clone(&ticks);
            async move {
                for _ in 0..TICKS {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    ticks.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        while attempts.join_next().await.is_some() {}
        assert_eq!(gave_up.load(Ordering::SeqCst), 0, "the timer fired while they computed");
        assert_eq!(lane.turns().free, 1, "all turns are back");
    }
}
