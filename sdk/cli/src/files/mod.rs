//! Documents in files: parsing, locating a JSON pointer, and rendering diagnostics.

pub(crate) mod document;
pub(crate) mod locate;
pub(crate) mod report;
