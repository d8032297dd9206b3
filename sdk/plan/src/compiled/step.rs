//! A compiled step: a request or an async job, the loop around it, and what it takes from
//! responses.
//!
//! Steps and async jobs contain each other, so both types are defined here.

use std::sync::Arc;
use std::time::Duration;

use super::{Cursor, OutcomeRules, Pagination, ResponseRules, RetryPolicy, TimeWindow};
use crate::{Expr, PlainPath, ReadPaths, RequestTemplate};

/// A compiled step with all defaults applied.
#[derive(Clone, Debug)]
pub struct Step {
    /// Id, unique in the definition; the steps of an async job have fixed ids.
    pub id: Arc<str>,
    /// Pointer of the step in the plan document: `/definition/steps/0`.
    pub pointer: String,
    /// The request or the async job.
    pub action: StepAction,
    /// Auth flow of its requests: its own, or the one of the step around it. `None` means the flow
    /// of the config.
    pub auth_flow: Option<AuthFlow>,
    /// Condition that is evaluated once before the first page, and for each item of `for_each`. The
    /// step is skipped where it is false.
    pub execute_if: Option<Expr>,
    /// List for whose items the whole step is repeated, its loop included.
    pub for_each: Option<Expr>,
    /// Maximum time of one request, from connecting to the last byte.
    pub timeout: Duration,
    /// When and how a failed request is retried.
    pub retry: RetryPolicy,
    /// Rules that classify responses.
    pub outcome: OutcomeRules,
    /// Condition for fetching another page.
    pub while_expr: Option<Expr>,
    /// Condition that ends the loop.
    pub break_when: Option<Expr>,
    /// The declared pagination.
    pub paginate: Option<Pagination>,
    /// Whether pages that the API offers beyond those that the step reads are not wanted.
    pub single_page: bool,
    /// Time range around the loop.
    pub window: Option<TimeWindow>,
    /// Cursor of the step, kept from one execution to the next.
    pub cursor: Option<Cursor>,
    /// Whether to send the validators that the last execution received (RFC 9110, section 13). A
    /// 304 emits nothing.
    pub conditional: bool,
    /// Context fields with their new values, sorted by name.
    pub set_context: Vec<(String, Expr)>,
    /// Fields of the message's `extracted_data`, sorted by name.
    pub extract: Vec<(String, Expr)>,
    /// Selects the rows of a response.
    pub rows: Option<RowSelector>,
    /// Steps that run in order, for each row or once per page.
    pub sub_steps: Vec<Arc<Step>>,
    /// Maximum number of rows or `for_each` items in flight.
    pub concurrency: u32,
    /// Whether the first row or item that fails ends the fan-out and fails the step.
    pub stop_on_error: bool,
    /// Number of messages per page.
    pub emit: EmitMode,
    /// Rules for reading response bodies.
    pub response: ResponseRules,
    /// Paths that the expressions of this step read, without those of the steps below it.
    pub reads: ReadPaths,
}

impl Step {
    /// Returns the paths that the expressions of this step and of all steps below it read.
    #[must_use]
    pub fn all_reads(&self) -> ReadPaths {
        let mut reads = self.reads.clone();
        self.below().for_each(|step| reads.extend(&step.all_reads()));
        reads
    }

    /// Returns the steps directly below: the sub-steps, or the steps of the async job.
    pub fn below(&self) -> impl Iterator<Item = &Arc<Step>> {
        self.sub_steps.iter().chain(self.job_steps())
    }

    /// Returns the steps of the async job, if the step is one.
    pub(crate) fn job_steps(&self) -> impl Iterator<Item = &Arc<Step>> {
        let job = match &self.action {
            StepAction::Job(job) => Some(job),
            StepAction::Request(_) => None,
        };
        job.into_iter().flat_map(|job| {
            [&job.submit, &job.poll].into_iter().chain(&job.download).chain(job.cancel.as_ref())
        })
    }

    /// Returns the request, unless the step is an async job.
    #[must_use]
    pub fn request(&self) -> Option<&RequestTemplate> {
        match &self.action {
            StepAction::Request(request) => Some(request),
            StepAction::Job(_) => None,
        }
    }

    /// Returns whether the step can fetch more than one page.
    #[must_use]
    pub fn loops(&self) -> bool {
        self.while_expr.is_some() || self.paginate.is_some()
    }
}

/// The work of a step.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each step of a plan, and nearly all are requests")]
pub enum StepAction {
    /// Sends a request for each page.
    Request(RequestTemplate),
    /// Runs a job of the upstream.
    Job(Box<AsyncJob>),
}

/// The auth flow whose credentials requests carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthFlow {
    /// No credentials (`"none"`).
    Off,
    /// The flow with this key.
    Key(String),
}

/// `iterate_over`.
#[derive(Clone, Debug)]
pub struct RowSelector {
    /// The expression, relative to the scope.
    pub expr: Expr,
    /// Its path inside the body, if it consists only of field names and indexes. Such rows can be
    /// copied byte for byte (see [`crate::RawRows`]).
    pub plain: Option<PlainPath>,
    /// True if the expression permits absent rows, as in `` response.body.items || `[]` ``.
    pub may_be_absent: bool,
    /// The expression without its filter (`items` of `items[?x]`), if it has one: every row that
    /// the filter could have let through.
    pub unfiltered: Option<Expr>,
}

/// Number of messages that a page produces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitMode {
    /// One message for the whole page.
    Page,
    /// One message for each row.
    Record,
    /// No messages.
    None,
}

/// `async_job`: submits a job to the upstream, polls until it is done, and downloads its results.
///
/// Its steps see everything that the job's step sees, `parent` and `item` included, and the steps
/// of the job that have finished. Their ids are local to the job, so that two jobs can both have a
/// `submit`.
#[derive(Clone, Debug)]
pub struct AsyncJob {
    /// Starts the job; runs once. In scope as `steps.submit`; its id is `submit`.
    pub submit: Arc<Step>,
    /// Asks for the job's state repeatedly. In scope as `steps.poll`; its id is `poll`.
    pub poll: Arc<Step>,
    /// Condition that is evaluated after each poll, with its response in scope: the job is done.
    pub done_when: Expr,
    /// Condition that is evaluated before `done_when`: the job has failed.
    pub failed_when: Option<Expr>,
    /// True if the response to the last poll is the job's result; then nothing is downloaded.
    pub result_in_poll: bool,
    /// Steps that run in order once the job is done. Only the last one emits.
    pub download: Vec<Arc<Step>>,
    /// Asks the upstream to stop, if the execution is cancelled or times out; its id is `cancel`.
    pub cancel: Option<Arc<Step>>,
    /// Time between polls.
    pub poll_wait: Duration,
    /// Maximum time from the response to `submit` until the job is done; the step fails after it.
    pub max_wait: Duration,
    /// JSON pointer of the object: `/definition/step/async_job`.
    pub pointer: String,
}
