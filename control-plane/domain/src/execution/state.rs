//! The names in an execution's life, as they are stored.

use crate::text::text_enum;

text_enum! {
    /// The state of an execution.
    State as "execution state" {
        /// Waits behind the active execution of its plan and config.
        Pending = "pending",
        /// Waits for an executor.
        Queued = "queued",
        /// Has a lease.
        Running = "running",
        /// Was handed back until a time.
        Parked = "parked",
        /// Is held back by a limit.
        Blocked = "blocked",
        /// Ended without an error.
        Succeeded = "succeeded",
        /// Ended by an error or a limit.
        Failed = "failed",
        /// Ended by its plan.
        Aborted = "aborted",
        /// Ended by a cancel.
        Cancelled = "cancelled",
        /// Was lost too often.
        DeadLettered = "dead_lettered",
    }
}

impl State {
    /// Returns whether the execution has ended. No transition leads out of such a state.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Queued | Self::Running | Self::Parked | Self::Blocked => false,
            Self::Succeeded | Self::Failed | Self::Aborted | Self::Cancelled | Self::DeadLettered => true,
        }
    }

    /// Returns whether the execution has a ready row, so that the next grant can take it.
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
    /// The purpose of an execution.
    Kind as "execution kind" {
        /// An ordinary execution.
        Run = "run",
        /// A bounded execution that emits and saves nothing.
        Preview = "preview",
        /// A test of a connection.
        Test = "test",
    }
}

text_enum! {
    /// The source of an execution.
    Origin as "execution origin" {
        /// Its schedule.
        Schedule = "schedule",
        /// A trigger.
        Trigger = "trigger",
        /// A retry of another execution.
        Retry = "retry",
        /// The replay of a dead letter.
        Replay = "replay",
    }
}

text_enum! {
    /// The way in which an attempt ended.
    AttemptVerdict as "attempt verdict" {
        /// Its executor ended the execution.
        Completed = "completed",
        /// Its executor handed the execution back until a time.
        Parked = "parked",
        /// Its executor shut down and handed the execution back.
        Drained = "drained",
        /// Its session expired.
        LostHeartbeat = "lost_heartbeat",
        /// Its executor gave it up because its heartbeats were not accepted.
        SelfFenced = "self_fenced",
        /// It was granted and never started.
        NeverStarted = "never_started",
        /// A cancel ended the execution.
        Cancelled = "cancelled",
        /// Its loss dead-lettered the execution.
        Poison = "poison",
        /// The server ended it at a time limit.
        Expired = "expired",
    }
}

text_enum! {
    /// The end of an execution as its executor reports it.
    Outcome as "outcome" {
        /// It ended without an error.
        Succeeded = "succeeded",
        /// An error ended it.
        Failed = "failed",
        /// Its plan ended it.
        Aborted = "aborted",
        /// A cancel ended it.
        Cancelled = "cancelled",
    }
}

impl Outcome {
    /// Returns the state that the outcome leads to.
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
    /// The reason why an execution is handed back at once.
    ReleaseReason as "release reason" {
        /// The executor drains.
        Drained = "drained",
        /// The executor paused itself because its heartbeats were not accepted.
        SelfFenced = "self_fenced",
        /// The execution was granted and never started.
        NeverStarted = "never_started",
        /// The executor cannot compile or resume the execution.
        Unsupported = "unsupported",
    }
}

impl ReleaseReason {
    /// Returns the verdict on the attempt.
    pub const fn verdict(self) -> AttemptVerdict {
        match self {
            Self::Drained => AttemptVerdict::Drained,
            Self::SelfFenced => AttemptVerdict::SelfFenced,
            Self::NeverStarted | Self::Unsupported => AttemptVerdict::NeverStarted,
        }
    }
}

text_enum! {
    /// A time limit that an execution passed.
    Overdue as "overdue limit" {
        /// The time in which an executor has to carry out a cancel.
        Cancel = "cancel",
        /// `max_execution_seconds` of its plan, plus a minute.
        ExecutionTime = "execution_time",
        /// The maximum age of an execution, a setting of the server.
        RunAge = "run_age",
    }
}

text_enum! {
    /// The reason for a transition, as the history records it.
    TransitionCause as "cause" {
        /// Its schedule was due.
        Scheduled = "scheduled",
        /// It was triggered, retried or replayed.
        Triggered = "triggered",
        /// Another execution of its plan and config is active.
        BehindActive = "behind_another_execution",
        /// The active execution ended, and this one was the oldest pending.
        Promoted = "promoted",
        /// An executor got a lease.
        Granted = "granted",
        /// A checkpoint was accepted.
        Checkpoint = "checkpoint",
        /// Its executor ended it.
        Completed = "completed",
        /// Its executor handed it back until a time.
        Parked = "parked",
        /// A draining executor handed it back.
        Drained = "drained",
        /// An executor without accepted heartbeats handed it back.
        SelfFenced = "self_fenced",
        /// It was granted and never started.
        NeverStarted = "never_started",
        /// Its executor could not compile or resume it.
        Unsupported = "unsupported",
        /// The session of its executor expired.
        LostHeartbeat = "lost_heartbeat",
        /// It was lost too often.
        Poison = "poison",
        /// A cancel was requested.
        CancelRequested = "cancel_requested",
        /// A cancel ended it.
        Cancelled = "cancelled",
        /// No executor carried out its cancel in time.
        CancelOverdue = "cancel_overdue",
        /// It ran longer than its plan allows.
        TimeLimit = "time_limit",
        /// It became older than the server allows.
        RunAge = "run_age",
        /// Rows that its grant needs are gone or cannot be read.
        CannotStart = "cannot_start",
    }
}
