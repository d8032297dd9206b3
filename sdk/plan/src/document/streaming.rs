//! What it takes to let a body pass row by row: rows that can be found while it comes, and nobody who needs it whole.

use std::sync::Arc;

use super::context::Context;
use super::object::Object;
use super::response::by_rows;
use crate::{Diagnostic, DiagnosticCode, PathSegment, ResponseRules, RowSelector, Step};

/// `stream` finds the rows on a plain path, forwards.
pub(super) fn check_rows(
    step: &Object<'_>,
    rules: &ResponseRules,
    rows: Option<&RowSelector>,
    context: &mut Context<'_>,
) {
    if !rules.stream || (by_rows(rules.format) && !step.has("iterate_over")) {
        return;
    }
    let forwards = |step: &PathSegment| !matches!(step, PathSegment::Index(index) if *index < 0);
    let plain = rows.and_then(|rows| rows.plain.as_ref()).is_some_and(|path| path.0.iter().all(forwards));
    // An expression that did not compile has its own fault.
    if !plain && (rows.is_some() || !step.has("iterate_over")) {
        let words = "stream takes rows one by one as they come: iterate_over must be a plain path like \
                     response.body.items";
        context.conflict(format!("{}/response/stream", step.pointer), words);
    }
}

/// Refuses expressions that read the body of a step that streams it, and bodies that are held whole beyond what the
/// server holds.
pub(super) fn check_readers(steps: &[Arc<Step>], context: &mut Context<'_>) {
    let mut all = Vec::new();
    steps.iter().for_each(|step| gather(step, None, &mut all));
    for (step, _) in &all {
        let rules = &step.response;
        let beyond = by_rows(rules.format) && rules.max_bytes > context.server.body_bytes;
        if !rules.stream && !beyond {
            continue;
        }
        for reader in readers(step, &all) {
            if rules.stream {
                let words = format!(
                    "reads the body of step {}, which passes by row by row: read response.headers, or leave out \
                     {}/response/stream",
                    step.id, step.pointer
                );
                context.report(Diagnostic::new(DiagnosticCode::Conflict, reader, words));
            } else {
                let most = context.server.body_bytes;
                let words = format!("a body that {reader} reads is held whole, and has at most {most} bytes");
                let pointer = format!("{}/response/max_bytes", step.pointer);
                context.report(Diagnostic::new(DiagnosticCode::OutOfRange, pointer, words));
            }
        }
    }
}

/// Every step with the one whose answer is its `parent`.
fn gather<'s>(step: &'s Arc<Step>, parent: Option<&'s Step>, all: &mut Vec<(&'s Step, Option<&'s Step>)>) {
    all.push((step, parent));
    step.sub_steps.iter().for_each(|below| gather(below, Some(step), all));
    // A job has no answer: its steps see the one around it.
    step.job_steps().for_each(|inner| gather(inner, parent, all));
}

/// The pointers of the expressions that read the body of a step, other than its own rows.
fn readers(step: &Step, all: &[(&Step, Option<&Step>)]) -> Vec<String> {
    let own: &[&[&str]] = &[&["response", "body"], &["prev", "body"]];
    // Rows on a plain path are found while the body comes, and `stream` takes no others.
    let plain = step.rows.as_ref().is_some_and(|rows| rows.plain.is_some());
    let rows = (plain || step.response.stream).then(|| format!("{}/iterate_over", step.pointer));
    let mut readers = Vec::new();
    for (other, parent) in all {
        let mut paths: Vec<&[&str]> = Vec::new();
        if std::ptr::eq(*other, step) {
            paths.extend(own);
        }
        if parent.is_some_and(|parent| std::ptr::eq(parent, step)) {
            paths.push(&["parent", "body"]);
        }
        let by_id: &[&str] = &["steps", &step.id, "body"];
        paths.push(by_id);
        for sited in other.exprs() {
            if rows.as_ref() != Some(&sited.pointer)
                && paths.iter().any(|path| sited.expr.reads().overlaps(path))
            {
                readers.push(sited.pointer);
            }
        }
    }
    readers.dedup();
    readers
}
