//! What the language has and this version does not serve: refused with the code `UNSUPPORTED`, never ignored. A field
//! leaves this table in the change that serves it.

use serde_json::{Value, json};

use super::context::Context;
use super::object::Object;
use crate::{Diagnostic, DiagnosticCode, ScopeName};

/// A field that is not served; the values that mean the same as leaving it out are taken.
type Entry = (&'static str, fn(&Value) -> bool);

fn is_empty(value: &Value) -> bool {
    *value == json!([])
}

pub(super) const DEFINITION: &[Entry] = &[("rate_limits", is_empty)];

pub(super) const STEP: &[Entry] = &[("auth_flow", |value| *value == json!("none"))];

/// Names of the scope that nothing fills yet.
pub(super) const NAMES: [ScopeName; 1] = [ScopeName::Auth];

/// Refuses the fields of a table that an object sets.
pub(super) fn refuse(object: &Object<'_>, table: &[Entry], context: &mut Context<'_>) {
    for (field, means_nothing) in table {
        if object.get(field).is_some_and(|value| !means_nothing(value)) {
            let words = format!("{field} is part of the language and not served yet");
            context.report(Diagnostic::new(DiagnosticCode::Unsupported, object.at(field), words));
        }
    }
}
