//! Checks that a body can be read row by row: its rows must be found while it arrives, and no
//! expression may need the whole body.

use std::sync::Arc;

use super::context::ReadContext;
use super::object::ObjectReader;
use super::response::reads_by_row;
use crate::{Diagnostic, DiagnosticCode, PathSegment, ResponseRules, RowSelector, Step};

/// Reports a streamed body whose rows cannot be found while it arrives. That needs a path of names
/// and indexes that do not count from the end.
pub(super) fn check_rows(
    step: &ObjectReader<'_>,
    rules: &ResponseRules,
    rows: Option<&RowSelector>,
    context: &mut ReadContext<'_>,
) {
    if !rules.stream || (reads_by_row(rules.format) && !step.has("iterate_over")) {
        return;
    }
    let forwards = |step: &PathSegment| !matches!(step, PathSegment::Index(index) if *index < 0);
    let plain = rows.and_then(|rows| rows.plain.as_ref()).is_some_and(|path| path.0.iter().all(forwards));
    // An expression that did not compile has been reported already.
    if !plain && (rows.is_some() || !step.has("iterate_over")) {
        let words = "stream reads rows while the body arrives: iterate_over must be a plain path such as \
                     response.body.items";
        context.conflict(format!("{}/response/stream", step.pointer), words);
    }
}

/// Reports expressions that read the body of a step that streams it, and bodies that must be held
/// whole for an expression although they may exceed what the server holds.
pub(super) fn check_readers(steps: &[Arc<Step>], context: &mut ReadContext<'_>) {
    let mut all = Vec::new();
    steps.iter().for_each(|step| gather(step, None, &mut all));
    for (step, _) in &all {
        let rules = &step.response;
        let beyond = reads_by_row(rules.format) && rules.max_bytes > context.server.body_bytes;
        if !rules.stream && !beyond {
            continue;
        }
        for reader in readers(step, &all) {
            if rules.stream {
                let words = format!(
                    "reads the body of step {}, which is streamed and never held: read its headers instead, or \
                     remove {}/response/stream",
                    step.id, step.pointer
                );
                context.report(Diagnostic::new(DiagnosticCode::Conflict, reader, words));
            } else {
                let most = context.server.body_bytes;
                let words =
                    format!("{reader} reads the body, so it is held whole and may have at most {most} bytes");
                let pointer = format!("{}/response/max_bytes", step.pointer);
                context.report(Diagnostic::new(DiagnosticCode::OutOfRange, pointer, words));
            }
        }
    }
}

/// Lists every step with the step whose response is its `parent`.
fn gather<'s>(step: &'s Arc<Step>, parent: Option<&'s Step>, all: &mut Vec<(&'s Step, Option<&'s Step>)>) {
    all.push((step, parent));
    step.sub_steps.iter().for_each(|below| gather(below, Some(step), all));
    // A job has no response of its own: its steps see the parent of the job.
    step.job_steps().for_each(|inner| gather(inner, parent, all));
}

/// Returns the JSON pointers of the expressions that read the body of a step, other than the one
/// that selects its rows.
fn readers(step: &Step, all: &[(&Step, Option<&Step>)]) -> Vec<String> {
    let own: &[&[&str]] =
        &[&["response", "body"], &["prev", "body"], &["response", "files"], &["prev", "files"]];
    // Rows on a plain path are found while the body arrives; `stream` allows no others.
    let plain = step.rows.as_ref().is_some_and(|rows| rows.plain.is_some());
    let rows = (plain || step.response.stream).then(|| format!("{}/iterate_over", step.pointer));
    let mut readers = Vec::new();
    for (other, parent) in all {
        let mut paths: Vec<&[&str]> = Vec::new();
        if std::ptr::eq(*other, step) {
            paths.extend(own);
        }
        if parent.is_some_and(|parent| std::ptr::eq(parent, step)) {
            paths.extend([&["parent", "body"] as &[&str], &["parent", "files"]]);
        }
        let (body, files) = (["steps", &step.id, "body"], ["steps", &step.id, "files"]);
        paths.extend([&body as &[&str], &files]);
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
