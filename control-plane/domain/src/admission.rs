//! Which of the runs that could be granted a session gets in one call.

use crate::execution::LOSSES_TO_DEAD_LETTER;

/// A run with so many losses may be what kills executors: one that holds such a run gets no second one.
pub const SUSPICIOUS_LOSSES: u32 = LOSSES_TO_DEAD_LETTER - 1;

/// What one acquire call may still be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionBudget {
    /// Free slots that are left.
    pub slots: usize,
    /// The session holds a run that may be what kills executors.
    pub holds_suspicious: bool,
}

impl AdmissionBudget {
    /// Asks for one run with so many losses; a yes takes a slot.
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
    fn no_session_gets_two_runs_that_were_lost_twice() {
        let mut admission = AdmissionBudget { slots: 9, holds_suspicious: false };
        let admitted: Vec<bool> = [2, 0, 2, 1, 2].into_iter().map(|losses| admission.admit(losses)).collect();
        assert_eq!(admitted, [true, true, false, true, false]);
        let mut admission = AdmissionBudget { slots: 9, holds_suspicious: true };
        assert!(!admission.admit(2));
    }

    #[test]
    fn never_more_than_there_are_slots() {
        let mut admission = AdmissionBudget { slots: 1, holds_suspicious: false };
        assert!(admission.admit(0));
        assert!(!admission.admit(0));
    }
}
