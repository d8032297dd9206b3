//! The names that expressions can begin with in a field, and the members of those whose members are known.

use crate::fault::nearest;
use crate::{Fault, FaultCode, ScopeName};

use super::compile::Site;

const RESPONSE: &[&str] = &["status_code", "headers", "body", "url"];
const PAGE: &[&str] = &["number", "offset", "cursor", "url"];
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

/// What the expressions of a field can begin with.
#[derive(Clone, Debug, Default)]
pub(crate) struct InScope {
    names: Vec<ScopeName>,
    /// Names of the language that the server does not fill yet.
    unserved: Vec<ScopeName>,
    /// The steps that `steps.<id>` can name.
    steps: Vec<String>,
    /// Compliance cases and functions' examples look at anything.
    anything: bool,
}

impl InScope {
    pub(crate) fn new(
        names: impl IntoIterator<Item = ScopeName>,
        unserved: impl IntoIterator<Item = ScopeName>,
        steps: &[String],
    ) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        Self { names, unserved: unserved.into_iter().collect(), steps: steps.to_vec(), anything: false }
    }

    #[cfg(test)]
    pub(crate) fn anything() -> Self {
        Self { anything: true, ..Self::default() }
    }

    /// The fault of an expression that begins with this name, if it is one.
    pub(super) fn first_name(&self, name: &str, offset: usize, site: &Site<'_>) -> Option<Fault> {
        let known = ScopeName::parse(name);
        if self.anything || known.is_some_and(|known| self.names.contains(&known)) {
            return None;
        }
        if known.is_some_and(|known| self.unserved.contains(&known)) {
            let words = format!("{name} is part of the language and not served yet");
            return Some(site.fault(FaultCode::Unsupported, offset, words));
        }
        let mut fault = site.fault(FaultCode::UnknownName, offset, format!("{name} is not in scope here"));
        fault.in_scope = self.names.iter().map(|name| name.as_str().to_owned()).collect();
        fault.suggestion = self.instead_of(name);
        Some(fault)
    }

    /// The usual place of a name that people expect at the top, or the nearest name in scope.
    fn instead_of(&self, name: &str) -> Option<String> {
        let places = [(ScopeName::Response, RESPONSE), (ScopeName::Meta, META)];
        let place =
            places.into_iter().find(|(place, members)| self.names.contains(place) && members.contains(&name));
        if let Some((place, _)) = place {
            return Some(format!("{}.{name}", place.as_str()));
        }
        nearest(name, self.names.iter().map(|name| name.as_str())).map(str::to_owned)
    }

    /// The fault of a member that what stands at this path never has, if that is known.
    pub(super) fn member(
        &self,
        path: &[String],
        name: &str,
        offset: usize,
        site: &Site<'_>,
    ) -> Option<Fault> {
        if self.anything {
            return None;
        }
        let members: Vec<&str> = match path {
            [first] => match ScopeName::parse(first)? {
                ScopeName::Response | ScopeName::Prev | ScopeName::Parent => RESPONSE.to_vec(),
                ScopeName::Page => PAGE.to_vec(),
                ScopeName::Meta => META.to_vec(),
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
        let mut fault = site.fault(FaultCode::UnknownName, offset, words);
        fault.suggestion = nearest(name, members.iter().copied()).map(|member| format!("{at}.{member}"));
        fault.in_scope = members.into_iter().map(|member| format!("{at}.{member}")).collect();
        Some(fault)
    }
}
