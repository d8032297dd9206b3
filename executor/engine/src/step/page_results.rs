//! Results of a page beyond its rows: writes, validators, and observations for warnings.

use orchid_plan::ScopeName;

use crate::output::CursorChange;
use crate::page::exchange::PageExchange;
use crate::page::progress::FinishedPage;
use crate::program::node::StepNode;
use crate::rules::conditional;
use crate::rules::pagination::NextPage;
use crate::state::context::{Context, ContextChanges};
use crate::state::engine_cx::EngineCx;
use crate::state::exit::StepExit;
use crate::state::step_env::StepEnv;
use crate::step::continuation;
use crate::step::gaps;
use crate::step::page_loop::PageLoop;

/// The writes of a page, before they are saved.
pub(crate) struct PageWrites {
    /// The context after all writes, and those writes.
    pub(crate) context: Option<(Context, ContextChanges)>,
    pub(crate) cursors: Vec<CursorChange>,
}

/// The end of a page: everything is evaluated, and nothing is saved yet.
pub(crate) struct PageEnd {
    pub(crate) exchange: PageExchange,
    pub(crate) writes: PageWrites,
    pub(crate) next: NextPage,
}

/// Concludes a page whose rows are finished: merges what they wrote, advances the cursor, and
/// decides what follows.
///
/// # Errors
/// Fails if an expression fails, the context would become too large, or the next page is not
/// permitted.
pub(crate) fn conclude(
    cx: &mut EngineCx<'_>,
    env: &mut StepEnv,
    page_loop: &mut PageLoop,
    page: FinishedPage,
) -> Result<PageEnd, StepExit> {
    let FinishedPage { mut exchange, writes, row_writes, row_cursors, rows, stream_path, .. } = page;
    let node = page_loop.position().node.clone();
    gaps::stream_ended(cx, env, page_loop.position(), &exchange, stream_path);
    cx.run.progress.counts.pages += 1;
    // The validators describe the whole response, so they are taken only once all rows are read;
    // and they are saved only if the execution succeeds.
    save_validator(cx, env, &node, &exchange);
    let context = page_loop.evaluator(cx, env, &exchange).merge_row_writes(writes, row_writes)?;
    observe_rows(cx, &node, &exchange, rows);
    if let Some((context, _)) = &context {
        // `while`, `break_when` and the cursor see what the rows wrote.
        exchange.sent.scope.set(ScopeName::Context, context.object().clone());
    }
    page_loop.advance_watermark(cx, env, &exchange)?;
    let mut continuation = page_loop.next_page(cx, env, &exchange, rows)?;
    if page_loop.has_repeated_answer(&exchange) {
        // A streamed answer is known to be a repeat only at its end.
        continuation::stop_at_repeated_answer(&page_loop.evaluator(cx, env, &exchange))?;
        continuation.next = NextPage::End { by_stop_on: true };
    }
    page_loop.page_read(cx, &exchange, rows, &continuation);
    gaps::loop_ends(cx, env, page_loop.position(), &exchange, &continuation.next);
    let writes = PageWrites { context, cursors: row_cursors };
    Ok(PageEnd { exchange, writes, next: continuation.next })
}

/// Concludes a page whose response is ignored: it has no rows and no message, but it may write to
/// the context.
///
/// # Errors
/// Fails as [`conclude`] does.
pub(crate) fn conclude_ignored(
    cx: &mut EngineCx<'_>,
    env: &StepEnv,
    page_loop: &PageLoop,
    mut exchange: PageExchange,
) -> Result<PageEnd, StepExit> {
    let context = page_loop.evaluator(cx, env, &exchange).context_writes()?;
    if let Some((context, _)) = &context {
        exchange.sent.scope.set(ScopeName::Context, context.object().clone());
    }
    let next = page_loop.next_page(cx, env, &exchange, None)?.next;
    Ok(PageEnd { exchange, writes: PageWrites { context, cursors: Vec::new() }, next })
}

/// Saves the validators of a conditional step's response.
fn save_validator(cx: &mut EngineCx<'_>, env: &mut StepEnv, node: &StepNode, exchange: &PageExchange) {
    let sent = exchange.sent.revalidation.as_ref();
    let (Some(sent), Some(headers)) = (sent, &exchange.response.facts.headers) else { return };
    if let Some(change) = conditional::validator(cx.run, &node.step, &sent.url_name, headers) {
        cx.save_cursor(env, change);
    }
}

/// Observes the number of rows, for the warnings at the end of the execution.
fn observe_rows(cx: &mut EngineCx<'_>, node: &StepNode, exchange: &PageExchange, rows: Option<u64>) {
    let (Some(rules), Some(rows)) = (&node.step.rows, rows) else { return };
    // The rows before the filter matter only if none of them passed it.
    let unfiltered = rules.unfiltered.as_ref().filter(|_| rows == 0).and_then(|expr| {
        let value = expr.eval(&exchange.sent.scope, &exchange.sent.env).ok()?;
        value.items().map(|items| items.len() as u64)
    });
    cx.run.watch(node).page(rows, unfiltered);
}
