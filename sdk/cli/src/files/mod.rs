//! Files that people write: where a JSON pointer stands in them, and how a fault in them is shown.

pub(crate) mod document;
pub(crate) mod locate;
pub(crate) mod report;
