//! The steps around a row, as far as they save something that a failed row concerns.

use std::sync::Arc;

use crate::attempt::CursorKey;
use crate::program::node::StepNode;

/// A step around a row, with what it saves once its page or loop has ended. Steps that save nothing
/// are left out.
pub(crate) struct EnclosingStep {
    pub(crate) node: Arc<StepNode>,
    /// The cursor of this instance of the step.
    pub(crate) cursor: Option<CursorKey>,
    /// The validators of the page that the row belongs to.
    pub(crate) validator: Option<CursorKey>,
    pub(crate) outer: Option<Arc<EnclosingStep>>,
}
