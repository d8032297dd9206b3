//! Reads `conditional`, which revalidates the response of the last execution. It excludes loops,
//! which have several responses, and methods that cannot be conditional.

use super::context::ReadContext;
use super::object::ObjectReader;
use crate::{Method, RequestTemplate};

/// Fields that make a step read several responses.
const LOOP_FIELDS: &[&str] = &["while", "paginate", "window"];
/// Headers that `conditional` sets.
const VALIDATORS: &[&str] = &["if-none-match", "if-modified-since"];

pub(super) fn read(
    step: &ObjectReader<'_>,
    request: Option<&RequestTemplate>,
    context: &mut ReadContext<'_>,
) -> bool {
    if !step.boolean("conditional", context).unwrap_or(false) {
        return false;
    }
    let at = step.at("conditional");
    for field in LOOP_FIELDS.iter().filter(|field| step.has(field)) {
        context.conflict(
            &at,
            format!("conditional needs a single response, and {field} reads several: remove one"),
        );
    }
    let method = request.map(RequestTemplate::method);
    if let Some(method) = method.filter(|method| !matches!(method, Method::Get | Method::Head)) {
        context.conflict(&at, format!("only GET and HEAD can be conditional, not {method}"));
    }
    for header in request.iter().flat_map(|request| &request.headers) {
        if VALIDATORS.contains(&header.name.as_str()) {
            let words = format!("conditional sets {} itself: remove the header", header.name);
            context.conflict(header.pointer.clone(), words);
        }
    }
    true
}
