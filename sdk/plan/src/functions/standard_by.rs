//! JMESPath's functions that evaluate an expression reference for each element of a list.

use std::cmp::Ordering;

use super::call::LibraryFunction;
use super::call::ParamType::{Expr, List};
use super::call::{CallArg, CheckedArgs};
use super::standard::check_sortable;
use crate::expr::eval::evaluation::{EvalResult, Evaluation, list, null};
use crate::value::Rcvar;

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "map",
        "map(&expression, list) → list",
        "the expression's value for each element, including nulls",
        ("map(&name, response.body.items)", r#"["b","a"]"#),
        &[Expr, List],
        |evaluation, args| {
            let mapped = eval_each(evaluation, args, 0, 1)?;
            evaluation.charge_slots(mapped.len())?;
            Ok(list(mapped))
        },
    )
    .standard(),
    LibraryFunction::new(
        "max_by",
        "max_by(list, &expression) → any",
        "the element with the greatest value of the expression; null for an empty list",
        ("max_by(response.body.items, &id).name", "\"a\""),
        &[List, Expr],
        |evaluation, args| extreme(evaluation, args, Ordering::Greater),
    )
    .standard(),
    LibraryFunction::new(
        "min_by",
        "min_by(list, &expression) → any",
        "the element with the least value of the expression; null for an empty list",
        ("min_by(response.body.items, &id).name", "\"b\""),
        &[List, Expr],
        |evaluation, args| extreme(evaluation, args, Ordering::Less),
    )
    .standard(),
    LibraryFunction::new(
        "sort_by",
        "sort_by(list, &expression) → list",
        "the list sorted by the expression's value; equal elements keep their order",
        ("sort_by(response.body.items, &name)[*].id", "[2,1]"),
        &[List, Expr],
        sort_by,
    )
    .standard(),
];

/// Evaluates the expression for every element.
fn eval_each(
    evaluation: &mut Evaluation<'_>,
    args: &[CallArg<'_>],
    expr: usize,
    items: usize,
) -> EvalResult<Vec<Rcvar>> {
    let Some(expr) = args.expr(expr) else {
        return Err(evaluation.fail("an expression reference is missing"));
    };
    args.list(items).iter().map(|item| expr.eval(evaluation, item)).collect()
}

fn sort_by(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let keys = eval_each(evaluation, args, 1, 0)?;
    let order = check_sortable(evaluation, keys.iter())?;
    let mut pairs: Vec<(&Rcvar, &Rcvar)> = keys.iter().zip(args.list(0)).collect();
    pairs.sort_by(|(a, _), (b, _)| order(a, b));
    Ok(list(pairs.into_iter().map(|(_, item)| item.clone()).collect()))
}

fn extreme(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>], wanted: Ordering) -> EvalResult<Rcvar> {
    let keys = eval_each(evaluation, args, 1, 0)?;
    let order = check_sortable(evaluation, keys.iter())?;
    let mut best: Option<(&Rcvar, &Rcvar)> = None;
    for (key, item) in keys.iter().zip(args.list(0)) {
        if best.is_none_or(|(best, _)| order(key, best) == wanted) {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(null, |(_, item)| item.clone()))
}
