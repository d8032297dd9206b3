//! Builds the request of a page from the step's template, and checks where it leads.

use orchid_plan::{EvalEnv, PaginationOverrides, RenderedRequest, RequestTemplate, Scope};
use url::{Position, Url};

use crate::checkpoint::loop_parts::PageTarget;
use crate::message::exchange::SentRequest;
use crate::message::redact::Redactor;
use crate::program::node::StepNode;
use crate::request::{HostRefusal, RedirectPolicy, Request};
use crate::rules::pagination;
use crate::rules::repeat_guard::fingerprint;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::step_env::StepEnv;
use crate::step::position::LoopPosition;
use crate::step::url_homes;

/// Renders the request of a page. `home` is the step's own URL, or its origin out of a checkpoint;
/// `base` the one against which a relative URL is resolved.
///
/// # Errors
/// Fails if an expression of the template fails, or its result cannot be put into a request.
pub(crate) fn render(
    template: &RequestTemplate,
    position: &LoopPosition,
    home: Option<&Url>,
    base: Option<&Url>,
    scope: &Scope,
    eval: &EvalEnv,
) -> Result<RenderedRequest, ErrorDetail> {
    let params = added_params(position);
    // The response has named the whole URL of the page.
    let url = if let PageTarget::Url(url) = &position.target { Some(url.as_str()) } else { None };
    let keep_params = url.map_or(&[][..], |url| kept_params(position, home, url));
    let overrides = PaginationOverrides { url, params: &params, keep_params, base, previous_url: home };
    let mut rendered = template.render_with(scope, eval, &overrides).map_err(ErrorDetail::rendering)?;
    if url.is_some() {
        copy_credentials(&mut rendered.url, template.origin_url(scope, eval));
    }
    Ok(rendered)
}

/// Returns the URL against which a relative one is resolved, in a step of an async job: that of the
/// job's submit, with the credentials of the plan's own URL.
pub(crate) fn base_url(
    run: &ExecutionState,
    node: &StepNode,
    env: &StepEnv,
    scope: &Scope,
    eval: &EvalEnv,
) -> Option<Url> {
    let mut base = Url::clone(env.base_url.as_deref()?);
    let job = node.outer.and_then(|index| run.program.nodes.get(index)).and_then(|outer| outer.job.as_ref());
    let own = job.and_then(|job| job.submit.step.request()?.origin_url(scope, eval));
    copy_credentials(&mut base, own);
    Some(base)
}

/// Sets the credentials of the plan's own URL on one of the same origin. The upstream does not know
/// them.
fn copy_credentials(url: &mut Url, own: Option<Url>) {
    if let Some(own) = own.filter(|own| own.origin() == url.origin()) {
        // Both calls fail only for URLs without a host.
        let _ = url.set_username(own.username());
        let _ = url.set_password(own.password());
    }
}

/// Returns the names of the step's parameters that a next URL keeps: those of `keep_params`, as
/// long as it stays on the origin that they were written for.
fn kept_params<'a>(position: &'a LoopPosition, home: Option<&Url>, next: &str) -> &'a [String] {
    let names = position.step().paginate.as_ref().map_or(&[][..], |paginate| &paginate.keep_params);
    let stays = |home: &Url| Url::parse(next).is_ok_and(|next| next.origin() == home.origin());
    if !names.is_empty() && home.is_some_and(stays) { names } else { &[] }
}

/// Returns the parameters that window, cursor and pagination add to the step's own.
fn added_params(position: &LoopPosition) -> Vec<(String, String)> {
    let step = position.step();
    let mut params = Vec::new();
    if let (Some(window), Some(slice)) = (&step.window, position.slice) {
        params.extend(slice.params(window));
    }
    if let (Some(cursor), Some(watermark)) = (&step.cursor, &position.watermark)
        && let (Some(name), Some(text)) = (&cursor.param, watermark.start().to_text())
    {
        params.push((name.clone(), text));
    }
    if let Some(paginate) = &step.paginate {
        params.extend(pagination::params(&paginate.kind, &position.target));
    }
    params
}

/// Checks that a URL may be reached after `from`, by the rules for the step with this home.
///
/// # Errors
/// Fails if the config does not permit the host, or the scheme falls from https to http.
pub(crate) fn check_url(run: &ExecutionState, home: &Url, from: &Url, url: &Url) -> Result<(), HostRefusal> {
    RedirectPolicy::new(run.hosts(home)).check(from, url)
}

/// Checks the URL that a step's own template was rendered to. `own` is the URL of an earlier page.
///
/// # Errors
/// Fails if the config does not permit the host; if a response decides about the host, also if that
/// is not the host of the step that the URL came from, or its scheme falls from https to http.
fn check_rendered(
    run: &ExecutionState,
    env: &StepEnv,
    node: &StepNode,
    own: Option<&Url>,
    rendered: &RenderedRequest,
    eval: &EvalEnv,
) -> Result<(), HostRefusal> {
    let url = &rendered.url;
    if !rendered.host_is_from_answer || url_homes::is_from_config(run, node) {
        return check_url(run, url, url, url);
    }
    run.hosts(url).check_answer(url, &url_homes::of_answer_url(run, env, node, own, eval))
}

/// Refuses a URL that the config does not permit. The first permitted one becomes the step's home.
///
/// # Errors
/// Fails if the URL is not permitted.
pub(crate) fn settle_home(
    run: &ExecutionState,
    env: &StepEnv,
    position: &LoopPosition,
    home: &mut Option<Url>,
    rendered: &RenderedRequest,
    eval: &EvalEnv,
) -> Result<(), StepExit> {
    // The plan's own URL may change from page to page; a URL out of a response has to stay with the
    // plan's.
    let follows = matches!(position.target, PageTarget::Url(_));
    let (settled, permitted) = match home.take() {
        Some(home) if follows => {
            let permitted = check_url(run, &home, &home, &rendered.url);
            (home, permitted)
        }
        own => {
            let permitted = check_rendered(run, env, &position.node, own.as_ref(), rendered, eval);
            (rendered.url.clone(), permitted)
        }
    };
    // A refused host of the plan's own URL is not kept: it could be a secret, and end in a
    // checkpoint.
    *home = Some(settled).filter(|_| follows || permitted.is_ok());
    permitted.map_err(|refusal| {
        let detail = ErrorDetail::host(format!("{}/url", position.step().pointer), refusal.to_string());
        let facts = sent_request(rendered);
        let context = ErrorContext { sent: Some(&facts), ..ErrorContext::default() };
        StepError::new(&run.redactor, position.location(env), detail, context).into()
    })
}

/// Completes a rendered request with the rules that its sender enforces.
pub(crate) fn finish(
    run: &ExecutionState,
    position: &LoopPosition,
    home: Option<&Url>,
    rendered: RenderedRequest,
) -> Request {
    let rules = position.step();
    let home = home.unwrap_or(&rendered.url);
    Request {
        method: rendered.method.as_str(),
        redirects: RedirectPolicy::new(run.hosts(home)),
        label: url_label(&run.redactor, &rendered.url),
        url: rendered.url,
        headers: rendered.headers,
        body: rendered.body,
        timeout: rules.timeout,
        max_body_bytes: rules.response.max_bytes.min(run.limits.body_max_bytes),
        max_stream_bytes: rules.response.max_bytes,
        decompress: rules.response.decompress,
        archive_files: rules.response.archive.as_ref().map(|archive| archive.files.clone()),
        streaming: position.node.streaming,
    }
}

/// Returns a URL as logs, traces and heartbeats show it.
fn url_label(redactor: &Redactor, url: &Url) -> String {
    let host_and_path = &url[Position::BeforeHost..Position::AfterPath];
    redactor.url(&format!("{}://{host_and_path}", url.scheme()))
}

/// Returns the fingerprint by which the repeat guard recognizes a request.
pub(crate) fn request_fingerprint(rendered: &RenderedRequest) -> u64 {
    let body = rendered.body.as_deref().unwrap_or_default();
    fingerprint(&[b"request", rendered.method.as_str().as_bytes(), rendered.url.as_str().as_bytes(), body])
}

/// Returns the request as messages report it.
pub(crate) fn sent_request(rendered: &RenderedRequest) -> SentRequest {
    SentRequest {
        url: Some(rendered.url.to_string()),
        method: Some(rendered.method.as_str()),
        headers: rendered.headers.clone(),
        body: rendered.body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_shows_no_credentials() {
        let redactor = Redactor::default().with_secrets(&["hush-hush".to_owned()]);
        let cases = [
            ("https://a.test/x?key=k#f", "https://a.test/x"),
            ("https://u:p@a.test:8443/x@y", "https://a.test:8443/x@y"),
            ("https://hush-hush.a.test/v1/hush-hush", "https://[REDACTED].a.test/v1/[REDACTED]"),
        ];
        for (url, shown) in cases {
            assert_eq!(url_label(&redactor, &Url::parse(url).unwrap()), shown);
        }
    }
}
