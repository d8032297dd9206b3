//! The warning about a page that an API offers and a plan does not read.

use crate::program::node::StepNode;
use crate::progress::Warning;
use crate::state::execution::ExecutionState;

/// Warns that the API offers more pages than the step reads: the execution is not complete.
///
/// `sign` is how the API says so, `advice` are the fields of a step that would read the page.
pub(crate) fn warn(run: &mut ExecutionState, node: &StepNode, sign: &str, advice: &str) {
    run.warn_incomplete(Warning {
        code: "MORE_WAS_OFFERED".to_owned(),
        pointer: node.step.pointer.clone(),
        message: format!(
            "{sign}, but the step ends here: add {advice}, or \"single_page\": true if further pages \
             are not wanted"
        ),
    });
}
