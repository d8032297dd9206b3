//! Templates, and the request that they render together.
//!
//! Text with `{{ expression }}` in it is split and compiled with the plan. Rendering only evaluates
//! the expressions and joins the parts.

mod body;
mod error;
mod json;
mod params;
mod request;
mod split;
mod text;
mod url_text;

#[cfg(test)]
pub(crate) mod tests;

pub use error::{RenderError, RenderErrorCode};
pub use request::{Method, PaginationOverrides, RenderedRequest, RequestTemplate};
pub use text::Template;

pub(crate) use body::BodyTemplate;
pub(crate) use json::JsonTemplate;
pub(crate) use params::ParamTemplate;
pub(crate) use request::HeaderTemplate;
pub(crate) use url_text::literal_dots;
