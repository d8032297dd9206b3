//! Arithmetic, which is exact for two integers, and `if`.

use super::call::LibraryFunction;
use super::call::ParamType::{Any, Number as Num};
use super::call::{CallArg, CheckedArgs, double, integer};
use crate::expr::eval::evaluation::{EvalResult, Evaluation};
use crate::value::{Number, Rcvar};

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

/// Creates an integer. Fails if the result did not fit into 128 bits.
pub(super) fn from_whole(evaluation: &Evaluation<'_>, value: Option<i128>) -> EvalResult<Rcvar> {
    let value = value.ok_or_else(|| evaluation.fail("the result does not fit into 128 bits"))?;
    Ok(integer(Number::from_whole(value)))
}

/// Returns a number as a double. Fails for integers beyond 64 bits, which would silently become
/// another number.
pub(super) fn float(evaluation: &Evaluation<'_>, number: &Number) -> EvalResult<f64> {
    if number.is_exact() && number.is_integer() {
        return Err(evaluation.fail(format!("as a decimal, {number} would lose digits")));
    }
    Ok(number.as_f64())
}

fn arithmetic(
    evaluation: &mut Evaluation<'_>,
    args: &[CallArg<'_>],
    whole: fn(i128, i128) -> Option<i128>,
    decimal: fn(f64, f64) -> f64,
) -> EvalResult<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if let (Some(a), Some(b)) = (a.whole(), b.whole()) {
        return from_whole(evaluation, whole(a, b));
    }
    double(evaluation, decimal(float(evaluation, a)?, float(evaluation, b)?))
}

fn div(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if b.as_f64() == 0.0 {
        return Err(evaluation.fail("division by zero"));
    }
    match (a.whole(), b.whole()) {
        // An inexact quotient of integers becomes a double.
        (Some(a), Some(b)) if a.checked_rem(b) == Some(0) => from_whole(evaluation, a.checked_div(b)),
        _ => double(evaluation, float(evaluation, a)? / float(evaluation, b)?),
    }
}

fn modulo(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (a, b) = (args.number(0), args.number(1));
    if b.as_f64() == 0.0 {
        return Err(evaluation.fail("division by zero"));
    }
    match (a.whole(), b.whole()) {
        (Some(a), Some(b)) => from_whole(evaluation, a.checked_rem(b)),
        _ => double(evaluation, float(evaluation, a)? % float(evaluation, b)?),
    }
}
