//! Decides whether another page follows.

use orchid_plan::{Expr, OnRepeat, PaginationKind, Value};
use url::Url;

use crate::checkpoint::loop_parts::PageTarget;
use crate::error::ErrorClass;
use crate::message::exchange::SentRequest;
use crate::rules::pagination::{self, NextPage, PageResult, PageTargetError};
use crate::rules::repeat_guard::{RepeatGuard, fingerprint};
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::step_env::StepEnv;
use crate::step::evaluator::ResponseEvaluator;
use crate::step::position::LoopPosition;
use crate::step::request;

/// Continuation of a loop after a page.
pub(crate) struct Continuation {
    pub(crate) next: NextPage,
    /// `break_when` ended the loop although there was another page, or may have been.
    pub(crate) cut_off: bool,
}

impl Continuation {
    fn to(next: NextPage) -> Self {
        Self { next, cut_off: false }
    }

    fn end(cut_off: bool) -> Self {
        Self { next: NextPage::End { by_stop_on: false }, cut_off }
    }
}

/// Consequence of a repeat that is not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepeatAction {
    Stop,
    Continue,
}

/// Decides what follows a page with `rows` rows. `home` is the step's own URL.
///
/// # Errors
/// Fails if an expression fails, the next page's URL is invalid or not permitted, or the loop
/// repeats itself.
pub(crate) fn after_page(
    page: &ResponseEvaluator<'_>,
    guard: &RepeatGuard,
    home: Option<&Url>,
    rows: Option<u64>,
) -> Result<Continuation, StepExit> {
    let rules = page.position.step();
    if !rules.loops() {
        return Ok(Continuation::end(false));
    }
    let condition = |expr: &Option<Expr>, field: &str| match expr {
        None => Ok(None),
        Some(expr) => {
            page.eval(expr, || format!("{}/{field}", rules.pointer)).map(|value| Some(value.truthy()))
        }
    };
    // Both are evaluated before pagination, so that an error in one of them is always reported.
    let breaks = condition(&rules.break_when, "break_when")?.unwrap_or(false);
    let continues = condition(&rules.while_expr, "while")?.unwrap_or(true);
    let Some(paginate) = &rules.paginate else {
        return Ok(if continues && !breaks {
            Continuation::to(NextPage::Fetch(PageTarget::First))
        } else {
            Continuation::end(breaks && continues)
        });
    };
    let value = match &paginate.kind {
        PaginationKind::Cursor { value, .. } | PaginationKind::NextUrl { value } => {
            page.eval(value, || format!("{}/value", paginate.pointer))?
        }
        PaginationKind::Page { .. } | PaginationKind::Offset { .. } | PaginationKind::LinkHeader => {
            Value::null()
        }
    };
    let (sent, response) = (&page.exchange.sent, &page.exchange.response);
    let result = PageResult { rows, value, link: response.link.as_deref(), sent_url: sent.url.as_str() };
    let next = pagination::next(paginate, &page.position.target, &result);
    if !continues {
        // `while` describes the end of the list: nothing is missing, whatever pagination would do.
        return Ok(Continuation::end(false));
    }
    if breaks {
        // Unless pagination ends here too, rows may be missing: there was another page, or it
        // cannot be known.
        return Ok(Continuation::end(!matches!(next, Ok(NextPage::End { .. }))));
    }
    match next {
        Ok(NextPage::Fetch(target)) => follow(page, guard, home, target).map(Continuation::to),
        Ok(end) => Ok(Continuation::to(end)),
        Err(error) => {
            let (class, code, pointer) = match error {
                PageTargetError::CursorType(_) | PageTargetError::UrlType(_) => {
                    (ErrorClass::Config, "CURSOR_TYPE", format!("{}/value", paginate.pointer))
                }
                PageTargetError::NotText(_) | PageTargetError::Url(_) | PageTargetError::Link(_) => {
                    (ErrorClass::Permanent, "INVALID_NEXT_URL", paginate.pointer.clone())
                }
            };
            Err(page.error(ErrorDetail { class, code, pointer, message: error.to_string() }))
        }
    }
}

/// Returns the next page, unless the loop had it before or may not go there.
fn follow(
    page: &ResponseEvaluator<'_>,
    guard: &RepeatGuard,
    home: Option<&Url>,
    target: PageTarget,
) -> Result<NextPage, StepExit> {
    let sent = &page.exchange.sent;
    match &target {
        // The same cursor again means the same page again: the upstream's pagination is broken, or
        // the plan reads the wrong member.
        PageTarget::Cursor(json) if guard.contains(cursor_fingerprint(json)) => {
            match on_repeat(page.run, page.env, page.position, "the same cursor", &sent.facts)? {
                RepeatAction::Stop => Ok(NextPage::End { by_stop_on: true }),
                RepeatAction::Continue => Ok(NextPage::Fetch(target)),
            }
        }
        PageTarget::Url(url) => {
            let refusal = match Url::parse(url) {
                Ok(next) => request::check_url(page.run, home.unwrap_or(&sent.url), &sent.url, &next)
                    .err()
                    .map(|refusal| refusal.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let Some(refusal) = refusal else { return Ok(NextPage::Fetch(target)) };
            let pointer = page.position.step().paginate.as_ref().map(|paginate| paginate.pointer.clone());
            let message = format!("the next page is refused: {refusal}");
            Err(page.error(ErrorDetail::host(pointer.unwrap_or_default(), message)))
        }
        PageTarget::First | PageTarget::Page(_) | PageTarget::Offset(_) | PageTarget::Cursor(_) => {
            Ok(NextPage::Fetch(target))
        }
    }
}

/// Returns the fingerprint by which the repeat guard recognizes a cursor of the upstream.
pub(crate) fn cursor_fingerprint(json: &str) -> u64 {
    fingerprint(&[b"pointer", json.as_bytes()])
}

/// Checks whether the loop may end at a page that has the answer of the page before it.
///
/// # Errors
/// Fails if the plan does not permit repeats.
pub(crate) fn stop_at_repeated_answer(page: &ResponseEvaluator<'_>) -> Result<(), StepExit> {
    let Some(paginate) = &page.position.step().paginate else { return Ok(()) };
    match paginate.on_repeat {
        OnRepeat::Allow | OnRepeat::Stop => Ok(()),
        OnRepeat::Fail => {
            let message = "the page has the same body as the page before it; on_repeat \"stop\" ends the \
                           loop there, and \"allow\" accepts equal pages"
                .to_owned();
            let (class, pointer) = (ErrorClass::Permanent, paginate.pointer.clone());
            Err(page.error(ErrorDetail { class, code: "LOOP_DETECTED", pointer, message }))
        }
    }
}

/// Decides what a repeat means by the step's `on_repeat`. `subject` is what was repeated.
///
/// # Errors
/// Fails if the plan does not permit repeats.
pub(crate) fn on_repeat(
    run: &ExecutionState,
    env: &StepEnv,
    position: &LoopPosition,
    subject: &str,
    sent: &SentRequest,
) -> Result<RepeatAction, StepExit> {
    let Some(paginate) = &position.step().paginate else { return Ok(RepeatAction::Continue) };
    match paginate.on_repeat {
        OnRepeat::Allow => Ok(RepeatAction::Continue),
        OnRepeat::Stop => Ok(RepeatAction::Stop),
        OnRepeat::Fail => {
            let pages = position.page_in_slice();
            let detail = ErrorDetail {
                class: ErrorClass::Permanent,
                code: "LOOP_DETECTED",
                pointer: paginate.pointer.clone(),
                message: format!("the loop came to {subject} a second time after {pages} passes"),
            };
            let context = ErrorContext { sent: Some(sent), ..ErrorContext::default() };
            Err(StepError::new(&run.redactor, position.location(env), detail, context).into())
        }
    }
}
