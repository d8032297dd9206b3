//! Settings of a fan-out where there is none, and fan-outs that treat all items alike.

use super::step_site::StepSite;
use super::warning::{Warning, WarningCode};
use crate::{ScopeName, Step, StepAction};

/// Default of `concurrency`.
const DEFAULT_CONCURRENCY: u32 = 50;

pub(super) fn warn(place: &StepSite<'_>, warnings: &mut Vec<Warning>) {
    let step = place.step;
    if step.for_each.is_none() && (step.rows.is_none() || step.sub_steps.is_empty()) {
        let words =
            "nothing runs concurrently here: the step has neither for_each, nor iterate_over with sub_steps";
        for (field, set) in
            [("concurrency", step.concurrency != DEFAULT_CONCURRENCY), ("stop_on_error", step.stop_on_error)]
        {
            warnings.extend(set.then(|| place.at(field, WarningCode::NoFanOut, words)));
        }
    }
    let items = place.around.items || step.for_each.is_some();
    // Of an async job, the submit step decides what is requested.
    if items && !place.around.job && !reads_item(step) {
        let field = if matches!(step.action, StepAction::Job(_)) { "async_job/submit" } else { "url" };
        let words = "the request is the same for every item: it reads neither item nor context nor steps";
        warnings.push(place.at(field, WarningCode::SameForEveryItem, words));
    }
    if items && step.cursor.as_ref().is_some_and(|cursor| cursor.per_item.is_none()) {
        let words = "all items share this cursor, so once one item moves it, new rows of the others are missed: keep one \
                     cursor per item with per_item";
        warnings.push(place.at("cursor", WarningCode::CursorSharedByItems, words));
    }
}

fn reads_item(step: &Step) -> bool {
    let request = match &step.action {
        StepAction::Request(request) => Some(request),
        StepAction::Job(job) => job.submit.request(),
    };
    let names =
        [ScopeName::Item, ScopeName::ItemIndex, ScopeName::Items, ScopeName::Context, ScopeName::Steps];
    request.is_some_and(|request| names.into_iter().any(|name| request.reads().includes(name)))
}
