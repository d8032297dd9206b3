//! Decodes rows from a body that arrives in pieces.
//!
//! Pieces may be cut anywhere. Rows come out one by one, each as JSON text. At most one row and one
//! piece are held in memory, and content outside the rows is validated although it is skipped.

mod array;
pub(super) mod csv;
mod lexer;
pub(super) mod lines;
pub(super) mod row_decoder;

pub(crate) use self::row_decoder::NextRow;
