//! Results of a page beyond its rows: writes, validators, and observations for warnings.

use crate::output::CursorChange;
use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::rules::conditional;
use crate::state::context::{Context, ContextChanges};
use crate::state::engine_cx::EngineCx;
use crate::state::step_env::StepEnv;

/// The writes of a page, before they are saved.
pub(crate) struct PageWrites {
    /// The context after all writes, and those writes.
    pub(crate) context: Option<(Context, ContextChanges)>,
    pub(crate) cursors: Vec<CursorChange>,
}

/// Saves the validators of a conditional step's response.
pub(crate) fn save_validator(
    cx: &mut EngineCx<'_>,
    env: &mut StepEnv,
    node: &StepNode,
    exchange: &PageExchange,
) {
    let sent = exchange.sent.revalidation.as_ref();
    let (Some(sent), Some(headers)) = (sent, &exchange.response.facts.headers) else { return };
    if let Some(change) = conditional::validator(cx.run, &node.step, &sent.url_name, headers) {
        cx.save_cursor(env, change);
    }
}

/// Observes the number of rows, for the warnings at the end of the execution.
pub(crate) fn observe_rows(
    cx: &mut EngineCx<'_>,
    node: &StepNode,
    exchange: &PageExchange,
    rows: Option<u64>,
) {
    let (Some(rules), Some(rows)) = (&node.step.rows, rows) else { return };
    // The rows before the filter matter only if none of them passed it.
    let unfiltered = rules.unfiltered.as_ref().filter(|_| rows == 0).and_then(|expr| {
        let value = expr.eval(&exchange.sent.scope, &exchange.sent.env).ok()?;
        value.items().map(|items| items.len() as u64)
    });
    cx.run.watch(node).page(rows, unfiltered);
}
