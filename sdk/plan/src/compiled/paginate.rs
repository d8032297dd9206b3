//! Pagination: how the next page is found and requested.

use crate::Expr;

/// `paginate`.
#[derive(Clone, Debug)]
pub struct Pagination {
    /// Method of finding the next page.
    pub kind: PaginationKind,
    /// Further conditions that end the loop; they count rows.
    pub stop_on: StopOn,
    /// Reaction to the same request, cursor or answer twice.
    pub on_repeat: OnRepeat,
    /// Parameters of the step that are added to the next URLs of `next_url` and `link_header`, if
    /// those stay on the step's origin and lack them.
    pub keep_params: Vec<String>,
    /// JSON pointer of the object: `/definition/step/paginate`.
    pub pointer: String,
}

/// Method of finding the next page.
#[derive(Clone, Debug)]
pub enum PaginationKind {
    /// A page number in a parameter.
    Page {
        /// Name of the parameter with the page number; without one, the plan's own templates send
        /// it (`page.number`).
        param: Option<String>,
        /// Number of the first page.
        start: u64,
        /// Name of the parameter with the page size.
        size_param: Option<String>,
        /// Number of rows requested per page.
        size: Option<u64>,
    },
    /// A row offset in a parameter.
    Offset {
        /// Name of the parameter with the offset; without one, the plan's own templates send it
        /// (`page.offset`).
        param: Option<String>,
        /// Offset of the first page.
        start: u64,
        /// Name of the parameter with the page size.
        size_param: Option<String>,
        /// Number of rows requested per page.
        size: u64,
    },
    /// A cursor from the response, sent in a parameter or by the plan's own templates
    /// (`page.cursor`).
    Cursor {
        /// The cursor. Null, "" and false end the loop.
        value: Expr,
        /// Name of the parameter with the cursor.
        param: Option<String>,
    },
    /// A URL from the response.
    NextUrl {
        /// The URL. Null, "" and false end the loop.
        value: Expr,
    },
    /// The link with `rel=next` in the `Link` header (RFC 8288).
    LinkHeader,
}

/// Row counts that end a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopOn {
    /// A page without rows.
    pub empty: bool,
    /// A page with fewer rows than requested.
    pub short: bool,
}

/// Reaction to the same request, cursor or answer twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRepeat {
    /// The execution fails with `LOOP_DETECTED`.
    Fail,
    /// The loop ends.
    Stop,
    /// The loop goes on.
    Allow,
}
