//! Context fields that are only written or only read.

use std::collections::BTreeSet;

use super::step_site::StepSite;
use super::warning::{Warning, WarningCode};
use crate::Definition;
use crate::diagnostic::token;
use orchid_common::suggest::closest;

/// Adds warnings about context fields; at most `max` about fields that are never written.
pub(super) fn warn(
    definition: &Definition,
    places: &[StepSite<'_>],
    max: usize,
    warnings: &mut Vec<Warning>,
) {
    // If the whole context is read, it is unknown which fields are.
    let Some(read) = definition.reads.below(&["context"]) else { return };
    let read: BTreeSet<&str> = read.into_iter().filter_map(|path| path.first()).map(String::as_str).collect();
    let names = places.iter().flat_map(|place| &place.step.set_context).map(|(name, _)| name.as_str());
    let written: BTreeSet<&str> = names.collect();
    for place in places {
        for (name, _) in place.step.set_context.iter().filter(|(name, _)| !read.contains(name.as_str())) {
            let words = format!("nothing reads context.{name}");
            let field = format!("set_context/{}", token(name));
            warnings.push(place.at(&field, WarningCode::ContextNeverRead, words));
        }
    }
    let sited: Vec<_> = places.iter().flat_map(|place| place.step.exprs()).collect();
    for name in read.difference(&written).take(max) {
        let reader = sited.iter().find(|sited| sited.expr.reads().overlaps(&["context", name]));
        let Some(reader) = reader else { continue };
        let near = closest(name, written.iter().copied().filter(|written| !read.contains(written)));
        let meant =
            near.map_or_else(String::new, |near| format!("; context.{near} is written and never read"));
        let message =
            format!("no set_context writes {name}, so it is null unless a trigger overrides it{meant}");
        warnings.push(Warning {
            code: WarningCode::ContextNeverWritten,
            pointer: reader.pointer.clone(),
            message,
        });
    }
}
