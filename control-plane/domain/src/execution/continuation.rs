//! Executions that continue another one, which ended at a limit that its plan permits
//! (`on_limit: continue`).
//!
//! A chain of such executions reads a loop that is too long for one: each begins at the checkpoint
//! of the one before it. The chain ends with the loop, or with an execution that does not succeed:
//! the next one then starts fresh, because the place where the other stopped may be what failed.

use super::state::State;
use crate::ids::ExecutionId;

/// An execution that ended at a limit and that the next one of its plan and config continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitedExecution {
    /// The execution.
    pub id: ExecutionId,
    /// Revision of the plan that its checkpoint belongs to.
    pub revision: i32,
}

/// The place where an execution begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// At the start of its plan.
    Fresh,
    /// At the checkpoint of this execution.
    Continues(ExecutionId),
    /// At the start of its plan, although this execution ended at a limit: its checkpoint belongs
    /// to another revision.
    Drops(ExecutionId),
}

impl Beginning {
    /// Returns the execution that is continued.
    pub fn continued(self) -> Option<ExecutionId> {
        match self {
            Self::Continues(id) => Some(id),
            Self::Fresh | Self::Drops(_) => None,
        }
    }

    /// Returns the execution that is not continued although it ended at a limit.
    pub fn dropped(self) -> Option<ExecutionId> {
        match self {
            Self::Drops(id) => Some(id),
            Self::Fresh | Self::Continues(_) => None,
        }
    }
}

/// The place where the next execution of a plan and config begins, once one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextBeginning {
    /// At the checkpoint of the one that ended.
    Continues,
    /// At the start of its plan.
    Fresh,
}

/// Returns whether an execution may continue another one and be continued: not if it saves nothing,
/// or overrides the context.
pub fn chains(persists: bool, overrides_context: bool) -> bool {
    persists && !overrides_context
}

/// Decides where an execution of this revision begins. `chains` is the result of [`chains`].
pub fn beginning(chains: bool, revision: i32, limited: Option<LimitedExecution>) -> Beginning {
    match limited {
        Some(limited) if chains && limited.revision == revision => Beginning::Continues(limited.id),
        Some(limited) if chains => Beginning::Drops(limited.id),
        Some(_) | None => Beginning::Fresh,
    }
}

/// Decides where the next execution begins after one that ended in this state; none leaves it as it
/// was. `started` is false for one that no executor ever had.
pub(super) fn next_beginning(
    chains: bool,
    started: bool,
    end: State,
    at_limit: bool,
) -> Option<NextBeginning> {
    if !chains || !started {
        return None;
    }
    match end {
        State::Succeeded if at_limit => Some(NextBeginning::Continues),
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Some(NextBeginning::Fresh)
        }
        State::Pending | State::Queued | State::Running | State::Parked | State::Blocked => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LIMITED: LimitedExecution = LimitedExecution { id: ExecutionId(Uuid::nil()), revision: 3 };

    #[test]
    fn only_the_same_revision_is_continued() {
        assert_eq!(beginning(true, 3, Some(LIMITED)), Beginning::Continues(LIMITED.id));
        assert_eq!(beginning(true, 4, Some(LIMITED)), Beginning::Drops(LIMITED.id));
        assert_eq!(beginning(true, 3, None), Beginning::Fresh);
        assert_eq!(beginning(false, 3, Some(LIMITED)), Beginning::Fresh);
    }

    #[test]
    fn chain_goes_on_only_behind_a_limit() {
        let ends = |end, at_limit| next_beginning(true, true, end, at_limit);
        assert_eq!(ends(State::Succeeded, true), Some(NextBeginning::Continues));
        assert_eq!(ends(State::Succeeded, false), Some(NextBeginning::Fresh));
        for end in [State::Failed, State::Aborted, State::Cancelled, State::DeadLettered] {
            assert_eq!(ends(end, true), Some(NextBeginning::Fresh), "{end}");
        }
        assert_eq!(next_beginning(true, false, State::Cancelled, false), None, "it never started");
        assert_eq!(next_beginning(false, true, State::Succeeded, true), None, "it is no part of a chain");
    }
}
