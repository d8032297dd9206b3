//! Lists every expression of a step with its JSON pointer, for checks that apply to all of them.

use super::{PaginationKind, Step, StepAction};
use crate::Expr;
use crate::diagnostic::token;
use crate::template::JsonTemplate;

/// An expression of a step and its place.
pub(crate) struct ExprSite<'s> {
    /// JSON pointer of its field: `/definition/step/extract/total`.
    pub(crate) pointer: String,
    pub(crate) expr: &'s Expr,
    /// Whether its value is kept in messages, context, cursors or checkpoints.
    pub(crate) kept: bool,
}

impl Step {
    /// Returns the expressions of this step, without those of the steps below it.
    pub(crate) fn exprs(&self) -> Vec<ExprSite<'_>> {
        let mut exprs = ExprCollector { step: self, found: Vec::new() };
        if let StepAction::Request(request) = &self.action {
            for template in request.templates() {
                for expr in template.exprs() {
                    exprs.found.push(ExprSite { pointer: template.pointer().to_owned(), expr, kept: false });
                }
            }
        }
        exprs.conditions();
        exprs.loops();
        exprs.kept();
        exprs.found
    }
}

struct ExprCollector<'s> {
    step: &'s Step,
    found: Vec<ExprSite<'s>>,
}

impl<'s> ExprCollector<'s> {
    fn add(&mut self, field: &str, expr: Option<&'s Expr>, kept: bool) {
        let pointer = || format!("{}/{field}", self.step.pointer);
        self.found.extend(expr.map(|expr| ExprSite { pointer: pointer(), expr, kept }));
    }

    fn conditions(&mut self) {
        let step = self.step;
        let outcome = &step.outcome;
        for (field, expr) in [
            ("execute_if", &step.execute_if),
            ("abort_when", &outcome.abort_when),
            ("ignore_when", &outcome.ignore_when),
            ("retry_when", &outcome.retry_when),
            ("retry/wait", &step.retry.wait),
            ("while", &step.while_expr),
            ("break_when", &step.break_when),
        ] {
            self.add(field, expr.as_ref(), false);
        }
        if let StepAction::Job(job) = &step.action {
            self.add("async_job/done_when", Some(&job.done_when), false);
            self.add("async_job/failed_when", job.failed_when.as_ref(), false);
        }
    }

    fn loops(&mut self) {
        let step = self.step;
        if let Some(paginate) = &step.paginate
            && let PaginationKind::Cursor { value, .. } | PaginationKind::NextUrl { value } = &paginate.kind
        {
            self.add("paginate/value", Some(value), false);
        }
        if let Some(window) = &step.window {
            self.add("window/from", window.from.as_ref(), true);
            self.add("window/to", window.to.as_ref(), true);
        }
        if let Some(cursor) = &step.cursor {
            self.add("cursor/value", Some(&cursor.value), true);
            self.add("cursor/per_item", cursor.per_item.as_ref(), true);
            if let Some(JsonTemplate::Template(start)) = &cursor.start {
                start.exprs().for_each(|expr| self.add("cursor/start", Some(expr), true));
            }
        }
    }

    fn kept(&mut self) {
        let step = self.step;
        self.add("for_each", step.for_each.as_ref(), true);
        for (field, exprs) in [("set_context", &step.set_context), ("extract", &step.extract)] {
            for (name, expr) in exprs {
                self.add(&format!("{field}/{}", token(name)), Some(expr), true);
            }
        }
        self.add("iterate_over", step.rows.as_ref().map(|rows| &rows.expr), true);
    }
}
