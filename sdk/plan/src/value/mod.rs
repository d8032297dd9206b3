//! JSON values: parsing, writing, and rows that stay unparsed.

mod json_value;
mod parse;
mod raw;
mod write;

pub use json_value::{JsonType, Value};
pub use parse::{PathSelection, ValueError};
pub use raw::{PathSegment, PlainPath, RawRows, RawRowsError};

pub(crate) use json_value::json_type_of;
pub(crate) use write::SerializedVariable;
