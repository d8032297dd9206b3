//! Messages that the broker refused because of their size: a later attempt makes them smaller.

use crate::message::Message;
use crate::progress::Progress;
use crate::run::checkpoints::CheckpointRecorder;
use crate::run::finish;
use crate::state::ack_tracker::EncodedState;
use crate::state::execution::ExecutionState;

/// End of an attempt, as far as a refused message can still change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineExit {
    /// It has not ended.
    None,
    /// It was parked or released: a later attempt continues.
    HandedBack,
    /// The execution succeeded, unless one of its messages is refused.
    Succeeded,
    /// The execution ended otherwise, and stays so.
    Unsuccessful,
}

/// Learns from a refused message, and records the state before it, from which a later attempt makes
/// smaller ones. Returns false if the message cannot be made smaller.
pub(crate) fn record_smaller(
    run: &mut ExecutionState,
    checkpoints: &mut CheckpointRecorder,
    message: &Message,
    before: (EncodedState, Progress),
) -> bool {
    if !run.message_limits.learn(message) {
        return false;
    }
    finish::warn_of_broker_limit(run, message.size());
    let (state, progress) = before;
    checkpoints.repeat_smaller(run, state, progress).is_ok()
}
