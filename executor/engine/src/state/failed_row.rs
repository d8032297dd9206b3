//! Failed rows and items that the plan tolerates: their error is reported, and no cursor moves past
//! what they lost.

use std::sync::Arc;

use crate::attempt::{CursorKey, CursorKind};
use crate::program::node::StepNode;
use crate::progress::Warning;
use crate::state::enclosing_step::EnclosingStep;
use crate::state::engine_cx::EngineCx;
use crate::state::execution::ExecutionState;
use crate::state::exit::StepError;

/// Reports the error of the row or item at the step path `row`, and holds the cursors and
/// validators of the steps around it: without them, a later execution reads the row again.
pub(crate) fn tolerate(
    cx: &mut EngineCx<'_>,
    error: StepError,
    row: &str,
    innermost: Option<&Arc<EnclosingStep>>,
) {
    cx.run.left_out();
    cx.emit_error(error, false);
    let mut around = innermost;
    while let Some(step) = around {
        for key in [&step.cursor, &step.validator].into_iter().flatten() {
            hold(cx.run, key, row);
        }
        warn_of_context(cx.run, &step.node, row);
        around = step.outer.as_ref();
    }
}

/// Holds a cursor or validator because of the failed row at this step path, and warns of it.
pub(crate) fn hold(run: &mut ExecutionState, key: &CursorKey, row: &str) {
    run.held.hold(key, row);
    warn(run, key.kind, &key.step, row);
}

/// Holds the cursors that a step which has not ended, and the steps below it, share with other rows
/// or items. One that read further in another row would pass what this row has not read.
pub(crate) fn hold_shared(run: &mut ExecutionState, node: &StepNode, row: &str) {
    if node.shares_cursor {
        let key = CursorKey { kind: CursorKind::Cursor, step: node.step.id.to_string(), item: String::new() };
        hold(run, &key, row);
    }
    node.below().for_each(|below| hold_shared(run, below, row));
}

/// Warns again of what an earlier execution held, which another one continues.
pub(crate) fn warn_of_held(run: &mut ExecutionState) {
    let held: Vec<_> =
        run.held.steps().map(|(kind, step, row)| (kind, step.to_owned(), row.to_owned())).collect();
    held.into_iter().for_each(|(kind, step, row)| warn(run, kind, &step, &row));
}

fn warn(run: &mut ExecutionState, kind: CursorKind, step: &str, row: &str) {
    let pointer = run.program.pointer_of(kind, step);
    let message = match kind {
        CursorKind::Cursor => format!(
            "{row} failed, so the cursor of step {step} does not move past it: the next execution \
             reads from the older value again"
        ),
        CursorKind::Validator => format!(
            "{row} failed, so step {step} keeps no validator of that page: the next execution reads \
             the page again"
        ),
    };
    run.warn(Warning { code: "CURSOR_HELD".to_owned(), pointer, message });
}

/// Warns of context fields that were taken from the page of a failed row. They are kept, because
/// the plan alone knows what they mean: a total, a token, or a position in the data.
fn warn_of_context(run: &mut ExecutionState, node: &StepNode, row: &str) {
    let of_page = |reads: &orchid_plan::ReadPaths| reads.overlaps(&["response"]);
    if !node.step.set_context.iter().any(|(_, expr)| of_page(expr.reads())) {
        return;
    }
    run.warn(Warning {
        code: "CONTEXT_NOT_HELD".to_owned(),
        pointer: format!("{}/set_context", node.step.pointer),
        message: format!(
            "{row} failed, but what set_context of step {} took from its page is kept: use cursor \
             for the value that the next execution reads from",
            node.step.id
        ),
    });
}
