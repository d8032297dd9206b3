//! The step that a rule looks at, with the facts about the steps around it.

use super::warning::{Warning, WarningCode};
use crate::{Expr, Step};

/// A step with the facts about the steps around it that matter for warnings.
pub(super) struct StepSite<'d> {
    pub(super) step: &'d Step,
    pub(super) around: StepContext,
}

#[derive(Clone, Copy, Default)]
pub(super) struct StepContext {
    /// Whether the step runs once for each row or item of a step around it.
    pub(super) items: bool,
    /// Whether a step around it emits messages, which hold the rows of this one.
    pub(super) emits: bool,
    /// Whether it belongs to an async job.
    pub(super) job: bool,
}

impl StepSite<'_> {
    /// Creates a warning at a field of the step.
    pub(super) fn at(&self, field: &str, code: WarningCode, message: impl Into<String>) -> Warning {
        Warning { code, pointer: format!("{}/{field}", self.step.pointer), message: message.into() }
    }
}

/// Returns whether the value of an expression can change from page to page of its step's loop.
pub(super) fn changes(expr: &Expr, step: &Step) -> bool {
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
