//! One step: a request, the loop around it, and what is taken from its answers.

use std::sync::Arc;
use std::time::Duration;

use super::{OutcomeRules, Paginate, ResponseRules, Retry};
use crate::{Expr, PlainPath, Reads, RequestTemplate};

/// A compiled step with all defaults applied.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique in the definition.
    pub id: Arc<str>,
    /// Pointer of the step in the plan document: `/definition/steps/0`.
    pub pointer: String,
    /// The request of each pass.
    pub request: RequestTemplate,
    /// Asked once before the first pass; none is true.
    pub execute_if: Option<Expr>,
    /// One try, connect to last byte.
    pub timeout: Duration,
    /// When and how a failed try is made again.
    pub retry: Retry,
    /// What an answer means.
    pub outcome: OutcomeRules,
    /// Another pass follows only while this is true.
    pub while_expr: Option<Expr>,
    /// No other pass follows once this is true.
    pub break_when: Option<Expr>,
    /// The declared loop.
    pub paginate: Option<Paginate>,
    /// Context fields and what they become, in the order of their names.
    pub set_context: Vec<(String, Expr)>,
    /// Fields of the message's `extracted_data`, in the order of their names.
    pub extract: Vec<(String, Expr)>,
    /// The rows of the response.
    pub rows: Option<Rows>,
    /// Run in order, per row or once per pass.
    pub sub_steps: Vec<Step>,
    /// Rows in flight.
    pub concurrency: u32,
    /// Whether the first failed row ends the fan-out.
    pub stop_on_error: bool,
    /// What is emitted.
    pub emit: Emit,
    /// How the answer's body is read.
    pub response: ResponseRules,
    /// What the expressions of this step alone read.
    pub reads: Reads,
}

impl Step {
    /// What the expressions of this step and of all steps below it read.
    #[must_use]
    pub fn all_reads(&self) -> Reads {
        let mut reads = self.reads.clone();
        self.sub_steps.iter().for_each(|step| reads.extend(&step.all_reads()));
        reads
    }

    /// Whether more than one pass is possible.
    #[must_use]
    pub fn loops(&self) -> bool {
        self.while_expr.is_some() || self.paginate.is_some()
    }
}

/// `iterate_over`.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The expression, from the scope.
    pub expr: Expr,
    /// Its path inside the body, where it is one of field names and indexes alone: such rows can be copied as the
    /// bytes that came (see [`crate::RawRows`]).
    pub plain: Option<PlainPath>,
}

/// How many messages a page makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// One for the page.
    Page,
    /// One for each row.
    Record,
    /// None.
    None,
}
