//! Arithmetic, which is exact for two integers, and `if`.

use jmespath::Rcvar;
use serde_json::Number;

use super::call::LibraryFunction;
use super::call::ParamType::{Any, Number as Num};
use super::call::{CallArg, CheckedArgs, double, integer};
use crate::expr::eval::evaluation::{EvalResult, Evaluation};

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "add",
        "add(a: number, b: number) → number",
        "the sum",
        ("add(`9007199254740992`, `1`)", "9007199254740993"),
        &[Num, Num],
        |evaluation, args| arithmetic(evaluation, args, i128::checked_add, |a, b| a + b),
    ),
    LibraryFunction::new(
        "sub",
        "sub(a: number, b: number) → number",
        "the difference",
        ("sub(`3`, `5`)", "-2"),
        &[Num, Num],
        |evaluation, args| arithmetic(evaluation, args, i128::checked_sub, |a, b| a - b),
    ),
    LibraryFunction::new(
        "mul",
        "mul(a: number, b: number) → number",
        "the product",
        ("mul(`6`, `0.5`)", "3.0"),
        &[Num, Num],
        |evaluation, args| arithmetic(evaluation, args, i128::checked_mul, |a, b| a * b),
    ),
    LibraryFunction::new(
        "div",
        "div(a: number, b: number) → number",
        "the quotient: an integer if two integers divide without remainder, otherwise a decimal",
        ("[div(`6`, `3`), div(`7`, `2`)]", "[2, 3.5]"),
        &[Num, Num],
        div,
    ),
    LibraryFunction::new(
        "mod",
        "mod(a: number, b: number) → number",
        "the remainder of the division, with the sign of `a`",
        ("[mod(`7`, `3`), mod(`-7`, `3`)]", "[1, -1]"),
        &[Num, Num],
        modulo,
    ),
    LibraryFunction::new(
        "if",
        "if(condition: any, then: any, else: any) → any",
        "`then` if the condition is true, otherwise `else`; only one of the two is evaluated",
        ("if(response.status_code == `200`, 'fine', div(`1`, `0`))", "\"fine\""),
        &[Any, Any, Any],
        // Never called: the interpreter evaluates `if` itself, because only one branch may run.
        |evaluation, _| Err(evaluation.fail("evaluated eagerly")),
    ),
];

/// Returns the number if it is a signed or unsigned 64-bit integer.
pub(super) fn exact(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Creates a 64-bit integer. Fails if the value is out of range.
pub(super) fn from_exact(evaluation: &Evaluation<'_>, value: i128) -> EvalResult<Rcvar> {
    if let Ok(value) = i64::try_from(value) {
        return Ok(integer(value));
    }
    u64::try_from(value).map(integer).map_err(|_| evaluation.fail("the result does not fit into 64 bits"))
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

fn arithmetic(
    evaluation: &mut Evaluation<'_>,
    args: &[CallArg<'_>],
    whole: fn(i128, i128) -> Option<i128>,
    decimal: fn(f64, f64) -> f64,
) -> EvalResult<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    // i128 holds every sum, difference and product of two 64-bit integers except the largest
    // products, which are checked.
    if let (Some(a), Some(b)) = (exact(a), exact(b)) {
        let value = whole(a, b).ok_or_else(|| evaluation.fail("the result does not fit into 64 bits"))?;
        return from_exact(evaluation, value);
    }
    double(evaluation, decimal(float(a), float(b)))
}

fn div(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if float(b) == 0.0 {
        return Err(evaluation.fail("division by zero"));
    }
    match (exact(a), exact(b)) {
        // An inexact quotient of integers becomes a double.
        (Some(a), Some(b)) if a % b == 0 => from_exact(evaluation, a / b),
        _ => double(evaluation, float(a) / float(b)),
    }
}

fn modulo(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if float(b) == 0.0 {
        return Err(evaluation.fail("division by zero"));
    }
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) => from_exact(evaluation, a % b),
        _ => double(evaluation, float(a) % float(b)),
    }
}
