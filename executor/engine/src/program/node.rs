//! The steps of a plan, each with the facts that follow from the plan alone.

use std::sync::Arc;

use orchid_plan::{
    AsyncJob, Definition, EmitMode, Expr, ReadPaths, RequestTemplate, ResponseFormat, RowSelector, Step,
    StepAction,
};

use crate::attempt::{CursorKey, CursorKind};
use crate::program::required_fields::RequiredFields;
use crate::request::BodyStreaming;

/// All steps of a plan.
pub(crate) struct Program {
    /// The top-level steps, in order.
    pub(crate) roots: Arc<[Arc<StepNode>]>,
    /// Every step, by its index.
    pub(crate) nodes: Vec<Arc<StepNode>>,
}

/// A step with the facts that follow from the plan.
pub(crate) struct StepNode {
    /// The number of the step in the plan; enclosing steps come first.
    pub(crate) index: usize,
    /// The number of the enclosing step.
    pub(crate) outer: Option<usize>,
    pub(crate) step: Arc<Step>,
    /// Ids of the enclosing steps and of this one, without numbers: `issues.comments`.
    pub(crate) path: String,
    pub(crate) needs: RequiredFields,
    /// True if its rows are attached to the row of the enclosing step (`_steps`).
    pub(crate) gathers: bool,
    /// True if its cursor is that of several rows or items.
    pub(crate) shares_cursor: bool,
    /// True if an async job evaluates its last response, as it does for `submit` and `poll`.
    pub(crate) judged: bool,
    /// True for the `poll` of an async job whose last response is the result: the job decides
    /// whether the response becomes a page.
    pub(crate) result_in_poll: bool,
    /// The responses whose bodies it streams.
    pub(crate) streaming: BodyStreaming,
    /// The sub-steps, which run for each row, or once per page without `iterate_over`.
    pub(crate) subs: Arc<[Arc<StepNode>]>,
    /// True if an async job is among its sub-steps, at any depth. Every checkpoint must then
    /// include the rows in flight, so that no submitted job is forgotten.
    pub(crate) jobs_below: bool,
    pub(crate) job: Option<AsyncJobNodes>,
}

/// The steps of an async job.
pub(crate) struct AsyncJobNodes {
    pub(crate) submit: Arc<StepNode>,
    pub(crate) poll: Arc<StepNode>,
    pub(crate) download: Arc<[Arc<StepNode>]>,
    pub(crate) cancel: Option<Arc<StepNode>>,
    /// True if the URL of a step after the submit may be relative to that of the submit.
    pub(crate) needs_base: bool,
}

impl StepNode {
    /// Iterates over the steps directly below: the sub-steps, or the steps of the async job.
    pub(crate) fn below(&self) -> impl Iterator<Item = &Arc<StepNode>> {
        self.subs.iter().chain(self.job.iter().flat_map(AsyncJobNodes::steps))
    }
}

impl AsyncJobNodes {
    fn steps(&self) -> impl Iterator<Item = &Arc<StepNode>> {
        [&self.submit, &self.poll].into_iter().chain(self.download.iter()).chain(&self.cancel)
    }
}

impl Program {
    pub(crate) fn new(definition: &Definition) -> Program {
        let mut nodes = Vec::new();
        let mut builder = ProgramBuilder { definition, nodes: &mut nodes, next: 0 };
        let roots = definition.steps.iter().map(|step| builder.node(step, &OuterStep::default())).collect();
        // Nodes are pushed after their sub-steps: sorting makes `nodes[index]` the node with this
        // index.
        nodes.sort_by_key(|node: &Arc<StepNode>| node.index);
        Program { roots, nodes }
    }

    /// Returns the step with this id.
    pub(crate) fn of_id(&self, id: &str) -> Option<&StepNode> {
        self.nodes.iter().find(|node| *node.step.id == *id).map(Arc::as_ref)
    }

    /// Returns whether several rows or items of a step have this one cursor. Each of them may read
    /// further than another.
    pub(crate) fn is_shared(&self, key: &CursorKey) -> bool {
        key.kind == CursorKind::Cursor && self.of_id(&key.step).is_some_and(|node| node.shares_cursor)
    }

    /// Returns the pointer of the plan field that sets a step's cursors or validators.
    pub(crate) fn pointer_of(&self, kind: CursorKind, step: &str) -> String {
        let Some(node) = self.of_id(step) else { return String::new() };
        let step = &node.step.pointer;
        match kind {
            CursorKind::Cursor => format!("{step}/cursor"),
            CursorKind::Validator => format!("{step}/conditional"),
        }
    }
}

struct ProgramBuilder<'a> {
    definition: &'a Definition,
    nodes: &'a mut Vec<Arc<StepNode>>,
    next: usize,
}

impl ProgramBuilder<'_> {
    fn node(&mut self, step: &Arc<Step>, above: &OuterStep<'_>) -> Arc<StepNode> {
        let index = self.next;
        self.next += 1;
        let outer = above.path;
        let path = if outer.is_empty() { step.id.to_string() } else { format!("{outer}.{}", step.id) };
        let gathers = above.carries && emits_nothing(step);
        let below = OuterStep {
            index: Some(index),
            path: &path,
            carries: gathers || step.emit != EmitMode::None,
            ..OuterStep::default()
        };
        let subs: Arc<[Arc<StepNode>]> = step.sub_steps.iter().map(|sub| self.node(sub, &below)).collect();
        let jobs_below = subs.iter().any(|sub| sub.job.is_some() || sub.jobs_below);
        let job = match &step.action {
            StepAction::Request(_) => None,
            StepAction::Job(job) => Some(self.job(step, job, index, &path, gathers)),
        };
        let needs = RequiredFields::of(step, self.definition, &above.readers, &above.known_as);
        let streaming = body_streaming(step, &needs);
        let is_repeated = step.for_each.is_some() || !outer.is_empty();
        let shares_cursor =
            is_repeated && step.cursor.as_ref().is_some_and(|cursor| cursor.per_item.is_none());
        let node = Arc::new(StepNode {
            index,
            outer: above.index,
            step: step.clone(),
            path,
            needs,
            gathers,
            shares_cursor,
            judged: above.judges,
            result_in_poll: above.result_in_poll,
            streaming,
            subs,
            jobs_below,
            job,
        });
        self.nodes.push(node.clone());
        node
    }

    fn job(&mut self, step: &Step, job: &AsyncJob, index: usize, path: &str, gathers: bool) -> AsyncJobNodes {
        let silent = OuterStep { index: Some(index), path, ..OuterStep::default() };
        let judged = OuterStep { judges: true, ..silent.clone() };
        let asks = [Some(&job.done_when), job.failed_when.as_ref()];
        let readers = asks.into_iter().flatten().map(Expr::reads).collect();
        // Later steps read the result as `steps.<job>`.
        let result_in_poll = job.result_in_poll;
        let known_as = if result_in_poll { vec![&*step.id] } else { Vec::new() };
        let carries = gathers && result_in_poll;
        let poll = OuterStep { readers, known_as, carries, result_in_poll, ..judged.clone() };
        let poll = self.node(&job.poll, &poll);
        let last = job.download.len().saturating_sub(1);
        let download = job.download.iter().enumerate().map(|(number, download)| {
            let known_as = if number == last { vec![&*step.id] } else { Vec::new() };
            self.node(download, &OuterStep { carries: gathers && number == last, known_as, ..silent.clone() })
        });
        let after_submit = job.download.iter().chain([&job.poll]).chain(&job.cancel);
        let mut requests = after_submit.filter_map(|step| step.request());
        AsyncJobNodes {
            needs_base: requests.any(RequestTemplate::may_be_relative),
            download: download.collect(),
            submit: self.node(&job.submit, &judged),
            poll,
            cancel: job.cancel.as_ref().map(|cancel| self.node(cancel, &silent)),
        }
    }
}

/// The facts about the enclosing step that a step depends on.
#[derive(Clone, Default)]
struct OuterStep<'a> {
    index: Option<usize>,
    path: &'a str,
    /// True if its messages, or those of an enclosing step, can carry the rows of its sub-steps.
    carries: bool,
    /// True if the enclosing async job evaluates its last response.
    judges: bool,
    /// True if that response is the result of the job.
    result_in_poll: bool,
    /// Reads of this step's response by expressions of the enclosing async job.
    readers: Vec<&'a ReadPaths>,
    /// Further ids under which later steps read its response.
    known_as: Vec<&'a str>,
}

/// Returns whether the step emits no messages. An async job emits what its last download emits, or
/// its poll.
fn emits_nothing(step: &Step) -> bool {
    match &step.action {
        StepAction::Request(_) => step.emit == EmitMode::None,
        StepAction::Job(job) if job.result_in_poll => job.poll.emit == EmitMode::None,
        StepAction::Job(job) => job.download.last().is_none_or(|last| last.emit == EmitMode::None),
    }
}

/// Returns whether a body that is text or bytes goes out in parts while it arrives.
pub(crate) fn sends_files(step: &Step) -> bool {
    let is_plain = step.rows.is_none() && step.sub_steps.is_empty() && step.response.archive.is_none();
    is_plain && step.emit == EmitMode::Page
}

/// Returns the responses whose bodies can be streamed: only if expressions read nothing but the
/// rows.
fn body_streaming(step: &Step, needs: &RequiredFields) -> BodyStreaming {
    // The names of an archive's files are only known at its end.
    let looked_at = !needs.body.is_empty() || needs.files;
    if looked_at {
        return BodyStreaming::Never;
    }
    let whole_body_is_rows = match &step.rows {
        Some(RowSelector { plain: Some(path), .. }) => path.0.is_empty(),
        Some(RowSelector { plain: None, .. }) => return BodyStreaming::Never,
        // Without iterate_over, the list is split into messages between its elements, and each
        // message needs the results of sub-steps that run once per page: the body must be complete
        // before them.
        None => step.sub_steps.is_empty(),
    };
    let is_file = sends_files(step);
    match step.response.format {
        _ if step.response.stream && step.rows.is_some() => BodyStreaming::Always,
        ResponseFormat::Jsonl | ResponseFormat::Csv if whole_body_is_rows => BodyStreaming::Always,
        ResponseFormat::Auto if is_file => BodyStreaming::FilesToo,
        ResponseFormat::Auto if whole_body_is_rows => BodyStreaming::ByContentType,
        ResponseFormat::Text | ResponseFormat::Binary if is_file => BodyStreaming::Always,
        ResponseFormat::Auto
        | ResponseFormat::Json
        | ResponseFormat::Jsonl
        | ResponseFormat::Xml
        | ResponseFormat::Csv
        | ResponseFormat::Text
        | ResponseFormat::Binary => BodyStreaming::Never,
    }
}
