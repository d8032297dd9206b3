//! The hosts that a URL out of a response may lead to.
//!
//! A plan reaches the hosts that it names itself, or that the config names: these are the *homes*
//! of its steps. If an upstream decides about the host of a URL, as in `{{ item.href }}`, the URL
//! has to stay at the home of the step that the value came from, or of an enclosing step. Otherwise
//! an upstream could send a plan's credentials anywhere.

use orchid_plan::{EvalEnv, ReadPaths, RequestTemplate, Scope, ScopeName, Value};
use url::Url;

use crate::program::node::StepNode;
use crate::state::execution::ExecutionState;
use crate::state::step_env::StepEnv;

/// Returns the homes for a URL of this step whose host a response decides about. `own` is the URL
/// of an earlier page of the step.
pub(crate) fn of_answer_url(
    run: &ExecutionState,
    env: &StepEnv,
    node: &StepNode,
    own: Option<&Url>,
    eval: &EvalEnv,
) -> Vec<Url> {
    let mut search = HomeSearch::new(run, eval);
    let known = [own, env.home.as_deref(), env.base_url.as_deref()];
    known.into_iter().flatten().for_each(|home| search.add(home.clone()));
    match node.step.request().map(RequestTemplate::host_reads) {
        Some(reads) if reads.includes_answers() => search.add_sources(node, &reads),
        Some(_) | None => search.add_homes_of(node),
    }
    search.homes
}

/// Returns whether the host of the step's URL is out of the config after all: in an element of a
/// `for_each` over a list of the config.
pub(crate) fn is_from_config(run: &ExecutionState, node: &StepNode) -> bool {
    let reads = node.step.request().map(RequestTemplate::host_reads).unwrap_or_default();
    items_are_from_config(run, node, &reads)
}

fn items_are_from_config(run: &ExecutionState, node: &StepNode, reads: &ReadPaths) -> bool {
    use ScopeName::{Context, Cursor, Items, Page, Parent, Prev, Response, Steps};
    if [Context, Cursor, Page, Parent, Prev, Response, Steps].iter().any(|name| reads.includes(*name)) {
        return false;
    }
    let outer = node.outer.and_then(|index| run.program.nodes.get(index));
    if let Some(list) = &node.step.for_each {
        let of_list = list.reads();
        let above =
            |outer: &StepNode| outer.step.rows.is_none() && items_are_from_config(run, outer, of_list);
        if of_list.includes_answers() && !outer.is_some_and(|outer| above(outer)) {
            return false;
        }
        if !reads.includes(Items) {
            return true;
        }
    }
    // The items further out: the rows of a step come from its responses.
    outer.is_none_or(|outer| outer.step.rows.is_none() && items_are_from_config(run, outer, reads))
}

/// A search for the homes of steps.
struct HomeSearch<'a> {
    run: &'a ExecutionState,
    eval: &'a EvalEnv,
    /// Variables with which the URLs of homes are rendered.
    scope: Scope,
    homes: Vec<Url>,
    /// Steps whose homes were added.
    visited: Vec<usize>,
    /// Steps whose `for_each` was followed.
    followed: Vec<usize>,
}

impl<'a> HomeSearch<'a> {
    fn new(run: &'a ExecutionState, eval: &'a EvalEnv) -> Self {
        let mut scope = Scope::new();
        scope.set(ScopeName::Config, run.config.clone());
        Self { run, eval, scope, homes: Vec::new(), visited: Vec::new(), followed: Vec::new() }
    }

    fn add(&mut self, home: Url) {
        if !self.homes.iter().any(|known| known.origin() == home.origin()) {
            self.homes.push(home);
        }
    }

    /// Adds the homes of a step.
    fn add_homes_of(&mut self, node: &StepNode) {
        if self.visited.contains(&node.index) {
            return;
        }
        self.visited.push(node.index);
        if let Some(job) = &node.job {
            let result = job.download.last().unwrap_or(&job.poll).clone();
            self.add_homes_of(&result);
            return;
        }
        let Some(request) = node.step.request() else { return };
        let reads = request.host_reads();
        if reads.includes_answers() {
            self.add_sources(node, &reads);
            return;
        }
        match request.origin_url(&self.scope, self.eval) {
            Some(home) => self.add(home),
            // The URL is relative, as that of a poll may be.
            None => self.add_enclosing(node),
        }
    }

    /// Adds the homes of the step around this one. The steps of an async job stay where the job was
    /// submitted.
    fn add_enclosing(&mut self, node: &StepNode) {
        let run = self.run;
        let Some(outer) = node.outer.and_then(|index| run.program.nodes.get(index)) else { return };
        match &outer.job {
            Some(job) => {
                self.add_homes_of(&job.submit.clone());
                self.add_enclosing(outer);
            }
            None => self.add_homes_of(outer),
        }
    }

    /// Adds the homes of the steps that the values at these paths came from.
    fn add_sources(&mut self, node: &StepNode, reads: &ReadPaths) {
        use ScopeName::{Context, Cursor, Item, Items, Page, Parent, Prev, Response};
        let run = self.run;
        self.add_config_urls(reads);
        for source in &run.program.nodes {
            let writes = |name: &str| reads.overlaps(&["context", name]);
            let is_read = self.is_visible(node, source) && reads.overlaps(&["steps", &source.step.id]);
            if is_read || source.step.set_context.iter().any(|(name, _)| writes(name)) {
                self.add_homes_of(source);
            }
        }
        if [Context, Cursor, Item, Items, Page, Parent, Prev, Response]
            .iter()
            .any(|name| reads.includes(*name))
        {
            self.add_enclosing(node);
        }
        if reads.includes(Item) || reads.includes(Items) {
            self.follow_items(node);
        }
    }

    /// Returns whether a step sees another one as `steps.<id>`: if that is beside it or beside a
    /// step around it.
    fn is_visible(&self, node: &StepNode, other: &StepNode) -> bool {
        let mut level = Some(node.outer);
        while let Some(outer) = level {
            if other.outer == outer && other.index != node.index {
                return true;
            }
            level = outer.and_then(|index| self.run.program.nodes.get(index)).map(|node| node.outer);
        }
        false
    }

    /// Adds the homes of the steps that the elements of `for_each` around a step came from.
    fn follow_items(&mut self, node: &StepNode) {
        let run = self.run;
        let mut level = Some(node.index);
        while let Some(node) = level.and_then(|index| run.program.nodes.get(index)) {
            level = node.outer;
            if let Some(list) = &node.step.for_each
                && !self.followed.contains(&node.index)
            {
                self.followed.push(node.index);
                self.add_sources(node, list.reads());
            }
        }
    }

    /// Adds the URLs of the config that an expression reads beside values of responses, such as in
    /// `{{ context.next || config.base_url }}`.
    fn add_config_urls(&mut self, reads: &ReadPaths) {
        for path in reads.below(&["config"]).into_iter().flatten() {
            let value = path.iter().fold(self.run.config.clone(), |value: Value, name| value.member(name));
            self.add_urls_in(&value);
        }
    }

    fn add_urls_in(&mut self, value: &Value) {
        if let Some(url) = value.as_str().and_then(|text| Url::parse(text).ok())
            && matches!(url.scheme(), "http" | "https")
        {
            self.add(url);
        }
        value.items().into_iter().flatten().for_each(|item| self.add_urls_in(&item));
        value.members().into_iter().flatten().for_each(|(_, member)| self.add_urls_in(&member));
    }
}
