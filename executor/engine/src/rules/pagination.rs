//! Pagination: decides which page follows, and what its request adds to the step's own.
//!
//! The input is the rules, the page that was requested, and its response. The output is a
//! [`NextPage`]; nothing is sent here.

use orchid_plan::{JsonType, Pagination, PaginationKind, ResolveUrlError, Value, find_link, resolve_url};
use url::Url;

use crate::checkpoint::loop_parts::PageTarget;

/// The page that pagination asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextPage {
    Fetch(PageTarget),
    End {
        /// The loop would have continued without `stop_on`.
        by_stop_on: bool,
    },
}

/// The parts of a response that pagination reads.
pub(crate) struct PageResult<'a> {
    /// Number of rows; `None` if the response was ignored.
    pub(crate) rows: Option<u64>,
    /// The result of `value`, for `cursor` and `next_url`.
    pub(crate) value: Value,
    /// All `Link` headers, joined by commas.
    pub(crate) link: Option<&'a str>,
    /// URL of the request.
    pub(crate) sent_url: &'a str,
}

/// A response that names no valid next page. The texts end in messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PageTargetError {
    #[error(
        "the cursor is of type {0}: use a text or number in it, or json_stringify(…) with \
         json_parse(page.cursor) in the request if the API takes it back as a whole"
    )]
    CursorType(JsonType),
    #[error("the next url is of type {0}: use the text in it")]
    UrlType(JsonType),
    #[error("the next url is no text, but {0}")]
    NotText(JsonType),
    #[error("the next url does not resolve: {0}")]
    Url(#[from] ResolveUrlError),
    #[error("{0}")]
    Link(#[from] orchid_plan::LinkHeaderError),
}

/// Decides what follows the page `sent`.
///
/// # Errors
/// Fails if the response names an invalid next page.
pub(crate) fn next(
    paginate: &Pagination,
    sent: &PageTarget,
    result: &PageResult<'_>,
) -> Result<NextPage, PageTargetError> {
    match without_stop_on(paginate, sent, result) {
        // An invalid next page does not matter if `stop_on` ends the loop here anyway.
        Ok(NextPage::Fetch(_)) | Err(_) if stop_on_applies(paginate, result) => {
            Ok(NextPage::End { by_stop_on: true })
        }
        next => next,
    }
}

fn without_stop_on(
    paginate: &Pagination,
    sent: &PageTarget,
    result: &PageResult<'_>,
) -> Result<NextPage, PageTargetError> {
    match &paginate.kind {
        PaginationKind::Page { start, .. } => {
            let number = match sent {
                PageTarget::Page(number) => *number,
                PageTarget::First | PageTarget::Offset(_) | PageTarget::Cursor(_) | PageTarget::Url(_) => {
                    *start
                }
            };
            Ok(counted(result, |_| PageTarget::Page(number.saturating_add(1))))
        }
        PaginationKind::Offset { start, .. } => {
            let offset = match sent {
                PageTarget::Offset(offset) => *offset,
                PageTarget::First | PageTarget::Page(_) | PageTarget::Cursor(_) | PageTarget::Url(_) => {
                    *start
                }
            };
            Ok(counted(result, |rows| PageTarget::Offset(offset.saturating_add(rows))))
        }
        PaginationKind::Cursor { .. } | PaginationKind::NextUrl { .. } if is_missing(&result.value) => {
            Ok(NextPage::End { by_stop_on: false })
        }
        PaginationKind::Cursor { .. } if is_composite(&result.value) => {
            Err(PageTargetError::CursorType(result.value.json_type()))
        }
        PaginationKind::NextUrl { .. } if is_composite(&result.value) => {
            Err(PageTargetError::UrlType(result.value.json_type()))
        }
        PaginationKind::Cursor { .. } => Ok(NextPage::Fetch(PageTarget::Cursor(
            String::from_utf8_lossy(&result.value.to_json()).into_owned(),
        ))),
        PaginationKind::NextUrl { .. } => {
            let url =
                result.value.as_str().ok_or_else(|| PageTargetError::NotText(result.value.json_type()))?;
            Ok(NextPage::Fetch(PageTarget::Url(next_url(result.sent_url, url)?)))
        }
        PaginationKind::LinkHeader => {
            let Some(target) = result.link.map(|link| find_link(link, "next")).transpose()?.flatten() else {
                return Ok(NextPage::End { by_stop_on: false });
            };
            Ok(NextPage::Fetch(PageTarget::Url(next_url(result.sent_url, target)?)))
        }
    }
}

/// Resolves the URL of a next page, without credentials: those in the plan's URL must not end in a
/// checkpoint, and the upstream must not choose any.
fn next_url(sent_url: &str, url: &str) -> Result<String, ResolveUrlError> {
    let resolved = resolve_url(sent_url, url)?;
    match Url::parse(&resolved) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            // Both calls fail only for URLs without a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            Ok(url.into())
        }
        Ok(_) | Err(_) => Ok(resolved),
    }
}

/// `page` and `offset` end at a page without rows. An ignored page counts as one without rows: a
/// page that is always missing would otherwise be requested for ever.
fn counted(result: &PageResult<'_>, target: impl FnOnce(u64) -> PageTarget) -> NextPage {
    match result.rows {
        Some(rows) if rows > 0 => NextPage::Fetch(target(rows)),
        Some(_) | None => NextPage::End { by_stop_on: false },
    }
}

fn stop_on_applies(paginate: &Pagination, result: &PageResult<'_>) -> bool {
    let Some(rows) = result.rows else { return false };
    // Only these kinds know how many rows a full page has.
    let asked = match &paginate.kind {
        PaginationKind::Page { size, .. } => *size,
        PaginationKind::Offset { size, .. } => Some(*size),
        PaginationKind::Cursor { .. } | PaginationKind::NextUrl { .. } | PaginationKind::LinkHeader => None,
    };
    (paginate.stop_on.empty && rows == 0) || (paginate.stop_on.short && asked.is_some_and(|size| rows < size))
}

/// Returns whether a value means that there is no next page: null, "" and false do.
fn is_missing(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("") || value.as_bool() == Some(false)
}

fn is_composite(value: &Value) -> bool {
    matches!(value.json_type(), JsonType::Object | JsonType::List)
}

/// Returns the parameters that pagination adds to the request of a page.
pub(crate) fn params(kind: &PaginationKind, sent: &PageTarget) -> Vec<(String, String)> {
    let mut params = Vec::new();
    match kind {
        PaginationKind::Page { param, start, size_param, size } => {
            let number = if let PageTarget::Page(number) = sent { *number } else { *start };
            params.extend(param.clone().map(|param| (param, number.to_string())));
            if let (Some(name), Some(size)) = (size_param, size) {
                params.push((name.clone(), size.to_string()));
            }
        }
        PaginationKind::Offset { param, start, size_param, size } => {
            let offset = if let PageTarget::Offset(offset) = sent { *offset } else { *start };
            params.extend(param.clone().map(|param| (param, offset.to_string())));
            if let Some(name) = size_param {
                params.push((name.clone(), size.to_string()));
            }
        }
        PaginationKind::Cursor { param: Some(param), .. } => {
            if let Some(text) = cursor_value(sent).and_then(|value| value.to_text()) {
                params.push((param.clone(), text));
            }
        }
        PaginationKind::Cursor { param: None, .. }
        | PaginationKind::NextUrl { .. }
        | PaginationKind::LinkHeader => {}
    }
    params
}

fn cursor_value(target: &PageTarget) -> Option<Value> {
    match target {
        PageTarget::Cursor(json) => Value::parse(json.as_bytes()).ok(),
        PageTarget::First | PageTarget::Page(_) | PageTarget::Offset(_) | PageTarget::Url(_) => None,
    }
}

/// Returns the variable `page` of a request: `{number, offset, cursor, url}`. `index` is the number
/// of the page in its loop.
pub(crate) fn page_variable(paginate: Option<&Pagination>, sent: &PageTarget, index: u64) -> Value {
    let mut number = index;
    let mut offset = Value::null();
    match paginate.map(|paginate| &paginate.kind) {
        Some(PaginationKind::Page { start, .. }) => {
            number = if let PageTarget::Page(number) = sent { *number } else { *start };
        }
        Some(PaginationKind::Offset { start, .. }) => {
            offset = Value::from(if let PageTarget::Offset(offset) = sent { *offset } else { *start });
        }
        Some(PaginationKind::Cursor { .. } | PaginationKind::NextUrl { .. } | PaginationKind::LinkHeader)
        | None => {}
    }
    let url = if let PageTarget::Url(url) = sent { Value::from(url.as_str()) } else { Value::null() };
    Value::object([
        ("number", Value::from(number)),
        ("offset", offset),
        ("cursor", Value::from(cursor_value(sent))),
        ("url", url),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchid_plan::{OnRepeat, StopOn};

    fn paginate(kind: PaginationKind, stop_on: StopOn) -> Pagination {
        Pagination {
            kind,
            stop_on,
            on_repeat: OnRepeat::Fail,
            keep_params: Vec::new(),
            pointer: "/definition/step/paginate".to_owned(),
        }
    }

    fn result(rows: u64) -> PageResult<'static> {
        PageResult { rows: Some(rows), value: Value::null(), link: None, sent_url: "https://h/a/b?x=1" }
    }

    fn page() -> PaginationKind {
        PaginationKind::Page {
            param: Some("page".into()),
            start: 1,
            size_param: Some("per".into()),
            size: Some(10),
        }
    }

    #[test]
    fn page_numbers_rise_until_a_page_is_empty() {
        let rules = paginate(page(), StopOn::default());
        assert_eq!(
            next(&rules, &PageTarget::First, &result(3)).unwrap(),
            NextPage::Fetch(PageTarget::Page(2))
        );
        assert_eq!(
            next(&rules, &PageTarget::Page(2), &result(3)).unwrap(),
            NextPage::Fetch(PageTarget::Page(3))
        );
        assert_eq!(
            next(&rules, &PageTarget::Page(3), &result(0)).unwrap(),
            NextPage::End { by_stop_on: false }
        );
        assert_eq!(
            params(&rules.kind, &PageTarget::Page(3)),
            [("page".into(), "3".into()), ("per".into(), "10".into())]
        );
    }

    #[test]
    fn short_page_ends_loop_only_with_stop_on() {
        let rules = paginate(page(), StopOn { empty: false, short: true });
        assert_eq!(next(&rules, &PageTarget::First, &result(9)).unwrap(), NextPage::End { by_stop_on: true });
        assert_eq!(
            next(&rules, &PageTarget::First, &result(10)).unwrap(),
            NextPage::Fetch(PageTarget::Page(2))
        );
    }

    #[test]
    fn offset_rises_by_received_rows() {
        let rules = paginate(
            PaginationKind::Offset { param: Some("skip".into()), start: 0, size_param: None, size: 50 },
            StopOn::default(),
        );
        assert_eq!(
            next(&rules, &PageTarget::First, &result(7)).unwrap(),
            NextPage::Fetch(PageTarget::Offset(7))
        );
        assert_eq!(
            next(&rules, &PageTarget::Offset(7), &result(50)).unwrap(),
            NextPage::Fetch(PageTarget::Offset(57))
        );
        assert_eq!(params(&rules.kind, &PageTarget::First), [("skip".to_owned(), "0".to_owned())]);
    }

    #[test]
    fn null_param_is_not_sent_and_offset_begins_at_start() {
        let kind = PaginationKind::Offset { param: None, start: 1, size_param: Some("n".into()), size: 5 };
        assert_eq!(params(&kind, &PageTarget::First), [("n".into(), "5".into())]);
        let rules = paginate(kind, StopOn::default());
        assert_eq!(
            next(&rules, &PageTarget::First, &result(3)).unwrap(),
            NextPage::Fetch(PageTarget::Offset(4))
        );
        let page = page_variable(Some(&rules), &PageTarget::First, 0);
        assert_eq!(page.to_json(), br#"{"cursor":null,"number":0,"offset":1,"url":null}"#);
    }

    #[test]
    fn next_link_is_resolved_against_request() {
        let rules = paginate(PaginationKind::LinkHeader, StopOn::default());
        let with = |link: &'static str| PageResult { link: Some(link), ..result(0) };
        assert_eq!(
            next(&rules, &PageTarget::First, &with("<?x=2>; rel=next")).unwrap(),
            NextPage::Fetch(PageTarget::Url("https://h/a/b?x=2".into()))
        );
        assert_eq!(
            next(&rules, &PageTarget::First, &with("<?x=0>; rel=prev")).unwrap(),
            NextPage::End { by_stop_on: false }
        );
        assert_eq!(
            next(&rules, &PageTarget::First, &result(5)).unwrap(),
            NextPage::End { by_stop_on: false }
        );
        assert!(next(&rules, &PageTarget::First, &with("x=2")).is_err());
    }

    #[test]
    fn zero_is_a_cursor_but_null_false_and_empty_are_not() {
        let missing = [Value::null(), Value::from(""), Value::from(false)];
        assert!(missing.iter().all(is_missing));
        assert!(!is_missing(&Value::from(0_i64)));
    }
}
