//! The request of a step: its templates, and the rendered result.
//!
//! This module neither sends a request nor adds credentials.

use std::fmt;

use url::Url;

use super::body::BodyTemplate;
use super::error::{RenderError, RenderErrorCode};
use super::json::JsonTemplate;
use super::params::{self, ParamTemplate};
use super::text::Template;
use crate::{EvalEnv, ReadPaths, Scope};

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
    /// Returns the method as an HTTP request contains it.
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
    /// Paths that its templates read. A checkpoint carries their values to the next page.
    pub(crate) reads: ReadPaths,
    pub(crate) method: Method,
    pub(crate) url: Template,
    pub(crate) headers: Vec<HeaderTemplate>,
    pub(crate) params: Vec<ParamTemplate>,
    pub(crate) body: Option<BodyTemplate>,
}

/// One header. Its value is text, a number, a boolean or null.
#[derive(Clone, Debug)]
pub(crate) struct HeaderTemplate {
    /// Name in lower case.
    pub(crate) name: String,
    pub(crate) value: JsonTemplate,
    pub(crate) pointer: String,
}

/// The parts of a request that pagination changes.
#[derive(Clone, Debug, Default)]
pub struct PaginationOverrides<'a> {
    /// Url that replaces the plan's url and all parameters (`next_url`, `link_header`).
    pub url: Option<&'a str>,
    /// Parameters that follow the plan's own, such as those of `cursor` with a `param`.
    pub params: &'a [(String, String)],
    /// Names of the parameters, out of both, that `url` gets if it lacks them.
    pub keep_params: &'a [String],
    /// Url against which a relative one is resolved, in the steps of an async job.
    pub base: Option<&'a Url>,
    /// Url that this template rendered to before. Only the query is parsed again if all before it
    /// is equal.
    pub previous_url: Option<&'a Url>,
}

/// A request that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedRequest {
    /// HTTP method.
    pub method: Method,
    /// Absolute `http` or `https` url with its query.
    pub url: Url,
    /// True if a value that an upstream has sent decides about the url's scheme, host or port.
    pub host_is_from_answer: bool,
    /// Headers in order; names are in lower case and unique.
    pub headers: Vec<(String, String)>,
    /// Body, if there is one. `headers` contains its `content-type`.
    pub body: Option<bytes::Bytes>,
}

impl RequestTemplate {
    /// Returns the paths of the scope that the templates read.
    #[must_use]
    pub fn reads(&self) -> &ReadPaths {
        &self.reads
    }

    /// Returns the method, which needs no rendering.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns all templates of the request.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        let mut templates = self.url_templates();
        self.headers.iter().for_each(|header| header.value.templates(&mut templates));
        self.body.iter().for_each(|body| body.content.templates(&mut templates));
        templates
    }

    /// Returns the templates of the url and of the parameters.
    pub(crate) fn url_templates(&self) -> Vec<&Template> {
        let mut templates = vec![&self.url];
        self.params.iter().for_each(|param| param.value.templates(&mut templates));
        templates
    }

    /// Renders the request.
    ///
    /// # Errors
    /// Fails with the first template that cannot be rendered, in the order url, params, headers,
    /// body.
    pub fn render(&self, scope: &Scope, env: &EvalEnv) -> Result<RenderedRequest, RenderError> {
        self.render_with(scope, env, &PaginationOverrides::default())
    }

    /// Renders the request of a further page.
    ///
    /// # Errors
    /// Fails as [`RequestTemplate::render`] does.
    pub fn render_with(
        &self,
        scope: &Scope,
        env: &EvalEnv,
        overrides: &PaginationOverrides<'_>,
    ) -> Result<RenderedRequest, RenderError> {
        let (url, host_is_from_answer) = match overrides.url {
            Some(url) => (self.next_url(url, scope, env, overrides)?, true),
            None => self.url(scope, env, overrides)?,
        };
        let mut headers = Vec::with_capacity(self.headers.len() + 1);
        for header in &self.headers {
            if let Some(value) = header.render(scope, env)? {
                headers.push((header.name.clone(), value));
            }
        }
        let mut bytes = None;
        if let Some(body) = &self.body {
            let content_type =
                headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
            // The rendered header decides the form of the body, so headers come first.
            if let Some(body) = body.render(content_type, scope, env)? {
                if content_type.is_none() {
                    headers.push(("content-type".to_owned(), body.content_type.to_owned()));
                }
                bytes = Some(body.bytes);
            }
        }
        Ok(RenderedRequest { method: self.method, url, host_is_from_answer, headers, body: bytes })
    }

    fn url(
        &self,
        scope: &Scope,
        env: &EvalEnv,
        overrides: &PaginationOverrides<'_>,
    ) -> Result<(Url, bool), RenderError> {
        let rendered = self.url.url_text(scope, env)?;
        rendered.check_segments(self.url.pointer())?;
        let previous = overrides.previous_url.and_then(|previous| with_query_of(previous, &rendered.text));
        let mut url = match (previous, overrides.base) {
            (Some(url), _) => url,
            (None, Some(base)) => self.resolve_url(&rendered.text, base)?,
            (None, None) => self.parse_url(&rendered.text)?,
        };
        let own = params::render(&self.params, scope, env)?;
        append_query(&mut url, own.iter().chain(overrides.params));
        Ok((url, rendered.host_is_from_answer()))
    }

    /// Returns whether the url can be a relative one.
    #[must_use]
    pub fn may_be_relative(&self) -> bool {
        match self.url.literal_start() {
            Some(start) => !start.contains("://"),
            None => self.host_reads().includes_answers(),
        }
    }

    /// Returns the paths that decide about the scheme, host and port of the url.
    #[must_use]
    pub fn host_reads(&self) -> ReadPaths {
        let mut reads = ReadPaths::new();
        self.url.host_exprs().for_each(|expr| reads.extend(expr.reads()));
        reads
    }

    /// Renders scheme, credentials, host and port of the url; `None` if they cannot be rendered
    /// with this scope.
    #[must_use]
    pub fn origin_url(&self, scope: &Scope, env: &EvalEnv) -> Option<Url> {
        let mut url = self.parse_url(&self.url.url_start(scope, env).ok()?).ok()?;
        url.set_path("");
        url.set_query(None);
        Some(url)
    }

    /// Parses the url of a next page, and adds the parameters to keep that it lacks.
    fn next_url(
        &self,
        url: &str,
        scope: &Scope,
        env: &EvalEnv,
        overrides: &PaginationOverrides<'_>,
    ) -> Result<Url, RenderError> {
        let mut url = self.parse_url(url)?;
        let keep = overrides.keep_params;
        if keep.is_empty() {
            return Ok(url);
        }
        let lacking: Vec<&String> =
            keep.iter().filter(|kept| !url.query_pairs().any(|(name, _)| name == kept.as_str())).collect();
        let is_lacking = |name: &String| lacking.contains(&name);
        let own = self.params.iter().filter(|param| is_lacking(&param.name));
        let own = params::render(own, scope, env)?;
        append_query(
            &mut url,
            own.iter().chain(overrides.params.iter().filter(|(name, _)| is_lacking(name))),
        );
        Ok(url)
    }

    /// Parses a url that may be relative to `base`.
    fn resolve_url(&self, text: &str, base: &Url) -> Result<Url, RenderError> {
        if text.is_empty() {
            let message = "the rendered url is empty";
            return Err(RenderError::new(RenderErrorCode::InvalidUrl, self.url.pointer(), message));
        }
        match base.join(text) {
            Ok(url) => self.parse_url(url.as_str()),
            Err(_) => self.parse_url(text),
        }
    }

    /// Parses an absolute `http` or `https` url and drops its fragment. Errors do not contain the
    /// text, because templates can insert secrets into it.
    fn parse_url(&self, text: &str) -> Result<Url, RenderError> {
        let invalid =
            |message: String| RenderError::new(RenderErrorCode::InvalidUrl, self.url.pointer(), message);
        let mut url = Url::parse(text)
            .map_err(|error| invalid(format!("the rendered url is not absolute: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(invalid(format!("the rendered url is neither http nor https, but {}", url.scheme())));
        }
        // A fragment is never sent (RFC 9110, 7.1), and would make equal requests look different.
        url.set_fragment(None);
        Ok(url)
    }
}

/// Adds parameters behind the query of a url, which stays unchanged in front of them.
fn append_query<'p>(url: &mut Url, params: impl Iterator<Item = &'p (String, String)>) {
    let added = params::query(params.map(|(name, value)| (name.as_str(), value.as_str())));
    if added.is_empty() {
        return;
    }
    let query = match url.query() {
        Some(query) if !query.is_empty() => format!("{query}&{added}"),
        _ => added,
    };
    url.set_query(Some(&query));
}

/// Replaces only the query, if the text equals a known url up to its query. The pages of one list
/// usually differ in nothing else, and parsing a url is slow.
fn with_query_of(known: &Url, text: &str) -> Option<Url> {
    let (base, query) = text.split_once('?')?;
    let same = known.as_str().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('?'));
    // Characters that a parser would trim, encode or cut off are left to the parser.
    if !same || !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return None;
    }
    let mut url = known.clone();
    url.set_query(Some(query));
    Some(url)
}

impl HeaderTemplate {
    /// Renders the value, or returns `None` if it is null.
    fn render(&self, scope: &Scope, env: &EvalEnv) -> Result<Option<String>, RenderError> {
        let value = self.value.render(scope, env)?;
        if value.is_null() {
            return Ok(None);
        }
        let text = value.to_text().ok_or_else(|| {
            let kind = value.json_type();
            let message = format!("header {} is of type {kind}, which has no text", self.name);
            RenderError::new(RenderErrorCode::TemplateType, &self.pointer, message)
        })?;
        // CR and LF would let a value inject further headers.
        if text.chars().any(|char| char.is_control() && char != '\t') {
            let message = format!("header {} holds a control character", self.name);
            return Err(RenderError::new(RenderErrorCode::InvalidHeader, &self.pointer, message));
        }
        Ok(Some(text))
    }
}
