//! Parts of the language that this version does not support: reported as `UNSUPPORTED`, never
//! ignored. The change that supports a field removes it from these tables.

use serde_json::{Value, json};

use super::context::ReadContext;
use super::object::ObjectReader;
use crate::{Diagnostic, DiagnosticCode, ScopeName};

/// An unsupported field, and whether a value means the same as leaving it out, which is allowed.
type UnsupportedField = (&'static str, fn(&Value) -> bool);

fn is_empty(value: &Value) -> bool {
    *value == json!([])
}

pub(super) const DEFINITION: &[UnsupportedField] = &[("rate_limits", is_empty)];

pub(super) const STEP: &[UnsupportedField] = &[("auth_flow", |value| *value == json!("none"))];

/// Names of the scope that have no value yet.
pub(super) const NAMES: [ScopeName; 1] = [ScopeName::Auth];

/// Reports the fields of a table that an object sets.
pub(super) fn refuse(object: &ObjectReader<'_>, table: &[UnsupportedField], context: &mut ReadContext<'_>) {
    for (field, means_nothing) in table {
        if object.get(field).is_some_and(|value| !means_nothing(value)) {
            let words = format!("{field} is not supported by this version yet");
            context.report(Diagnostic::new(DiagnosticCode::Unsupported, object.at(field), words));
        }
    }
}
