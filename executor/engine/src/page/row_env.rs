//! The environment of a row's sub-steps.

use bytes::Bytes;
use orchid_plan::{Value, ValueError};

use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::StepExit;
use crate::state::failed_row;
use crate::state::location::StepLocation;
use crate::state::step_env::StepEnv;

/// Creates the environment of a row of the page at `path`: that of the page, with the row as
/// `item`.
///
/// # Errors
/// If the row cannot be read. It is never null instead: its sub-steps would run without it.
pub(crate) fn row_env(
    run: &ExecutionState,
    page_env: &StepEnv,
    node: &StepNode,
    path: &str,
    number: u64,
    raw: &Bytes,
) -> Result<StepEnv, ValueError> {
    let (item, bytes) = Value::parse_within(raw, &node.needs.item, run.limits.value_max_bytes)?;
    let mut env = page_env.for_row(format!("{path}[{number}]."));
    env.push_row(number, item, run.buffers.held(bytes), raw.clone());
    Ok(env)
}

/// Reports a row that cannot be read: as a failed row, or as the failure of the step if the plan
/// stops on errors.
pub(crate) fn report_unreadable(
    cx: &mut EngineCx<'_>,
    node: &StepNode,
    page_env: Option<&StepEnv>,
    location: StepLocation,
    exchange: &PageExchange,
    error: &ValueError,
) -> Result<(), StepExit> {
    let path = location.path.clone();
    let detail = ErrorDetail::unreadable(format!("{}/iterate_over", node.step.pointer), "the row", error);
    let error = exchange.error(&cx.run.redactor, location, detail);
    if node.step.stop_on_error {
        return Err(error.into());
    }
    failed_row::tolerate(cx, error, &path, page_env.and_then(|env| env.enclosing.as_ref()));
    Ok(())
}
