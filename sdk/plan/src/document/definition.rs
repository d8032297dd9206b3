//! Reads the definition: its limits and its root steps.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Number, Value};

use super::context::ReadContext;
use super::object::ObjectReader;
use super::step_position::StepPosition;
use super::{rate_limits, step, streaming, unsupported};
use crate::diagnostic::token;
use crate::{Definition, Diagnostic, DiagnosticCode, OnLimit, canonical_json};

pub(crate) const FIELDS: &[&str] = &[
    "step",
    "steps",
    "rate_limits",
    "max_execution_seconds",
    "max_loops",
    "max_requests",
    "max_nesting_depth",
    "on_limit",
];

pub(super) fn read(value: &Value, pointer: &str, context: &mut ReadContext<'_>) -> Option<Definition> {
    let object = ObjectReader::open(value, pointer, FIELDS, context)?;
    let size = canonical_json(value).len();
    if size > context.server.definition_bytes {
        let words = format!(
            "the definition has {size} bytes as canonical JSON, at most {} are allowed",
            context.server.definition_bytes
        );
        context.report(Diagnostic::new(DiagnosticCode::TooLarge, pointer, words));
        return None;
    }
    check_digits(value, pointer, context);
    unsupported::refuse(&object, unsupported::DEFINITION, context);
    let server = context.server;
    let seconds = object.integer("max_execution_seconds", 1..=server.execution_seconds, context);
    let loops = object.integer("max_loops", 1..=server.loops, context);
    let requests = object.integer("max_requests", 1..=server.requests.unwrap_or(u64::MAX), context);
    let depth = object.integer("max_nesting_depth", 1..=u64::from(server.nesting_depth), context);
    let on_limit =
        object.choice("on_limit", &[("fail", OnLimit::Fail), ("continue", OnLimit::Continue)], context);
    let max_nesting_depth =
        depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or_else(|| server.nesting_depth.min(5));
    let rate_limits = rate_limits::read(&object, context);
    let mut reads = context.take_reads();
    let steps = steps(&object, max_nesting_depth, context);
    streaming::check_readers(&steps, context);
    steps.iter().for_each(|step| reads.extend(&step.all_reads()));
    Some(Definition {
        steps,
        rate_limits,
        max_execution: Duration::from_secs(seconds.unwrap_or_else(|| server.execution_seconds.min(300))),
        max_loops: loops.unwrap_or_else(|| server.loops.min(1000)),
        max_requests: requests.or(server.requests),
        max_nesting_depth,
        on_limit: on_limit.unwrap_or(OnLimit::Fail),
        reads,
    })
}

fn steps(object: &ObjectReader<'_>, max_depth: u32, context: &mut ReadContext<'_>) -> Vec<Arc<crate::Step>> {
    match (object.get("step"), object.get("steps")) {
        (Some(value), None) => {
            let position = StepPosition::root(max_depth);
            step::read(value, &object.at("step"), &position, context).map(Arc::new).into_iter().collect()
        }
        (None, Some(_)) => {
            let Some(values) = object.list("steps", context) else { return Vec::new() };
            if values.is_empty() {
                context.report(Diagnostic::new(
                    DiagnosticCode::OutOfRange,
                    object.at("steps"),
                    "steps is empty: at least one step is required",
                ));
            }
            step::read_all(values, &object.at("steps"), &StepPosition::root(max_depth), context)
        }
        (Some(_), Some(_)) => {
            context.conflict(object.at("steps"), "step and steps exclude each other: remove one");
            Vec::new()
        }
        (None, None) => {
            context.report(Diagnostic::new(
                DiagnosticCode::Required,
                object.pointer.clone(),
                "step or steps is required",
            ));
            Vec::new()
        }
    }
}

/// Refuses numbers whose last digits may be lost already: on their way here, documents may pass
/// through a `Struct`, which holds doubles.
fn check_digits(value: &Value, pointer: &str, context: &mut ReadContext<'_>) {
    match value {
        Value::Number(number) if is_beyond_doubles(number) => {
            let words =
                format!("{number} has more digits than a JSON number can keep exactly: write it as text");
            context.report(
                Diagnostic::new(DiagnosticCode::OutOfRange, pointer, words).suggest(format!("\"{number}\"")),
            );
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_digits(item, &format!("{pointer}/{index}"), context);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                check_digits(member, &format!("{pointer}/{}", token(name)), context);
            }
        }
        _ => {}
    }
}

fn is_beyond_doubles(number: &Number) -> bool {
    number.as_f64().is_some_and(|double| double.fract() == 0.0 && double.abs() >= 9_007_199_254_740_992.0)
}
