//! Gaps in what an execution has read: they are permitted, so that the execution goes on, but it is
//! not complete, and a warning says why.

use crate::page::exchange::PageExchange;
use crate::page::progress::StreamPath;
use crate::progress::Warning;
use crate::rules::pagination::NextPage;
use crate::state::engine_cx::EngineCx;
use crate::state::path_check;
use crate::state::step_env::StepEnv;
use crate::step::position::LoopPosition;

/// Records that the plan accepts a body that was not read to its end: what did not come is unknown.
pub(crate) fn accepted_failure(
    cx: &mut EngineCx<'_>,
    env: &StepEnv,
    position: &LoopPosition,
    exchange: &PageExchange,
) {
    let (page, problem) = (position.path(env), &exchange.response.problem);
    let message = format!("{page} was accepted with the part of its body that came: {problem}");
    let warning = Warning {
        code: "BODY_NOT_WHOLE".to_owned(),
        pointer: format!("{}/accept_on", position.step().pointer),
        message: cx.run.redactor.text(&message).into_owned(),
    };
    cx.run.warn_incomplete(warning);
}

/// Records a page without a list where its rows should be, unless the plan permits that.
pub(crate) fn missing_rows(
    cx: &mut EngineCx<'_>,
    env: &StepEnv,
    position: &LoopPosition,
    exchange: &PageExchange,
) {
    // 204 and 304 say that there is nothing. An error that the plan accepts means what the plan
    // says it means, such as a 404 for "none".
    let status = exchange.response.tried.status.unwrap_or_default();
    if exchange.response.is_cut() || !(200..300).contains(&status) || status == 204 {
        return;
    }
    let body = Some(&exchange.response.body).filter(|_| !exchange.response.streamed);
    let missing = path_check::rows_missing(position.step(), &position.path(env), body);
    if let Some(warning) = missing {
        cx.run.warn_incomplete(warning);
    }
}

/// Observes what a stream had at the path of its rows; `None` if the page was not streamed.
pub(crate) fn stream_ended(
    cx: &mut EngineCx<'_>,
    env: &StepEnv,
    position: &LoopPosition,
    exchange: &PageExchange,
    path: Option<StreamPath>,
) {
    let Some(path) = path.filter(|_| !exchange.response.is_cut()) else { return };
    cx.run.watch(&position.node).streamed(path.found);
    if !path.listed && position.step().rows.is_some() {
        missing_rows(cx, env, position, exchange);
    }
}

/// Looks at the last page of a loop, which may be an error that was sent as a success.
pub(crate) fn loop_ends(
    cx: &mut EngineCx<'_>,
    env: &StepEnv,
    position: &LoopPosition,
    exchange: &PageExchange,
    next: &NextPage,
) {
    if matches!(next, NextPage::Fetch(_)) || position.page_in_slice() == 0 {
        return;
    }
    let page = position.path(env);
    let changed = cx.run.watches[position.node.index].last_page(&page, &exchange.response.body);
    if let Some(warning) = changed {
        cx.run.warn_incomplete(warning);
    }
}
