//! Warnings: parts of a valid definition that most likely do not do what their author means.
//!
//! A warning never refuses a plan.

mod context;
mod emission;
mod fan_out;
mod loops;
mod outcome;

use std::sync::Arc;

use serde::Serialize;

use crate::{Definition, Expr, Step};

/// Maximum number of warnings of one definition.
const MAX_WARNINGS: usize = 100;

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
    pub const ALL: [Self; 20] = [
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
    /// JSON pointer (RFC 6901) into the plan document, such as `/definition/step/while`. The field may
    /// be absent.
    pub pointer: String,
    /// Explanation and remedy in one sentence, without a full stop.
    pub message: String,
}

impl Definition {
    /// Returns the warnings of the definition, in the order of its steps.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let nothing_emitted = emission::of_all(self, &mut warnings);
        let mut places = Vec::new();
        self.steps.iter().for_each(|step| gather(step, &StepContext::default(), &mut places));
        for place in &places {
            place.warn(self, nothing_emitted, &mut warnings);
        }
        context::warn(self, &places, &mut warnings);
        warnings.truncate(MAX_WARNINGS);
        warnings
    }
}

/// A step with the facts about the steps around it that matter for warnings.
struct StepSite<'d> {
    step: &'d Step,
    around: StepContext,
}

#[derive(Clone, Copy, Default)]
struct StepContext {
    /// Whether the step runs once for each row or item of a step around it.
    items: bool,
    /// Whether a step around it emits messages, which hold the rows of this one.
    emits: bool,
    /// Whether it belongs to an async job.
    job: bool,
}

fn gather<'d>(step: &'d Arc<Step>, around: &StepContext, places: &mut Vec<StepSite<'d>>) {
    places.push(StepSite { step, around: *around });
    let emits = around.emits || step.emit != crate::EmitMode::None;
    let items = around.items || step.for_each.is_some();
    let below = StepContext { items: items || step.rows.is_some(), emits, job: false };
    step.sub_steps.iter().for_each(|below_it| gather(below_it, &below, places));
    let inside = StepContext { items, emits, job: true };
    step.job_steps().for_each(|inner| gather(inner, &inside, places));
}

impl StepSite<'_> {
    fn warn(&self, definition: &Definition, nothing_emitted: bool, warnings: &mut Vec<Warning>) {
        loops::warn(self, warnings);
        fan_out::warn(self, warnings);
        outcome::warn(self, definition, warnings);
        emission::warn(self, definition, nothing_emitted, warnings);
    }

    /// Creates a warning at a field of the step.
    fn at(&self, field: &str, code: WarningCode, message: impl Into<String>) -> Warning {
        Warning { code, pointer: format!("{}/{field}", self.step.pointer), message: message.into() }
    }
}

/// Returns whether the value of an expression can change from page to page of its step's loop.
fn changes(expr: &Expr, step: &Step) -> bool {
    let reads = expr.reads();
    // The clock and randomness are functions, not names in scope.
    let drawn = ["now(", "uuid("].iter().any(|call| expr.text().contains(call));
    let passing = [&["response"][..], &["prev"], &["page"], &["meta", "loop_count"], &["meta", "step_path"]];
    drawn
        || passing.iter().any(|path| reads.overlaps(path))
        || (reads.overlaps(&["context"]) && writes_context(step))
}

fn writes_context(step: &Step) -> bool {
    !step.set_context.is_empty() || step.below().any(|below| writes_context(below))
}

#[cfg(test)]
mod tests;
