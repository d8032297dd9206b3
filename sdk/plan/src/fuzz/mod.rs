//! Fuzz targets that run with every test, for a bounded time.
//!
//! Any document, template or expression is either accepted and runs within its budget, or refused
//! with diagnostics that point into it.

mod documents;
mod expressions;
mod templates;
