//! Looks at the last page of a loop for pages that the API offers beyond it.

use orchid_plan::PaginationKind;

use crate::body::{EdgeMembers, largest_list};
use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::rules::more_offered::{self, FollowedPages, LoopEnd, MoreOffered};
use crate::state::execution::ExecutionState;
use crate::state::offered_pages;

/// Most pages of a step whose rows are counted only for this check. Counting reads the whole body,
/// so a fan-out over many rows stops doing it.
const COUNTED_PAGES_MAX: u64 = 16;

/// The pages that a loop has read.
pub(crate) struct ReadPages {
    pub(crate) pages: u64,
    /// Rows of the last page, if the step has rows.
    pub(crate) rows: Option<u64>,
    /// Rows of all pages.
    pub(crate) rows_read: u64,
}

/// Warns if the response at the end of a loop says that more pages follow.
pub(crate) fn check(run: &mut ExecutionState, node: &StepNode, exchange: &PageExchange, read: &ReadPages) {
    let step = &node.step;
    let follows = followed_pages(run, node);
    // A loop that its `while` ended later has followed pages; where it stops, the plan decides.
    if step.single_page || (follows == FollowedPages::ByCondition && read.pages > 1) {
        return;
    }
    let (request, response) = (&exchange.sent, &exchange.response);
    // The rest of a partly accepted body is missing, which has a warning of its own.
    if response.tried.failure.is_some() {
        return;
    }
    let json = response.body.json_text();
    let members = match (json, &response.edges) {
        (Some(json), _) => EdgeMembers::read(json),
        (None, Some(edges)) => EdgeMembers::read(edges),
        // The body was read row by row, and is gone.
        (None, None) => EdgeMembers::unknown(response.streamed),
    };
    let watch = &run.watches[node.index];
    let rows = read.rows.or_else(|| {
        let counts = follows == FollowedPages::No && watch.sized_pages() < COUNTED_PAGES_MAX;
        json.filter(|_| counts).and_then(|json| largest_list(json))
    });
    // Rows that an expression or filter has chosen are not those that the API counts.
    let exact = step.rows.as_ref().is_none_or(|rows| rows.plain.is_some());
    let rows_read = match read.rows {
        Some(_) => Some(read.rows_read),
        None => rows.filter(|_| follows == FollowedPages::No),
    };
    let sent_body = request.facts.body.as_ref().and_then(|body| std::str::from_utf8(body).ok());
    let found = more_offered::search(&LoopEnd {
        url: &request.url,
        sent_body,
        headers: response.facts.headers.as_deref().unwrap_or_default(),
        link: response.link.as_deref(),
        members: &members,
        rows: rows.filter(|_| exact),
        rows_read: rows_read.filter(|_| exact),
        pages: read.pages,
        follows,
    });
    if let (FollowedPages::No, Some(rows)) = (follows, rows.filter(|_| exact)) {
        run.watch(node).page_size(rows, found == MoreOffered::Full);
    }
    if let MoreOffered::Yes { sign, advice } = found {
        offered_pages::warn(run, node, &sign, &advice);
    }
}

fn followed_pages(run: &ExecutionState, node: &StepNode) -> FollowedPages {
    let step = &node.step;
    match step.paginate.as_ref().map(|paginate| &paginate.kind) {
        None if step.while_expr.is_some() || step.break_when.is_some() => FollowedPages::ByCondition,
        None => FollowedPages::No,
        Some(PaginationKind::Cursor { .. } | PaginationKind::NextUrl { .. })
            if run.watches[node.index].pointer_missing() =>
        {
            FollowedPages::ByMissingPointer
        }
        Some(_) => FollowedPages::ByPagination,
    }
}
