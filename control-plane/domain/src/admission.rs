//! Admission: the limits on what one acquire call of a session may be granted.

use crate::execution::LOSSES_TO_DEAD_LETTER;

/// Number of losses from which an execution may be what crashes executors. A session that holds
/// such an execution gets no second one, so that a crash can be traced to one of them.
pub const SUSPICIOUS_LOSSES: u32 = LOSSES_TO_DEAD_LETTER - 1;

/// The rest of what one acquire call may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionBudget {
    /// Free slots.
    pub slots: usize,
    /// True if the session holds a suspicious execution.
    pub holds_suspicious: bool,
}

impl AdmissionBudget {
    /// Takes a slot for an execution with this many losses. Returns false when there is none for
    /// it.
    pub fn admit(&mut self, losses: u32) -> bool {
        let suspicious = losses >= SUSPICIOUS_LOSSES;
        if self.slots == 0 || (suspicious && self.holds_suspicious) {
            return false;
        }
        self.slots -= 1;
        self.holds_suspicious |= suspicious;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::AdmissionBudget;

    #[test]
    fn session_gets_at_most_one_suspicious_execution() {
        let mut admission = AdmissionBudget { slots: 9, holds_suspicious: false };
        let admitted: Vec<bool> = [2, 0, 2, 1, 2].into_iter().map(|losses| admission.admit(losses)).collect();
        assert_eq!(admitted, [true, true, false, true, false]);
        let mut admission = AdmissionBudget { slots: 9, holds_suspicious: true };
        assert!(!admission.admit(2));
    }

    #[test]
    fn admission_stops_without_free_slots() {
        let mut admission = AdmissionBudget { slots: 1, holds_suspicious: false };
        assert!(admission.admit(0));
        assert!(!admission.admit(0));
    }
}
