//! One step: a request, the loop around it, and what is taken from its answers.

use std::sync::Arc;
use std::time::Duration;

use super::{AsyncJob, Cursor, OutcomeRules, Pagination, ResponseRules, RetryPolicy, TimeWindow};
use crate::{Expr, PlainPath, ReadPaths, RequestTemplate};

/// A compiled step with all defaults applied.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique in the definition.
    pub id: Arc<str>,
    /// Pointer of the step in the plan document: `/definition/steps/0`.
    pub pointer: String,
    /// What it does.
    pub action: StepAction,
    /// Whose credentials its requests carry: its own word, else that of the step around it; none: the config's flow.
    pub auth_flow: Option<AuthFlow>,
    /// Asked once before the first pass, of each item under `for_each`; none is true.
    pub execute_if: Option<Expr>,
    /// Repeats the whole step, its loop included, once per item.
    pub for_each: Option<Expr>,
    /// One try, connect to last byte.
    pub timeout: Duration,
    /// When and how a failed try is made again.
    pub retry: RetryPolicy,
    /// What an answer means.
    pub outcome: OutcomeRules,
    /// Another pass follows only while this is true.
    pub while_expr: Option<Expr>,
    /// No other pass follows once this is true.
    pub break_when: Option<Expr>,
    /// The declared loop.
    pub paginate: Option<Pagination>,
    /// The time range around the loop.
    pub window: Option<TimeWindow>,
    /// What was read up to, from run to run.
    pub cursor: Option<Cursor>,
    /// Revalidate by what the last run was told (RFC 9110, 13): a 304 emits nothing.
    pub conditional: bool,
    /// Context fields and what they become, in the order of their names.
    pub set_context: Vec<(String, Expr)>,
    /// Fields of the message's `extracted_data`, in the order of their names.
    pub extract: Vec<(String, Expr)>,
    /// The rows of the response.
    pub rows: Option<RowSelector>,
    /// Run in order, per row or once per pass.
    pub sub_steps: Vec<Arc<Step>>,
    /// Rows, or `for_each` items, in flight.
    pub concurrency: u32,
    /// Whether the first failed row or item ends the fan-out, and fails the step.
    pub stop_on_error: bool,
    /// What is emitted.
    pub emit: EmitMode,
    /// How the answer's body is read.
    pub response: ResponseRules,
    /// What the expressions of this step alone read.
    pub reads: ReadPaths,
}

impl Step {
    /// What the expressions of this step and of all steps below it read.
    #[must_use]
    pub fn all_reads(&self) -> ReadPaths {
        let mut reads = self.reads.clone();
        self.below().for_each(|step| reads.extend(&step.all_reads()));
        reads
    }

    /// The steps right below: sub-steps, or those of an async job.
    pub fn below(&self) -> impl Iterator<Item = &Arc<Step>> {
        self.sub_steps.iter().chain(self.job_steps())
    }

    /// The steps of an async job; none where it is none.
    pub(crate) fn job_steps(&self) -> impl Iterator<Item = &Arc<Step>> {
        let job = match &self.action {
            StepAction::Job(job) => Some(job),
            StepAction::Request(_) => None,
        };
        job.into_iter().flat_map(|job| {
            [&job.submit, &job.poll].into_iter().chain(&job.download).chain(job.cancel.as_ref())
        })
    }

    /// The request, where the step is no async job.
    #[must_use]
    pub fn request(&self) -> Option<&RequestTemplate> {
        match &self.action {
            StepAction::Request(request) => Some(request),
            StepAction::Job(_) => None,
        }
    }

    /// Whether more than one pass is possible.
    #[must_use]
    pub fn loops(&self) -> bool {
        self.while_expr.is_some() || self.paginate.is_some()
    }
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepAction {
    /// A request in each pass.
    Request(RequestTemplate),
    /// A job of the upstream's.
    Job(Box<AsyncJob>),
}

/// Whose credentials requests carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthFlow {
    /// Nobody's (`"none"`).
    Off,
    /// Those of the flow with this key.
    Key(String),
}

/// `iterate_over`.
#[derive(Clone, Debug)]
pub struct RowSelector {
    /// The expression, from the scope.
    pub expr: Expr,
    /// Its path inside the body, where it is one of field names and indexes alone: such rows can be copied as the
    /// bytes that came (see [`crate::RawRows`]).
    pub plain: Option<PlainPath>,
    /// The same without its filter (`items` of `items[?x]`), where it has one: what could have been rows.
    pub unfiltered: Option<Expr>,
}

/// How many messages a page makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitMode {
    /// One for the page.
    Page,
    /// One for each row.
    Record,
    /// None.
    None,
}
