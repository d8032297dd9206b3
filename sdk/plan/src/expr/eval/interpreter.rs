//! Interprets a syntax tree.
//!
//! The parser's crate has an interpreter too, but that one has no bound: this one charges every
//! node to the budget of its [`Evaluation`].

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jmespath::ast::{Ast, Comparator};

use super::equality::equal;
use super::evaluation::{EvalData, EvalResult, Evaluation, ExprRef, boolean, list, null};
use crate::functions::{self, CallArg};
use crate::value::{Rcvar, Variable};

/// Evaluates a node that is applied to `data`.
pub(in crate::expr) fn interpret(
    evaluation: &mut Evaluation<'_>,
    node: &Ast,
    data: EvalData<'_>,
) -> EvalResult<Rcvar> {
    evaluation.charge_steps(1)?;
    match node {
        Ast::Field { name, .. } => Ok(match data {
            EvalData::Scope => evaluation.scope.field(name).cloned().unwrap_or_else(null),
            EvalData::Value(value) => value.get_field(name),
        }),
        Ast::Subexpr { lhs, rhs, .. } => match data {
            // `@.name` and `root().name` read the scope without building it as a value.
            _ if matches!(**lhs, Ast::Identity { .. }) => interpret(evaluation, rhs, data),
            _ if is_root(lhs) => interpret(evaluation, rhs, EvalData::Scope),
            _ => {
                let left = interpret(evaluation, lhs, data)?;
                interpret(evaluation, rhs, EvalData::Value(&left))
            }
        },
        Ast::Identity { .. } => Ok(match data {
            EvalData::Scope => evaluation.scope.as_object().clone(),
            EvalData::Value(value) => value.clone(),
        }),
        Ast::Literal { offset, .. } => Ok(evaluation.literal(*offset)),
        Ast::Index { idx, .. } => Ok(match data {
            // The scope is an object, and an object has no elements.
            EvalData::Scope => null(),
            EvalData::Value(value) => index(value, *idx),
        }),
        Ast::Or { lhs, rhs, .. } => {
            let left = interpret(evaluation, lhs, data)?;
            if left.is_truthy() { Ok(left) } else { interpret(evaluation, rhs, data) }
        }
        Ast::And { lhs, rhs, .. } => {
            let left = interpret(evaluation, lhs, data)?;
            if left.is_truthy() { interpret(evaluation, rhs, data) } else { Ok(left) }
        }
        Ast::Not { node, .. } => Ok(boolean(!interpret(evaluation, node, data)?.is_truthy())),
        Ast::Condition { predicate, then, .. } => {
            if interpret(evaluation, predicate, data)?.is_truthy() {
                interpret(evaluation, then, data)
            } else {
                Ok(null())
            }
        }
        Ast::Comparison { comparator, lhs, rhs, .. } => {
            let left = interpret(evaluation, lhs, data)?;
            let right = interpret(evaluation, rhs, data)?;
            compare(evaluation, comparator, &left, &right)
        }
        Ast::Function { name, args, offset } => call(evaluation, name, args, *offset, data),
        // Compilation only accepts expression references as arguments, which `call` handles.
        Ast::Expref { offset, .. } => {
            evaluation.set_offset(*offset);
            Err(evaluation.fail("an expression reference outside a function's arguments"))
        }
        other => interpret_collection(evaluation, other, data),
    }
}

/// Evaluates the nodes that create lists and objects.
fn interpret_collection(
    evaluation: &mut Evaluation<'_>,
    node: &Ast,
    data: EvalData<'_>,
) -> EvalResult<Rcvar> {
    match node {
        Ast::ObjectValues { node, .. } => match &*interpret(evaluation, node, data)? {
            Variable::Object(members) => {
                evaluation.charge_slots(members.len())?;
                Ok(list(members.values().cloned().collect()))
            }
            _ => Ok(null()),
        },
        Ast::Projection { lhs, rhs, .. } => project(evaluation, lhs, rhs, data),
        Ast::Flatten { node, .. } => flatten(evaluation, node, data),
        Ast::MultiList { elements, .. } => {
            if matches!(data, EvalData::Value(value) if value.is_null()) {
                return Ok(null());
            }
            evaluation.charge_slots(elements.len() + 1)?;
            let items: EvalResult<Vec<_>> =
                elements.iter().map(|element| interpret(evaluation, element, data)).collect();
            Ok(list(items?))
        }
        Ast::MultiHash { elements, .. } => {
            if matches!(data, EvalData::Value(value) if value.is_null()) {
                return Ok(null());
            }
            // One slot for the object, one for each name and one for each value.
            evaluation.charge_slots(elements.len() * 2 + 1)?;
            let mut members = BTreeMap::new();
            for pair in elements {
                evaluation.charge_text(pair.key.len())?;
                members.insert(pair.key.clone(), interpret(evaluation, &pair.value, data)?);
            }
            Ok(Rcvar::new(Variable::Object(members)))
        }
        Ast::Slice { start, stop, step, offset } => {
            evaluation.set_offset(*offset);
            slice(evaluation, data, *start, *stop, *step)
        }
        _ => Ok(null()),
    }
}

fn project(evaluation: &mut Evaluation<'_>, lhs: &Ast, rhs: &Ast, data: EvalData<'_>) -> EvalResult<Rcvar> {
    let left = interpret(evaluation, lhs, data)?;
    let Variable::Array(items) = &*left else { return Ok(null()) };
    evaluation.charge_slots(items.len())?;
    // A projection drops nulls. Without any, `list[*]` is the list itself and needs no copy.
    if matches!(rhs, Ast::Identity { .. }) && !items.iter().any(|item| item.is_null()) {
        return Ok(left);
    }
    let mut projected = Vec::new();
    for item in items {
        let value =
            evaluation.in_element(item, |evaluation| interpret(evaluation, rhs, EvalData::Value(item)))?;
        if !value.is_null() {
            projected.push(value);
        }
    }
    Ok(list(projected))
}

fn flatten(evaluation: &mut Evaluation<'_>, node: &Ast, data: EvalData<'_>) -> EvalResult<Rcvar> {
    let inner = interpret(evaluation, node, data)?;
    let Variable::Array(items) = &*inner else { return Ok(null()) };
    let mut flat = Vec::new();
    for item in items {
        match &**item {
            Variable::Array(nested) => {
                evaluation.charge_slots(nested.len())?;
                flat.extend(nested.iter().cloned());
            }
            _ => {
                evaluation.charge_slots(1)?;
                flat.push(item.clone());
            }
        }
    }
    Ok(list(flat))
}

fn call(
    evaluation: &mut Evaluation<'_>,
    name: &str,
    args: &[Ast],
    offset: usize,
    data: EvalData<'_>,
) -> EvalResult<Rcvar> {
    match name {
        "root" => return Ok(evaluation.scope.as_object().clone()),
        "outer" => return Ok(evaluation.outer()),
        // Only the chosen branch is evaluated.
        "if" if args.len() == 3 => {
            let condition = interpret(evaluation, &args[0], data)?;
            let branch = if condition.is_truthy() { &args[1] } else { &args[2] };
            return interpret(evaluation, branch, data);
        }
        _ => {}
    }
    let Some(function) = functions::find(name) else {
        evaluation.set_offset(offset);
        return Err(evaluation.fail(format!("unknown function {name}")));
    };
    let mut values = Vec::with_capacity(args.len());
    for arg in args {
        values.push(match arg {
            Ast::Expref { ast, .. } => CallArg::Expr(ExprRef::new(ast, interpret)),
            _ => CallArg::Value(interpret(evaluation, arg, data)?),
        });
    }
    evaluation.set_offset(offset);
    function.call(evaluation, &values)
}

/// Compares two values as JMESPath does: numbers as doubles, unless one is beyond a double.
fn compare(
    evaluation: &mut Evaluation<'_>,
    comparator: &Comparator,
    left: &Rcvar,
    right: &Rcvar,
) -> EvalResult<Rcvar> {
    match comparator {
        Comparator::Equal => Ok(boolean(equal(evaluation, left, right)?)),
        Comparator::NotEqual => Ok(boolean(!equal(evaluation, left, right)?)),
        // The order of anything but numbers is null.
        Comparator::LessThan => Ok(ordered(left, right, Ordering::is_lt)),
        Comparator::LessThanEqual => Ok(ordered(left, right, Ordering::is_le)),
        Comparator::GreaterThan => Ok(ordered(left, right, Ordering::is_gt)),
        Comparator::GreaterThanEqual => Ok(ordered(left, right, Ordering::is_ge)),
    }
}

fn ordered(left: &Variable, right: &Variable, holds: fn(Ordering) -> bool) -> Rcvar {
    match (left, right) {
        (Variable::Number(a), Variable::Number(b)) => boolean(holds(a.compare(b))),
        _ => null(),
    }
}

fn slice(
    evaluation: &mut Evaluation<'_>,
    data: EvalData<'_>,
    start: Option<i32>,
    stop: Option<i32>,
    step: i32,
) -> EvalResult<Rcvar> {
    if step == 0 {
        return Err(evaluation.fail("the step of a slice is 0"));
    }
    let EvalData::Value(value) = data else { return Ok(null()) };
    let Variable::Array(items) = &**value else { return Ok(null()) };
    // All arithmetic is in i64: bounds and step are 32-bit integers from the expression's text.
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let step = i64::from(step);
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |bound: Option<i32>, default: i64| {
        bound.map(i64::from).map_or(default, |bound| {
            let bound = if bound < 0 { bound + length } else { bound };
            bound.clamp(lowest, highest)
        })
    };
    let (first, last) = if step > 0 {
        (clamp(start, 0), clamp(stop, length))
    } else {
        (clamp(start, length - 1), clamp(stop, -1))
    };
    let mut selected = Vec::new();
    let mut position = first;
    while if step > 0 { position < last } else { position > last } {
        selected.extend(usize::try_from(position).ok().and_then(|position| items.get(position)).cloned());
        position += step;
    }
    evaluation.charge_slots(selected.len())?;
    Ok(list(selected))
}

fn is_root(node: &Ast) -> bool {
    matches!(node, Ast::Function { name, args, .. } if name == "root" && args.is_empty())
}

fn index(value: &Variable, index: i32) -> Rcvar {
    let distance = index.unsigned_abs() as usize;
    if index >= 0 { value.get_index(distance) } else { value.get_negative_index(distance) }
}
