//! Checks the names of an expression: its first name, the known members below it, and credentials.

use orchid_common::suggest::closest;

use super::origin::ExprOrigin;
use crate::{Diagnostic, DiagnosticCode, ReadPaths, ScopeName};

const RESPONSE: &[&str] = &["status_code", "headers", "body", "url", "files"];
const PAGE: &[&str] = &["number", "offset", "cursor", "url"];
const WINDOW: &[&str] = &["from", "to"];
const META: &[&str] = &[
    "tenant_id",
    "plan_key",
    "config_id",
    "config_key",
    "execution_id",
    "attempt",
    "step_path",
    "loop_count",
    "retry_count",
    "nesting_level",
    "scheduled_at",
    "started_at",
];

/// Members of `meta` that are numbers. All others are text.
const META_NUMBERS: &[&str] = &["attempt", "loop_count", "retry_count", "nesting_level"];

/// Returns true if the value at a path of the scope is never a number: it is text or null, or, for
/// one response header, a list of texts.
pub(super) fn is_text(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["meta", member] => META.contains(member) && !META_NUMBERS.contains(member),
        ["page", "url"] => true,
        ["response" | "prev" | "parent", rest @ ..] | ["steps", _, rest @ ..] => {
            matches!(rest, ["url"] | ["headers", _])
        }
        _ => false,
    }
}

/// Reports a credential in an expression whose value is stored.
pub(super) fn stored_credential(reads: &ReadPaths, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    if !origin.scope.stores_value() {
        return None;
    }
    // A shorter path such as `auth` overlaps as well, because it reads the credential, too.
    let secret = ["token", "headers"].into_iter().find(|member| reads.overlaps(&["auth", member]))?;
    let message = format!("auth.{secret} is secret and may not be stored");
    Some(origin.diagnostic(DiagnosticCode::Secret, 0, message))
}

/// Reports a first name that is not in scope.
pub(super) fn unknown_first_name(name: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let scope = origin.scope;
    let known = ScopeName::parse(name);
    if scope.allows_any() || known.is_some_and(|known| scope.has(known)) {
        return None;
    }
    if known.is_some_and(|known| scope.is_unsupported(known)) {
        let message = format!("{name} is part of the language, but this server does not support it yet");
        return Some(origin.diagnostic(DiagnosticCode::Unsupported, offset, message));
    }
    let reason = known.and_then(why_absent).map_or_else(String::new, |reason| format!(": {reason}"));
    let message = format!("{name} is not in scope here{reason}");
    let mut diagnostic = origin.diagnostic(DiagnosticCode::UnknownName, offset, message);
    diagnostic.in_scope = scope.names().iter().map(|name| name.as_str().to_owned()).collect();
    diagnostic.suggestion = suggest_name(name, origin);
    Some(diagnostic)
}

/// Explains why a name of the language is not in scope.
fn why_absent(name: ScopeName) -> Option<&'static str> {
    Some(match name {
        ScopeName::Response | ScopeName::Prev | ScopeName::Page => "it exists from the first page on",
        ScopeName::Parent => "it exists in the sub-steps of a step",
        ScopeName::Item | ScopeName::ItemIndex | ScopeName::Items => {
            "it exists under for_each and in the sub-steps of rows"
        }
        ScopeName::Cursor => "neither this step nor a step around it has a cursor",
        ScopeName::Window => "it exists in the pages of a step with a window, and in its sub-steps",
        ScopeName::Auth | ScopeName::Config | ScopeName::Context | ScopeName::Meta | ScopeName::Steps => {
            return None;
        }
    })
}

/// Suggests the usual path of a member that authors expect at the top, or the nearest name in
/// scope.
fn suggest_name(name: &str, origin: &ExprOrigin<'_>) -> Option<String> {
    let parents = [(ScopeName::Response, RESPONSE), (ScopeName::Meta, META)];
    let parent =
        parents.into_iter().find(|(parent, members)| origin.scope.has(*parent) && members.contains(&name));
    if let Some((parent, _)) = parent {
        return Some(format!("{}.{name}", parent.as_str()));
    }
    closest(name, origin.scope.names().iter().map(|name| name.as_str())).map(str::to_owned)
}

/// Reports a member that the value at this path never has, if its members are known.
pub(super) fn unknown_member(
    path: &[String],
    name: &str,
    offset: usize,
    origin: &ExprOrigin<'_>,
) -> Option<Diagnostic> {
    if origin.scope.allows_any() {
        return None;
    }
    let members: Vec<&str> = match path {
        [first] => match ScopeName::parse(first)? {
            ScopeName::Response | ScopeName::Prev | ScopeName::Parent => RESPONSE.to_vec(),
            ScopeName::Page => PAGE.to_vec(),
            ScopeName::Meta => META.to_vec(),
            ScopeName::Window => WINDOW.to_vec(),
            ScopeName::Cursor | ScopeName::ItemIndex => {
                let message = format!("{first} is a single value and has no members");
                return Some(origin.diagnostic(DiagnosticCode::UnknownName, offset, message).suggest(first));
            }
            ScopeName::Steps => origin.scope.steps().iter().map(String::as_str).collect(),
            _ => return None,
        },
        [first, _] if first == ScopeName::Steps.as_str() => RESPONSE.to_vec(),
        _ => return None,
    };
    if members.contains(&name) {
        return None;
    }
    let parent = path.join(".");
    let message = if parent == ScopeName::Steps.as_str() {
        format!("no step {name} finishes before this one")
    } else {
        format!("{parent} has no member {name}")
    };
    let mut diagnostic = origin.diagnostic(DiagnosticCode::UnknownName, offset, message);
    diagnostic.suggestion = closest(name, members.iter().copied()).map(|member| format!("{parent}.{member}"));
    diagnostic.in_scope = members.into_iter().map(|member| format!("{parent}.{member}")).collect();
    Some(diagnostic)
}
