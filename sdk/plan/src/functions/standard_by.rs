//! JMESPath's functions that run an expression reference on each element of a list.

use std::cmp::Ordering;

use jmespath::Rcvar;

use super::Function;
use super::Param::{Expr, List};
use super::call::{Arg, Args};
use super::standard::sortable;
use crate::expr::{Data, Outcome, Run, list, null};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "map",
        "map(&expression, list) → list",
        "what the expression gives for each element, nulls too",
        ("map(&name, response.body.items)", r#"["b","a"]"#),
        &[Expr, List],
        |run, args| {
            let mapped = each(run, args, 0, 1)?;
            run.pay_slots(mapped.len())?;
            Ok(list(mapped))
        },
    )
    .standard(),
    Function::new(
        "max_by",
        "max_by(list, &expression) → any",
        "the element for which the expression is greatest; null of nothing",
        ("max_by(response.body.items, &id).name", "\"a\""),
        &[List, Expr],
        |run, args| extreme(run, args, Ordering::Greater),
    )
    .standard(),
    Function::new(
        "min_by",
        "min_by(list, &expression) → any",
        "the element for which the expression is least; null of nothing",
        ("min_by(response.body.items, &id).name", "\"b\""),
        &[List, Expr],
        |run, args| extreme(run, args, Ordering::Less),
    )
    .standard(),
    Function::new(
        "sort_by",
        "sort_by(list, &expression) → list",
        "the list in the order of what the expression gives, equal ones as they were",
        ("sort_by(response.body.items, &name)[*].id", "[2,1]"),
        &[List, Expr],
        sort_by,
    )
    .standard(),
];

/// The expression's value for every element.
fn each(run: &mut Run<'_>, args: &[Arg<'_>], expr: usize, items: usize) -> Outcome<Vec<Rcvar>> {
    let Some(ast) = args.expr(expr) else { return Err(run.fail("no expression reference")) };
    args.list(items).iter().map(|item| run.eval(ast, Data::Value(item))).collect()
}

fn sort_by(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let keys = each(run, args, 1, 0)?;
    sortable(run, keys.iter())?;
    let mut pairs: Vec<(&Rcvar, &Rcvar)> = keys.iter().zip(args.list(0)).collect();
    pairs.sort_by_key(|(key, _)| *key);
    Ok(list(pairs.into_iter().map(|(_, item)| item.clone()).collect()))
}

fn extreme(run: &mut Run<'_>, args: &[Arg<'_>], wanted: Ordering) -> Outcome<Rcvar> {
    let keys = each(run, args, 1, 0)?;
    sortable(run, keys.iter())?;
    let mut best: Option<(&Rcvar, &Rcvar)> = None;
    for (key, item) in keys.iter().zip(args.list(0)) {
        if best.is_none_or(|(best, _)| key.cmp(best) == wanted) {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(null, |(_, item)| item.clone()))
}
