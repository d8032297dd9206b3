//! The place of a page's rows in its body.

use orchid_plan::{PlainPath, RowSelector, Value};

/// The path of `iterate_over` below the body.
#[derive(Clone, Copy)]
pub(crate) struct RowPath<'a> {
    pub(crate) path: &'a PlainPath,
    /// True if the plan says that an absent list means no rows. Then values that count as false,
    /// such as `{}` and `""`, mean no rows too.
    pub(crate) may_be_absent: bool,
}

/// The path of a body that is the list of rows itself.
static WHOLE_BODY: PlainPath = PlainPath(Vec::new());

impl<'a> RowPath<'a> {
    /// Returns the path of the rows that a step selects, or of the whole body without one.
    pub(crate) fn of(rows: Option<&'a RowSelector>) -> Self {
        let path = rows.and_then(|rows| rows.plain.as_ref()).unwrap_or(&WHOLE_BODY);
        Self { path, may_be_absent: rows.is_some_and(|rows| rows.may_be_absent) }
    }

    /// Returns whether a value that is no list means no rows.
    pub(super) fn allows(&self, json: &[u8]) -> bool {
        means_none(self.may_be_absent, json)
    }
}

/// Returns whether a JSON value in place of the list means no rows.
pub(super) fn means_none(may_be_absent: bool, json: &[u8]) -> bool {
    may_be_absent && Value::parse(json).is_ok_and(|value| !value.truthy())
}
