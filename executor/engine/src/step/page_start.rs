//! Evaluates everything that a page starts with, on a successful response.

use orchid_plan::ScopeName;

use crate::page::exchange::PageExchange;
use crate::page::progress::PageStart;
use crate::state::engine_cx::EngineCx;
use crate::state::exit::StepExit;
use crate::state::step_env::StepEnv;
use crate::step::evaluator::ResponseEvaluator;
use crate::step::gaps;
use crate::step::position::LoopPosition;
use crate::step::variables;

/// Evaluates `set_context`, `extract` and the rows, in this order: `extract` sees the page's own
/// context writes.
///
/// # Errors
/// Fails if an expression fails, the context would become too large, or the rows are not a list.
pub(crate) fn evaluate(
    cx: &mut EngineCx<'_>,
    env: &StepEnv,
    position: &LoopPosition,
    mut exchange: PageExchange,
) -> Result<PageStart, StepExit> {
    if exchange.response.is_cut() {
        gaps::accepted_failure(cx, env, position, &exchange);
    } else if exchange.response.stream.is_none() && exchange.response.tried.status != Some(204) {
        cx.run.watch(&position.node).look(&exchange.response.body);
    }
    let evaluator = ResponseEvaluator { run: cx.run, env, position, exchange: &exchange };
    let writes = evaluator.context_writes()?;
    if let Some((context, _)) = &writes {
        exchange.sent.scope.set(ScopeName::Context, context.object().clone());
    }
    // A page that starts again has no stream left; `streamed` still tells where its rows came from.
    let stream = exchange.response.stream.take();
    exchange.response.streamed |= stream.is_some();
    let evaluator = ResponseEvaluator { run: cx.run, env, position, exchange: &exchange };
    let extracted = evaluator.extracted_data()?;
    let rows = match stream {
        Some((rows, try_id)) => Some((rows, Some(try_id))),
        None => evaluator.rows()?.map(|rows| (rows, None)),
    };
    if let Some((reader, None)) = &rows
        && !reader.listed()
    {
        gaps::missing_rows(cx, env, position, &exchange);
    }
    let context = writes.as_ref().map(|(context, _)| context);
    let row_env = variables::sub_step_env(env, position, &exchange, context, rows.is_some());
    let node = position.node.clone();
    Ok(PageStart { node, exchange, durable: env.durable, writes, extracted, rows, row_env, resume: None })
}
