//! The usual loops: how the next page is found and asked for.

use crate::Expr;

/// `paginate`.
#[derive(Clone, Debug)]
pub struct Pagination {
    /// How the next page is found.
    pub kind: PaginationKind,
    /// Further reasons to stop; these count rows.
    pub stop_on: StopOn,
    /// What the same request or pointer twice means.
    pub on_repeat: OnRepeat,
    /// Pointer of the object: `/definition/step/paginate`.
    pub pointer: String,
}

/// How the next page is found.
#[derive(Clone, Debug)]
pub enum PaginationKind {
    /// A page number in a parameter.
    Page {
        /// The parameter of the page number.
        param: String,
        /// The number of the first page.
        start: u64,
        /// The parameter of the page size.
        size_param: Option<String>,
        /// Rows asked for.
        size: Option<u64>,
    },
    /// A row offset in a parameter.
    Offset {
        /// The parameter of the offset.
        param: String,
        /// The parameter of the page size.
        size_param: Option<String>,
        /// Rows asked for.
        size: u64,
    },
    /// A pointer taken from the answer, sent in a parameter or by the plan's own templates (`page.cursor`).
    Cursor {
        /// The pointer; null, "" and false end the loop.
        value: Expr,
        /// The parameter that carries it.
        param: Option<String>,
    },
    /// A url taken from the answer.
    NextUrl {
        /// The url; null, "" and false end the loop.
        value: Expr,
    },
    /// The `Link` header's `rel=next` (RFC 8288).
    LinkHeader,
}

/// Row counts that end a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopOn {
    /// A page without rows.
    pub empty: bool,
    /// A page with fewer rows than were asked for.
    pub short: bool,
}

/// What the same request or pointer twice means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRepeat {
    /// The run fails with `LOOP_DETECTED`.
    Fail,
    /// The loop ends.
    Stop,
    /// Nothing.
    Allow,
}
