//! The names that expressions can begin with in a field, and the members of those whose members are known.

use crate::{Diagnostic, DiagnosticCode, ReadPaths, ScopeName};
use orchid_common::suggest::closest;

use super::compile::Site;

const RESPONSE: &[&str] = &["status_code", "headers", "body", "url"];
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

/// Members of `meta` that are numbers; the others are text.
const META_NUMBERS: &[&str] = &["attempt", "loop_count", "retry_count", "nesting_level"];

/// Whether what stands at a path of the scope is text wherever it is there, or at least no number: of headers one is a list.
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

/// What the expressions of a field can begin with.
#[derive(Clone, Debug, Default)]
pub(crate) struct InScope {
    names: Vec<ScopeName>,
    /// Names of the language that the server does not fill yet.
    unserved: Vec<ScopeName>,
    /// The steps that `steps.<id>` can name.
    steps: Vec<String>,
    /// Whether what the expression gives is kept, in messages, context or checkpoints: then it reads no credential.
    keeps: bool,
    /// Compliance cases and functions' examples look at anything.
    anything: bool,
}

/// Why a name of the language is not in scope.
fn absence(name: ScopeName) -> Option<&'static str> {
    Some(match name {
        ScopeName::Response | ScopeName::Prev | ScopeName::Page => "there is one from the first pass on",
        ScopeName::Parent => "there is one in the sub-steps of a step",
        ScopeName::Item | ScopeName::ItemIndex | ScopeName::Items => {
            "there is one under for_each, and in the sub-steps of rows"
        }
        ScopeName::Cursor => "this step has no cursor here, and no step around it has one",
        ScopeName::Window => "there is one in the passes of a step with a window, and in its sub-steps",
        ScopeName::Auth | ScopeName::Config | ScopeName::Context | ScopeName::Meta | ScopeName::Steps => {
            return None;
        }
    })
}

impl InScope {
    pub(crate) fn new(
        names: impl IntoIterator<Item = ScopeName>,
        unserved: impl IntoIterator<Item = ScopeName>,
        steps: &[String],
    ) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        let (unserved, steps) = (unserved.into_iter().collect(), steps.to_vec());
        Self { names, unserved, steps, keeps: false, anything: false }
    }

    /// The same names for an expression whose value is kept.
    pub(crate) fn keeping(&self) -> Self {
        Self { keeps: true, ..self.clone() }
    }

    /// Whether an expression may begin with this name.
    pub(crate) fn has(&self, name: ScopeName) -> bool {
        self.names.contains(&name)
    }

    /// The names, in alphabetical order.
    pub(crate) fn names(&self) -> &[ScopeName] {
        &self.names
    }

    /// The fault of an expression that would keep credentials, if it is one.
    pub(super) fn kept_credentials(&self, reads: &ReadPaths, site: &Site<'_>) -> Option<Diagnostic> {
        let secret = ["token", "headers"].into_iter().find(|member| reads.overlaps(&["auth", member]));
        let words =
            format!("holds auth.{}, which is secret and may not be kept", secret.filter(|_| self.keeps)?);
        Some(site.diagnostic(DiagnosticCode::Secret, 0, words))
    }

    #[cfg(test)]
    pub(crate) fn anything() -> Self {
        Self { anything: true, ..Self::default() }
    }

    /// The fault of an expression that begins with this name, if it is one.
    pub(super) fn first_name(&self, name: &str, offset: usize, site: &Site<'_>) -> Option<Diagnostic> {
        let known = ScopeName::parse(name);
        if self.anything || known.is_some_and(|known| self.names.contains(&known)) {
            return None;
        }
        if known.is_some_and(|known| self.unserved.contains(&known)) {
            let words = format!("{name} is part of the language and not served yet");
            return Some(site.diagnostic(DiagnosticCode::Unsupported, offset, words));
        }
        let why = known.and_then(absence).map_or_else(String::new, |why| format!(": {why}"));
        let words = format!("{name} is not in scope here{why}");
        let mut diagnostic = site.diagnostic(DiagnosticCode::UnknownName, offset, words);
        diagnostic.in_scope = self.names.iter().map(|name| name.as_str().to_owned()).collect();
        diagnostic.suggestion = self.instead_of(name);
        Some(diagnostic)
    }

    /// The usual place of a name that people expect at the top, or the nearest name in scope.
    fn instead_of(&self, name: &str) -> Option<String> {
        let places = [(ScopeName::Response, RESPONSE), (ScopeName::Meta, META)];
        let place =
            places.into_iter().find(|(place, members)| self.names.contains(place) && members.contains(&name));
        if let Some((place, _)) = place {
            return Some(format!("{}.{name}", place.as_str()));
        }
        closest(name, self.names.iter().map(|name| name.as_str())).map(str::to_owned)
    }

    /// The fault of a member that what stands at this path never has, if that is known.
    pub(super) fn member(
        &self,
        path: &[String],
        name: &str,
        offset: usize,
        site: &Site<'_>,
    ) -> Option<Diagnostic> {
        if self.anything {
            return None;
        }
        let members: Vec<&str> = match path {
            [first] => match ScopeName::parse(first)? {
                ScopeName::Response | ScopeName::Prev | ScopeName::Parent => RESPONSE.to_vec(),
                ScopeName::Page => PAGE.to_vec(),
                ScopeName::Meta => META.to_vec(),
                ScopeName::Window => WINDOW.to_vec(),
                ScopeName::Cursor | ScopeName::ItemIndex => return Some(scalar(first, offset, site)),
                ScopeName::Steps => self.steps.iter().map(String::as_str).collect(),
                _ => return None,
            },
            [first, _] if first == ScopeName::Steps.as_str() => RESPONSE.to_vec(),
            _ => return None,
        };
        if members.contains(&name) {
            return None;
        }
        let at = path.join(".");
        let words = if at == ScopeName::Steps.as_str() {
            format!("no step {name} is finished before this one")
        } else {
            format!("{at} has no member {name}")
        };
        let mut diagnostic = site.diagnostic(DiagnosticCode::UnknownName, offset, words);
        diagnostic.suggestion = closest(name, members.iter().copied()).map(|member| format!("{at}.{member}"));
        diagnostic.in_scope = members.into_iter().map(|member| format!("{at}.{member}")).collect();
        Some(diagnostic)
    }
}

/// A name that is no object: its members are all null.
fn scalar(name: &str, offset: usize, site: &Site<'_>) -> Diagnostic {
    let words = format!("{name} is a single value and has no members");
    site.diagnostic(DiagnosticCode::UnknownName, offset, words).suggest(name)
}
