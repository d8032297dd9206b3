//! The phases of an attempt.

use crate::run::cancellation::UpstreamCancellation;
use crate::tree::sequence::StepSequence;

/// Phase of an attempt.
pub(super) enum MachinePhase {
    /// Before `Begin`; without steps if all are done.
    Fresh(Option<Box<StepSequence>>),
    /// The steps are in progress.
    Running(Box<StepSequence>),
    /// The execution has ended, except for its cancel requests.
    Cancelling(Box<UpstreamCancellation>),
    /// Ended, parked or released: only acknowledgements are accepted.
    Over,
}

impl MachinePhase {
    /// Takes the steps, if they are in progress; the caller sets the phase afterwards.
    pub(super) fn take_running(&mut self) -> Option<Box<StepSequence>> {
        match std::mem::replace(self, Self::Over) {
            Self::Running(root) => Some(root),
            phase @ (Self::Fresh(_) | Self::Cancelling(_) | Self::Over) => {
                *self = phase;
                None
            }
        }
    }
}
