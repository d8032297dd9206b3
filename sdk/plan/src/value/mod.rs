//! JSON values: parsing, writing, and rows that stay unparsed.

mod json_value;
mod number;
mod parse;
mod raw;
mod scan;
mod selection;
mod variable;
mod write;

pub use json_value::{JsonType, Value};
pub use raw::{PathSegment, PlainPath, RawMembers, RawRows, RawRowsError};
pub use scan::{JsonScanner, NESTING_MAX, RawText, ValueError};
pub use selection::PathSelection;

pub(crate) use json_value::json_type_of;
pub(crate) use number::Number;
pub(crate) use variable::{Rcvar, Variable};
pub(crate) use write::append_bounded;
