//! What a valid plan most likely does not mean. In comes a compiled definition, out go warnings with their places; nothing is
//! refused because of one.

mod context;
mod emission;
mod fan_out;
mod loops;
mod outcome;

use std::sync::Arc;

use serde::Serialize;

use crate::{Definition, Expr, Step};

/// Warnings of one definition at most; more help nobody.
const MOST: usize = 100;

/// What kind of warning it is. The text form is part of the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WarningCode {
    /// `accept_on` names what is a success anyway.
    AcceptedAlready,
    /// `break_when` of a step without a loop.
    BreakWithoutLoop,
    /// The context is written under a name that nothing reads.
    ContextNeverRead,
    /// The context is read under a name that nothing writes.
    ContextNeverWritten,
    /// The step's cursor is read by nobody.
    CursorNotUsed,
    /// One cursor for all items of a fan-out.
    CursorSharedByItems,
    /// A loop that only a limit ends.
    EndlessLoop,
    /// `extract` of a step that emits no message.
    ExtractUnused,
    /// A step whose answers nobody gets.
    FetchedForNothing,
    /// A filter takes rows away that pagination counts by.
    FilterCounts,
    /// `ignore_on` names a success.
    IgnoresSuccess,
    /// An entry of an `…_on` list that an earlier one takes.
    NeverReached,
    /// Rules about retries of a step that never retries.
    NeverRetried,
    /// `concurrency` or `stop_on_error` without anything that runs side by side.
    NoFanOut,
    /// No step emits a message.
    NothingEmitted,
    /// The cursor of a pagination is sent nowhere.
    PageCursorNotSent,
    /// The same request for each item of a fan-out.
    SameForEveryItem,
    /// `stop_on` says where the loop ends anyway.
    StopOnRedundant,
    /// A try may take longer than the whole run.
    TimeoutOutlastsRun,
    /// The slices of a window are sent nowhere.
    WindowNotSent,
}

impl WarningCode {
    /// All codes, in the order of their names.
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

    /// The code as it is written in answers.
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

/// Something that is allowed, and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What kind of warning it is.
    pub code: WarningCode,
    /// RFC 6901 pointer from the plan document: `/definition/step/while`. The field that it names need not be there.
    pub pointer: String,
    /// What was seen and what to do, in one sentence without a full stop.
    pub message: String,
}

impl Definition {
    /// What the definition most likely does not mean; in the order of its steps.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let nothing_emitted = emission::of_all(self, &mut warnings);
        let mut places = Vec::new();
        self.steps.iter().for_each(|step| gather(step, &Around::default(), &mut places));
        for place in &places {
            place.warn(self, nothing_emitted, &mut warnings);
        }
        context::warn(self, &places, &mut warnings);
        warnings.truncate(MOST);
        warnings
    }
}

/// A step, and what is around it that matters here.
struct Place<'d> {
    step: &'d Step,
    around: Around,
}

#[derive(Clone, Copy, Default)]
struct Around {
    /// Whether there are rows or elements around it.
    items: bool,
    /// Whether a step around it emits: its rows are in those messages.
    emits: bool,
    /// Whether it is a step of an async job.
    job: bool,
}

fn gather<'d>(step: &'d Arc<Step>, around: &Around, places: &mut Vec<Place<'d>>) {
    places.push(Place { step, around: *around });
    let emits = around.emits || step.emit != crate::EmitMode::None;
    let items = around.items || step.for_each.is_some();
    let below = Around { items: items || step.rows.is_some(), emits, job: false };
    step.sub_steps.iter().for_each(|below_it| gather(below_it, &below, places));
    let inside = Around { items, emits, job: true };
    step.job_steps().for_each(|inner| gather(inner, &inside, places));
}

impl Place<'_> {
    fn warn(&self, definition: &Definition, nothing_emitted: bool, warnings: &mut Vec<Warning>) {
        loops::warn(self, warnings);
        fan_out::warn(self, warnings);
        outcome::warn(self, definition, warnings);
        emission::warn(self, definition, nothing_emitted, warnings);
    }

    /// A warning at a field of the step.
    fn at(&self, field: &str, code: WarningCode, message: impl Into<String>) -> Warning {
        Warning { code, pointer: format!("{}/{field}", self.step.pointer), message: message.into() }
    }
}

/// Whether what an expression gives can change from pass to pass of its step's loop.
fn changes(expr: &Expr, step: &Step) -> bool {
    let reads = expr.reads();
    // Time and chance are no names of the scope.
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
