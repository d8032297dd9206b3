//! `conditional`: one answer, revalidated. What would ask for several, or not ask at all, cannot stand beside it.

use super::context::Context;
use super::object::Object;
use crate::{Method, RequestTemplate};

/// What walks through several answers.
const LOOPS: &[&str] = &["while", "paginate", "window"];
/// The headers by which Orchid revalidates.
const VALIDATORS: &[&str] = &["if-none-match", "if-modified-since"];

pub(super) fn read(step: &Object<'_>, request: Option<&RequestTemplate>, context: &mut Context<'_>) -> bool {
    if !step.boolean("conditional", context).unwrap_or(false) {
        return false;
    }
    let at = step.at("conditional");
    for field in LOOPS.iter().filter(|field| step.has(field)) {
        context.conflict(&at, format!("conditional is about one answer, and {field} walks through several"));
    }
    let method = request.map(RequestTemplate::method);
    if let Some(method) = method.filter(|method| !matches!(method, Method::Get | Method::Head)) {
        context.conflict(&at, format!("only GET and HEAD can be conditional, and this is a {method}"));
    }
    for header in request.iter().flat_map(|request| &request.headers) {
        if VALIDATORS.contains(&header.name.as_str()) {
            let words = format!("conditional sends {} itself", header.name);
            context.conflict(header.pointer.clone(), words);
        }
    }
    true
}
