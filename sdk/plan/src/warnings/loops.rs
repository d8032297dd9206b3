//! Loops that never end, loops that repeat the same request, and settings of a loop without one.

use super::step_site::{StepSite, changes};
use super::warning::{Warning, WarningCode};
use crate::{PaginationKind, ScopeName, Step};

pub(super) fn warn(place: &StepSite<'_>, warnings: &mut Vec<Warning>) {
    let step = place.step;
    warnings.extend(endless(place));
    if step.break_when.is_some() && !step.loops() {
        let words = "the step has neither while nor paginate, so it fetches only one page";
        warnings.push(place.at("break_when", WarningCode::BreakWithoutLoop, words));
    }
    paginate(place, warnings);
    if let Some(window) = &step.window
        && window.from_param.is_none()
        && window.to_param.is_none()
        && !step.all_reads().includes(ScopeName::Window)
    {
        let words = "the slices are not sent: set from_param and to_param, or use window.from and window.to in the request";
        warnings.push(place.at("window", WarningCode::WindowNotSent, words));
    }
    if let Some(cursor) = &step.cursor
        && cursor.param.is_none()
        && !reads_cursor(step)
    {
        let words = "the cursor is kept but never used: set param, or use cursor in the request";
        warnings.push(place.at("cursor", WarningCode::CursorNotUsed, words));
    }
}

fn endless(place: &StepSite<'_>) -> Option<Warning> {
    let step = place.step;
    let while_expr = step.while_expr.as_ref()?;
    let ended = step.paginate.is_some() || step.break_when.as_ref().is_some_and(|expr| changes(expr, step));
    if ended || changes(while_expr, step) {
        return None;
    }
    let words = "this condition cannot change from page to page: once true, only a limit ends the loop";
    Some(place.at("while", WarningCode::EndlessLoop, words))
}

fn paginate(place: &StepSite<'_>, warnings: &mut Vec<Warning>) {
    let Some(paginate) = &place.step.paginate else { return };
    let counts = matches!(paginate.kind, PaginationKind::Page { .. } | PaginationKind::Offset { .. });
    if paginate.stop_on.empty && counts {
        let words = "page and offset end at an empty page anyway";
        warnings.push(place.at("paginate/stop_on", WarningCode::StopOnRedundant, words));
    }
    let stops = paginate.stop_on.empty || paginate.stop_on.short;
    if (counts || stops) && place.step.rows.as_ref().is_some_and(|rows| rows.unfiltered.is_some()) {
        let words = "pagination counts the rows that the filter lets through, so it may take a full page for a short or empty one: \
            emit all rows, or filter in the request";
        warnings.push(place.at("iterate_over", WarningCode::FilterCounts, words));
    }
    let request = place.step.request().map(crate::RequestTemplate::reads);
    let follows = request.is_some_and(|reads| {
        reads.overlaps(&["page", "cursor"])
            || reads.includes(ScopeName::Response)
            || reads.includes(ScopeName::Prev)
    });
    if matches!(paginate.kind, PaginationKind::Cursor { param: None, .. }) && !follows {
        let words = "the cursor is not sent: set param, or use page.cursor in the request";
        warnings.push(place.at("paginate", WarningCode::PageCursorNotSent, words));
    }
    let sends_page = request.is_some_and(|reads| reads.includes(ScopeName::Page));
    let field = match &paginate.kind {
        PaginationKind::Page { param: None, .. } if !sends_page => "page.number",
        PaginationKind::Offset { param: None, .. } if !sends_page => "page.offset",
        _ => return,
    };
    let words = format!("the page is not sent: set param, or use {field} in the request");
    warnings.push(place.at("paginate/param", WarningCode::PageNotSent, words));
}

/// Returns whether the step's cursor is read, by the step itself or by one below it without its own
/// cursor.
fn reads_cursor(step: &Step) -> bool {
    let by_window = step.window.as_ref().is_some_and(|window| window.from.is_none());
    by_window
        || step.reads.includes(ScopeName::Cursor)
        || step.below().any(|below| below.cursor.is_none() && reads_cursor(below))
}
