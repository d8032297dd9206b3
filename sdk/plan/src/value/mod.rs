//! JSON values: parsing, writing, and rows that stay unparsed.

mod json_value;
mod number;
mod parse;
mod raw;
mod scan;
mod selection;
mod skip;
mod variable;
mod write;

pub use json_value::{JsonType, Value};
pub use raw::{PathSegment, PlainPath, RawMembers, RawRows, RawRowsError};
pub use scan::{JsonScanner, RawText, ValueError};
pub use selection::{PathSelection, ReadSegment};
pub use skip::NESTING_MAX;

pub(crate) use json_value::json_type_of;
pub(crate) use number::Number;
pub(crate) use variable::{Rcvar, Variable};
pub(crate) use write::append_bounded;
