//! Fuzz targets that run with every test, for a bounded time: whatever a document, a template or an expression looks like, it
//! is taken or refused with faults that lead somewhere, and what was taken runs within its budget.

mod documents;
mod expressions;
mod templates;
