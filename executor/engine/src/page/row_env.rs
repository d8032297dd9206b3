//! The environment of a row's sub-steps.

use bytes::Bytes;
use orchid_plan::{Value, ValueError};

use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::StepError;
use crate::state::location::StepLocation;
use crate::state::step_env::StepEnv;

/// Creates the environment of a row of the page at `path`: that of the page, with the row as `item`.
///
/// # Errors
/// If the row cannot be read. It is never null instead: its sub-steps would run without it.
pub(crate) fn row_env(
    page_env: &StepEnv,
    node: &StepNode,
    path: &str,
    number: u64,
    raw: &Bytes,
) -> Result<StepEnv, ValueError> {
    let item = Value::parse_selected(raw, &node.needs.item)?;
    let mut env = page_env.for_row(format!("{path}[{number}]."));
    env.push_item(number, item, Some(raw.clone()));
    Ok(env)
}

/// Creates the error of a row that cannot be read.
pub(crate) fn unreadable_row(
    run: &ExecutionState,
    node: &StepNode,
    location: StepLocation,
    exchange: &PageExchange,
    error: &ValueError,
) -> StepError {
    let detail = ErrorDetail::unreadable(format!("{}/iterate_over", node.step.pointer), "the row", error);
    exchange.error(&run.redactor, location, detail)
}
