//! Reads steps: each field in its scope, and which fields may be combined.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::context::ReadContext;
use super::object::ObjectReader;
use super::step_fields::{
    FIELDS, NOT_IN_ONE_REQUEST, NOT_IN_RESULT_POLL, auth_flow, emit, fan_out, id, named_exprs, refuse,
};
use super::step_position::{StepPosition, StepRole, StepScopes};
use super::{
    async_job, conditional, cursor, outcome, paginate, request, response, retry, sent_params, streaming,
};
use super::{unsupported, window};
use crate::{Diagnostic, DiagnosticCode, RowSelector, Step, StepAction};

pub(super) fn read_all(
    values: &[Value],
    pointer: &str,
    position: &StepPosition,
    context: &mut ReadContext<'_>,
) -> Vec<Arc<Step>> {
    let mut position = position.clone();
    let mut steps = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        steps.extend(read_next(value, &format!("{pointer}/{index}"), &mut position, context));
    }
    steps
}

/// Reads a step and adds its id to those that later steps can refer to.
pub(super) fn read_next(
    value: &Value,
    pointer: &str,
    position: &mut StepPosition,
    context: &mut ReadContext<'_>,
) -> Option<Arc<Step>> {
    let number = context.steps + 1;
    let step = read(value, pointer, position, context).map(Arc::new);
    // The id comes from the document and not from the step, which is missing if it has a problem:
    // the steps after it must not report its name as unknown.
    let id = position.role.fixed_id().or_else(|| value.get("id").and_then(Value::as_str));
    position.earlier.push(id.map_or_else(|| format!("step_{number}"), str::to_owned));
    step
}

pub(super) fn read(
    value: &Value,
    pointer: &str,
    position: &StepPosition,
    context: &mut ReadContext<'_>,
) -> Option<Step> {
    let object = ObjectReader::open(value, pointer, FIELDS, context)?;
    if !within_bounds(pointer, position, context) {
        return None;
    }
    unsupported::refuse(&object, unsupported::STEP, context);
    // Paths are collected per step, so those of the step around this one are set aside.
    let around = context.take_reads();
    let step = match position.role {
        StepRole::Fixed(_) => {
            let words = "is not allowed here: submit, poll and cancel are a single request each";
            refuse(&object, NOT_IN_ONE_REQUEST, words, context);
            read_request(&object, position, context)
        }
        StepRole::ResultPoll => {
            refuse(&object, NOT_IN_RESULT_POLL, "is not allowed here: poll is a single request", context);
            read_request(&object, position, context)
        }
        _ if object.has("async_job") => async_job::read(&object, position, read_next, context),
        _ => read_request(&object, position, context),
    };
    context.restore_reads(around);
    step
}

fn read_request(
    object: &ObjectReader<'_>,
    position: &StepPosition,
    context: &mut ReadContext<'_>,
) -> Option<Step> {
    let id = id(object, position, context);
    let auth_flow = auth_flow(object, position, context);
    let scopes = StepScopes::of(position, object);
    let timeout =
        object.integer("timeout_seconds", 1..=context.server.timeout_seconds, context).unwrap_or(30);
    let relative = position.role.follows_submit();
    let request = request::read(object, &scopes.in_page, relative, context);
    let execute_if = object.expr("execute_if", &scopes.before_first_page, context);
    let for_each = object.expr("for_each", &scopes.before_items.storing(), context);
    let retry = retry::read(object, &scopes.in_page, context);
    let outcome = outcome::read(object, &scopes.in_page, context);
    let while_expr = object.expr("while", &scopes.in_page, context);
    let break_when = object.expr("break_when", &scopes.in_page, context);
    let paginate = paginate::read(object, &scopes.in_page, context);
    // The job, and not the response, decides whether another request of it follows.
    let single_page = object.boolean("single_page", context).unwrap_or(false)
        || matches!(position.role, StepRole::Fixed(_));
    let window = window::read(object, &scopes, context);
    let cursor = cursor::read(object, position, &scopes, context);
    let kept = scopes.in_page.storing();
    let set_context = named_exprs(object, "set_context", &kept, context);
    let extract = named_exprs(object, "extract", &kept, context);
    let rows = object.expr("iterate_over", &kept, context);
    let rows = rows.map(|expr| RowSelector {
        plain: expr.plain_row_path(),
        may_be_absent: expr.allows_absence(),
        unfiltered: expr.filter_input(),
        expr,
    });
    let emit = emit(object, position, context);
    let response = response::read(object, context);
    let conditional = conditional::read(object, request.as_ref(), context);
    let (concurrency, stop_on_error) = fan_out(object, context);
    sent_params::check(object, request.as_ref(), context);
    streaming::check_rows(object, &response, rows.as_ref(), context);
    let reads = context.take_reads();
    let sub_steps = object.list("sub_steps", context);
    let below = position.below(object, auth_flow.clone());
    let sub_steps = sub_steps.map(|values| read_all(values, &object.at("sub_steps"), &below, context));
    Some(Step {
        id,
        pointer: object.pointer.clone(),
        action: StepAction::Request(request?),
        auth_flow,
        execute_if,
        for_each,
        timeout: Duration::from_secs(timeout),
        retry,
        outcome,
        while_expr,
        break_when,
        paginate,
        single_page,
        window,
        cursor,
        conditional,
        set_context,
        extract,
        rows,
        sub_steps: sub_steps.unwrap_or_default(),
        concurrency,
        stop_on_error,
        emit,
        response,
        reads,
    })
}

fn within_bounds(pointer: &str, position: &StepPosition, context: &mut ReadContext<'_>) -> bool {
    if position.depth > position.max_depth {
        let words = format!("steps are nested too deeply: at most {} levels are allowed", position.max_depth);
        context.report(Diagnostic::new(DiagnosticCode::TooLarge, pointer, words));
        return false;
    }
    context.steps += 1;
    if context.steps > context.server.steps {
        let words =
            format!("the definition has too many steps: at most {} are allowed", context.server.steps);
        context.report(Diagnostic::new(DiagnosticCode::TooLarge, "/definition", words));
        return false;
    }
    true
}
