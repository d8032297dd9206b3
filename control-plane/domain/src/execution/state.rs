//! The names of an execution's life, as they are stored.

use crate::text::text_enum;

text_enum! {
    /// Where an execution is.
    State as "execution state" {
        /// Behind another run of its plan and config.
        Pending = "pending",
        /// Waits for an executor.
        Queued = "queued",
        /// Leased.
        Running = "running",
        /// Handed back until a time.
        Parked = "parked",
        /// Held back by a limit.
        Blocked = "blocked",
        /// Ended well.
        Succeeded = "succeeded",
        /// Ended by an error.
        Failed = "failed",
        /// Ended by its plan.
        Aborted = "aborted",
        /// Ended by a request.
        Cancelled = "cancelled",
        /// Lost too often.
        DeadLettered = "dead_lettered",
    }
}

impl State {
    /// No transition leads out of it.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Queued | Self::Running | Self::Parked | Self::Blocked => false,
            Self::Succeeded | Self::Failed | Self::Aborted | Self::Cancelled | Self::DeadLettered => true,
        }
    }

    /// A `ready` row stands for it: the next grant can take it.
    pub const fn is_ready(self) -> bool {
        match self {
            Self::Queued | Self::Parked | Self::Blocked => true,
            Self::Pending
            | Self::Running
            | Self::Succeeded
            | Self::Failed
            | Self::Aborted
            | Self::Cancelled
            | Self::DeadLettered => false,
        }
    }
}

text_enum! {
    /// What an execution is for.
    Kind as "execution kind" {
        /// An ordinary run.
        Run = "run",
        /// Bounded; emits and saves nothing.
        Preview = "preview",
        /// Tests a connection.
        Test = "test",
    }
}

text_enum! {
    /// What made an execution.
    Origin as "execution origin" {
        /// Its schedule.
        Schedule = "schedule",
        /// A trigger.
        Trigger = "trigger",
        /// A retry of another.
        Retry = "retry",
        /// A dead letter's replay.
        Replay = "replay",
    }
}

text_enum! {
    /// How an attempt ended.
    AttemptVerdict as "attempt verdict" {
        /// Its executor ended the run.
        Completed = "completed",
        /// Handed back until a time.
        Parked = "parked",
        /// Handed back by an executor that shuts down.
        Drained = "drained",
        /// Its session expired.
        LostHeartbeat = "lost_heartbeat",
        /// Its executor gave it up for lack of accepted beats.
        SelfFenced = "self_fenced",
        /// Granted, and never begun.
        NeverStarted = "never_started",
        /// Ended by a cancel.
        Cancelled = "cancelled",
        /// The loss that ended the run.
        Poison = "poison",
        /// Ended by the server at a limit of time.
        Expired = "expired",
    }
}

text_enum! {
    /// How an executor says that a run ended.
    Outcome as "outcome" {
        /// To its end.
        Succeeded = "succeeded",
        /// By an error.
        Failed = "failed",
        /// By its plan.
        Aborted = "aborted",
        /// By a cancel.
        Cancelled = "cancelled",
    }
}

impl Outcome {
    /// The state that it leads to.
    pub const fn state(self) -> State {
        match self {
            Self::Succeeded => State::Succeeded,
            Self::Failed => State::Failed,
            Self::Aborted => State::Aborted,
            Self::Cancelled => State::Cancelled,
        }
    }
}

text_enum! {
    /// Why a run is handed back at once.
    ReleaseReason as "release reason" {
        /// The executor drains.
        Drained = "drained",
        /// The executor paused itself for lack of accepted beats.
        SelfFenced = "self_fenced",
        /// Granted, and never begun.
        NeverStarted = "never_started",
    }
}

impl ReleaseReason {
    /// What the attempt's row says then.
    pub const fn verdict(self) -> AttemptVerdict {
        match self {
            Self::Drained => AttemptVerdict::Drained,
            Self::SelfFenced => AttemptVerdict::SelfFenced,
            Self::NeverStarted => AttemptVerdict::NeverStarted,
        }
    }
}

text_enum! {
    /// Which limit of time a run passed.
    Overdue as "overdue limit" {
        /// It was to be cancelled, and no executor did it in time.
        Cancel = "cancel",
        /// `max_execution_seconds` of its plan, and a minute.
        ExecutionTime = "execution_time",
        /// The server's longest life of a run.
        RunAge = "run_age",
    }
}

text_enum! {
    /// Why a transition happened, as its history says.
    TransitionCause as "cause" {
        /// Its schedule was due.
        Scheduled = "scheduled",
        /// It was asked for.
        Triggered = "triggered",
        /// It waits behind another run.
        BehindActive = "behind_another_run",
        /// The run before it ended.
        Promoted = "turn_came",
        /// Leased.
        Granted = "granted",
        /// Progress was saved.
        Checkpoint = "checkpoint",
        /// Its executor ended it.
        Completed = "completed",
        /// Handed back until a time.
        Parked = "parked",
        /// Handed back by a draining executor.
        Drained = "drained",
        /// Handed back by an executor without accepted beats.
        SelfFenced = "self_fenced",
        /// Granted, and never begun.
        NeverStarted = "never_started",
        /// Its executor's session expired.
        LostHeartbeat = "lost_heartbeat",
        /// Lost too often.
        Poison = "poison",
        /// A cancel was asked for.
        CancelRequested = "cancel_requested",
        /// Ended by a cancel.
        Cancelled = "cancelled",
        /// No executor cancelled it in time.
        CancelOverdue = "cancel_overdue",
        /// It ran longer than its plan allows.
        TimeLimit = "time_limit",
        /// It lived longer than the server allows.
        RunAge = "run_age",
    }
}
