//! The definition as a run walks it: each step with what was found out about it before anything runs.

use std::sync::Arc;

use orchid_plan::{
    AsyncJob, Definition, EmitMode, Expr, ReadPaths, ResponseFormat, RowSelector, Step, StepAction,
};

use crate::attempt::{CursorKey, CursorKind};
use crate::program::required_fields::RequiredFields;
use crate::request::BodyStreaming;

/// All steps of a definition.
pub(crate) struct Program {
    /// The root steps, in order.
    pub(crate) roots: Arc<[Arc<StepNode>]>,
    /// Every step by its index.
    pub(crate) nodes: Vec<Arc<StepNode>>,
}

/// One step.
pub(crate) struct StepNode {
    /// Counts the definition's steps, outer ones first.
    pub(crate) index: usize,
    pub(crate) step: Arc<Step>,
    /// Ids of the steps around it and its own, without numbers: `issues.comments`.
    pub(crate) path: String,
    pub(crate) needs: RequiredFields,
    /// Its rows go into those of the step around it (`_steps`).
    pub(crate) gathers: bool,
    /// Its last answer is judged by the job that it is of.
    pub(crate) judged: bool,
    /// Which answers it takes piece by piece.
    pub(crate) pieces: BodyStreaming,
    /// Run for each row, or once per pass.
    pub(crate) subs: Arc<[Arc<StepNode>]>,
    /// One of them is an async job, or one below: what is known of it is part of every checkpoint.
    pub(crate) jobs_below: bool,
    pub(crate) job: Option<AsyncJobNodes>,
}

/// The steps of an async job.
pub(crate) struct AsyncJobNodes {
    pub(crate) submit: Arc<StepNode>,
    pub(crate) poll: Arc<StepNode>,
    pub(crate) download: Arc<[Arc<StepNode>]>,
    pub(crate) cancel: Option<Arc<StepNode>>,
}

impl Program {
    pub(crate) fn new(definition: &Definition) -> Program {
        let mut nodes = Vec::new();
        let mut builder = ProgramBuilder { definition, nodes: &mut nodes, next: 0 };
        let roots = definition.steps.iter().map(|step| builder.node(step, &OuterStep::default())).collect();
        nodes.sort_by_key(|node: &Arc<StepNode>| node.index);
        Program { roots, nodes }
    }

    /// The step with this id.
    pub(crate) fn of_id(&self, id: &str) -> Option<&StepNode> {
        self.nodes.iter().find(|node| *node.step.id == *id).map(Arc::as_ref)
    }

    /// The field that a cursor or validator is kept for.
    pub(crate) fn pointer_of(&self, key: &CursorKey) -> String {
        let Some(node) = self.of_id(&key.step) else { return String::new() };
        let step = &node.step.pointer;
        match key.kind {
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
        let around = above.path;
        let path = if around.is_empty() { step.id.to_string() } else { format!("{around}.{}", step.id) };
        let gathers = above.carries && emits_nothing(step);
        let below = OuterStep {
            path: &path,
            carries: gathers || step.emit != EmitMode::None,
            ..OuterStep::default()
        };
        let subs: Arc<[Arc<StepNode>]> = step.sub_steps.iter().map(|sub| self.node(sub, &below)).collect();
        let jobs_below = subs.iter().any(|sub| sub.job.is_some() || sub.jobs_below);
        let job = match &step.action {
            StepAction::Request(_) => None,
            StepAction::Job(job) => Some(self.job(step, job, &path, gathers)),
        };
        let needs = RequiredFields::of(step, self.definition, &above.readers, &above.known_as);
        let pieces = pieces(step, &needs);
        let judged = !above.readers.is_empty();
        let node = Arc::new(StepNode {
            index,
            step: step.clone(),
            path,
            needs,
            gathers,
            judged,
            pieces,
            subs,
            jobs_below,
            job,
        });
        self.nodes.push(node.clone());
        node
    }

    fn job(&mut self, step: &Step, job: &AsyncJob, path: &str, gathers: bool) -> AsyncJobNodes {
        let silent = OuterStep { path, ..OuterStep::default() };
        let asks = [Some(&job.done_when), job.failed_when.as_ref()];
        let readers = asks.into_iter().flatten().map(Expr::reads).collect();
        let poll = self.node(&job.poll, &OuterStep { readers, ..silent.clone() });
        let last = job.download.len().saturating_sub(1);
        let download = job.download.iter().enumerate().map(|(number, download)| {
            let known_as = if number == last { vec![&*step.id] } else { Vec::new() };
            self.node(download, &OuterStep { carries: gathers && number == last, known_as, ..silent.clone() })
        });
        AsyncJobNodes {
            download: download.collect(),
            submit: self.node(&job.submit, &silent),
            poll,
            cancel: job.cancel.as_ref().map(|cancel| self.node(cancel, &silent)),
        }
    }
}

/// What stands above a step.
#[derive(Clone, Default)]
struct OuterStep<'a> {
    path: &'a str,
    /// What is emitted there, or passed on, has room for rows from below.
    carries: bool,
    /// Expressions there that read this step's answer.
    readers: Vec<&'a ReadPaths>,
    /// Other ids by which later steps read its answer.
    known_as: Vec<&'a str>,
}

/// A job emits what its last download does.
fn emits_nothing(step: &Step) -> bool {
    match &step.action {
        StepAction::Request(_) => step.emit == EmitMode::None,
        StepAction::Job(job) => job.download.last().is_none_or(|last| last.emit == EmitMode::None),
    }
}

/// A body is taken piece by piece only where nothing but its rows is looked at.
fn pieces(step: &Step, needs: &RequiredFields) -> BodyStreaming {
    let looked_at = !needs.body.is_empty();
    if looked_at {
        return BodyStreaming::Never;
    }
    let whole_body_is_rows = match &step.rows {
        Some(RowSelector { plain: Some(path), .. }) => path.0.is_empty(),
        Some(RowSelector { plain: None, .. }) => return BodyStreaming::Never,
        // Without rows a list of lines is cut between its elements, which sub-steps once per page cannot wait for.
        None => step.sub_steps.is_empty(),
    };
    match step.response.format {
        _ if step.response.stream && step.rows.is_some() => BodyStreaming::Always,
        ResponseFormat::Jsonl | ResponseFormat::Csv if whole_body_is_rows => BodyStreaming::Always,
        ResponseFormat::Auto if whole_body_is_rows => BodyStreaming::ByContentType,
        ResponseFormat::Auto
        | ResponseFormat::Json
        | ResponseFormat::Jsonl
        | ResponseFormat::Xml
        | ResponseFormat::Csv
        | ResponseFormat::Text
        | ResponseFormat::Binary => BodyStreaming::Never,
    }
}
