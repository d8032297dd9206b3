//! The warnings of a definition, as callers receive them.

use serde::Serialize;

/// The kind of a warning. Its text form is part of the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WarningCode {
    /// `accept_on` lists a status that is a success anyway.
    AcceptedAlready,
    /// A `break_when` without a loop.
    BreakWithoutLoop,
    /// A context field that is written and never read.
    ContextNeverRead,
    /// A context field that is read and never written.
    ContextNeverWritten,
    /// A cursor that nothing reads.
    CursorNotUsed,
    /// One cursor for all items of a fan-out.
    CursorSharedByItems,
    /// A loop that only a limit ends.
    EndlessLoop,
    /// An `extract` in a step that emits no messages.
    ExtractUnused,
    /// A step whose responses are neither emitted nor read.
    FetchedForNothing,
    /// A filter on rows that pagination counts.
    FilterCounts,
    /// `ignore_on` lists a successful status.
    IgnoresSuccess,
    /// An entry of an `…_on` list that an earlier list always matches first.
    NeverReached,
    /// Retry rules of a step that never retries.
    NeverRetried,
    /// `concurrency` or `stop_on_error` in a step without a fan-out.
    NoFanOut,
    /// No step emits a message.
    NothingEmitted,
    /// A pagination whose cursor is not sent.
    PageCursorNotSent,
    /// A pagination whose number or offset is not sent.
    PageNotSent,
    /// The same request for each item of a fan-out.
    SameForEveryItem,
    /// A `stop_on` that repeats where the loop ends anyway.
    StopOnRedundant,
    /// A request that may take longer than the whole execution.
    TimeoutOutlastsRun,
    /// A window whose slices are not sent.
    WindowNotSent,
}

impl WarningCode {
    /// All codes, sorted by name.
    pub const ALL: [Self; 21] = [
        Self::AcceptedAlready,
        Self::BreakWithoutLoop,
        Self::ContextNeverRead,
        Self::ContextNeverWritten,
        Self::CursorNotUsed,
        Self::CursorSharedByItems,
        Self::EndlessLoop,
        Self::ExtractUnused,
        Self::FetchedForNothing,
        Self::FilterCounts,
        Self::IgnoresSuccess,
        Self::NeverReached,
        Self::NeverRetried,
        Self::NoFanOut,
        Self::NothingEmitted,
        Self::PageCursorNotSent,
        Self::PageNotSent,
        Self::SameForEveryItem,
        Self::StopOnRedundant,
        Self::TimeoutOutlastsRun,
        Self::WindowNotSent,
    ];

    /// Returns the text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcceptedAlready => "ACCEPTED_ALREADY",
            Self::BreakWithoutLoop => "BREAK_WITHOUT_LOOP",
            Self::ContextNeverRead => "CONTEXT_NEVER_READ",
            Self::ContextNeverWritten => "CONTEXT_NEVER_WRITTEN",
            Self::CursorNotUsed => "CURSOR_NOT_USED",
            Self::CursorSharedByItems => "CURSOR_SHARED_BY_ITEMS",
            Self::EndlessLoop => "ENDLESS_LOOP",
            Self::ExtractUnused => "EXTRACT_UNUSED",
            Self::FetchedForNothing => "FETCHED_FOR_NOTHING",
            Self::FilterCounts => "FILTER_COUNTS",
            Self::IgnoresSuccess => "IGNORES_SUCCESS",
            Self::NeverReached => "NEVER_REACHED",
            Self::NeverRetried => "NEVER_RETRIED",
            Self::NoFanOut => "NO_FAN_OUT",
            Self::NothingEmitted => "NOTHING_EMITTED",
            Self::PageCursorNotSent => "PAGE_CURSOR_NOT_SENT",
            Self::PageNotSent => "PAGE_NOT_SENT",
            Self::SameForEveryItem => "SAME_FOR_EVERY_ITEM",
            Self::StopOnRedundant => "STOP_ON_REDUNDANT",
            Self::TimeoutOutlastsRun => "TIMEOUT_OUTLASTS_RUN",
            Self::WindowNotSent => "WINDOW_NOT_SENT",
        }
    }
}

/// Something that is allowed but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Kind of the warning.
    pub code: WarningCode,
    /// JSON pointer (RFC 6901) into the plan document, such as `/definition/step/while`. The field
    /// may be absent.
    pub pointer: String,
    /// Explanation and remedy in one sentence, without a full stop.
    pub message: String,
}
