//! Observations about the responses of one step, from which warnings are made at the end of the
//! execution.

use serde::{Deserialize, Serialize};

/// Observations about the responses of one step so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathObservations {
    /// One entry for each watched expression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) paths: Vec<PathObservation>,
    /// Members of the first page's body, if later pages are compared with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) members: Vec<String>,
    /// A loop went beyond its first page.
    #[serde(rename = "pages", default, skip_serializing_if = "is_false")]
    pub(crate) several_pages: bool,
    /// A page had rows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) rows: bool,
    /// A page had rows before its filter, and none after it.
    #[serde(rename = "filtered", default, skip_serializing_if = "is_false")]
    pub(crate) all_filtered: bool,
    /// `stop_on` ended a loop that would have continued.
    #[serde(rename = "stopped", default, skip_serializing_if = "is_false")]
    pub(crate) stop_on_needed: bool,
    /// A loop ended without the help of `stop_on`.
    #[serde(rename = "ended", default, skip_serializing_if = "is_false")]
    pub(crate) ended_without_stop_on: bool,
    /// The sizes of pages, if the step reads a single page each time.
    #[serde(rename = "sizes", default, skip_serializing_if = "Option::is_none")]
    pub(crate) page_sizes: Option<PageSizes>,
}

/// Sizes of the pages of a step that reads a single page each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageSizes {
    /// Number of pages.
    pub(crate) pages: u64,
    /// Rows of the largest page.
    pub(crate) largest: u64,
    /// Number of pages with that many rows.
    pub(crate) of_largest: u64,
    /// The largest page had a usual size, and nothing said that it was the last one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) full: bool,
}

impl PageSizes {
    /// Adds a page; `full` says that its size is usual, and nothing says that it is the last one.
    pub(crate) fn add(&mut self, rows: u64, full: bool) {
        self.pages += 1;
        if rows > self.largest || self.of_largest == 0 {
            (self.largest, self.of_largest, self.full) = (rows, 1, full);
        } else if rows == self.largest {
            self.of_largest += 1;
            self.full &= full;
        }
    }

    /// Returns whether the API seems to cut pages off at the largest size.
    ///
    /// Among many pages, one may have a round number of rows by chance, but then others are larger.
    /// Only a limit makes the largest size a common one.
    pub(crate) fn cut_off(self) -> bool {
        self.full && (self.of_largest > 1 || self.pages <= 5)
    }
}

/// Observations about one expression.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathObservation {
    /// Some response had the member.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) found: bool,
    /// Point at which the path ended in the first response, if it did not lead to a member.
    #[serde(rename = "broke", default, skip_serializing_if = "Option::is_none")]
    pub(crate) broken: Option<BrokenPath>,
}

/// The point at which a path led no further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokenPath {
    /// Number of parts of the path that were found.
    pub(crate) depth: usize,
    /// Names of the members at that point.
    pub(crate) members: Vec<String>,
    /// Description of a value there that has no members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shape: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
fn is_false(value: &bool) -> bool {
    !*value
}
