//! Templates, and the request that they make together.

mod error;
mod request;

pub use error::{RenderError, RenderErrorCode};
pub use request::{Method, Overrides, RenderedRequest, RequestTemplate};

use crate::Expr;

/// Text with expressions in it, split once.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(String),
    Expr { expr: Expr, raw: bool },
}
