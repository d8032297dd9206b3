//! Arithmetic, exact where both numbers are integers, and `if`.

use jmespath::Rcvar;
use serde_json::Number;

use super::Function;
use super::Param::{Any, Number as Num};
use super::call::{Arg, Args, double, integer};
use crate::expr::{Outcome, Run};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "add",
        "add(a: number, b: number) → number",
        "the sum",
        ("add(`9007199254740992`, `1`)", "9007199254740993"),
        &[Num, Num],
        |run, args| arithmetic(run, args, i128::checked_add, |a, b| a + b),
    ),
    Function::new(
        "sub",
        "sub(a: number, b: number) → number",
        "the difference",
        ("sub(`3`, `5`)", "-2"),
        &[Num, Num],
        |run, args| arithmetic(run, args, i128::checked_sub, |a, b| a - b),
    ),
    Function::new(
        "mul",
        "mul(a: number, b: number) → number",
        "the product",
        ("mul(`6`, `0.5`)", "3.0"),
        &[Num, Num],
        |run, args| arithmetic(run, args, i128::checked_mul, |a, b| a * b),
    ),
    Function::new(
        "div",
        "div(a: number, b: number) → number",
        "the quotient: an integer where two integers divide without rest, else a decimal",
        ("[div(`6`, `3`), div(`7`, `2`)]", "[2, 3.5]"),
        &[Num, Num],
        div,
    ),
    Function::new(
        "mod",
        "mod(a: number, b: number) → number",
        "the rest of the division, with the sign of `a`",
        ("[mod(`7`, `3`), mod(`-7`, `3`)]", "[1, -1]"),
        &[Num, Num],
        modulo,
    ),
    Function::new(
        "if",
        "if(condition: any, then: any, else: any) → any",
        "`then` where the condition is true, else `else`; the other one is not evaluated",
        ("if(response.status_code == `200`, 'fine', div(`1`, `0`))", "\"fine\""),
        &[Any, Any, Any],
        // Evaluation takes one branch alone and never comes here.
        |run, _| Err(run.fail("evaluated eagerly")),
    ),
];

/// An integer of JSON's 64 bits, signed or not.
pub(super) fn exact(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

pub(super) fn from_exact(run: &Run<'_>, value: i128) -> Outcome<Rcvar> {
    if let Ok(value) = i64::try_from(value) {
        return Ok(integer(value));
    }
    u64::try_from(value).map(integer).map_err(|_| run.fail("the result does not fit into 64 bits"))
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

fn arithmetic(
    run: &mut Run<'_>,
    args: &[Arg<'_>],
    whole: fn(i128, i128) -> Option<i128>,
    decimal: fn(f64, f64) -> f64,
) -> Outcome<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if let (Some(a), Some(b)) = (exact(a), exact(b)) {
        let value = whole(a, b).ok_or_else(|| run.fail("the result does not fit into 64 bits"))?;
        return from_exact(run, value);
    }
    double(run, decimal(float(a), float(b)))
}

fn div(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if float(b) == 0.0 {
        return Err(run.fail("division by zero"));
    }
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) if a % b == 0 => from_exact(run, a / b),
        _ => double(run, float(a) / float(b)),
    }
}

fn modulo(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if float(b) == 0.0 {
        return Err(run.fail("division by zero"));
    }
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) => from_exact(run, a % b),
        _ => double(run, float(a) % float(b)),
    }
}
