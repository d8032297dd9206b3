//! Exact order: integers by every digit, decimals, timestamps by instant, text by code points.

use std::cmp::Ordering;

use super::call::LibraryFunction;
use super::call::ParamType::{Any, List};
use super::call::{CallArg, CheckedArgs, integer};
use crate::expr::eval::evaluation::{EvalResult, Evaluation, null};
use crate::time::parse_rfc3339;
use crate::value::{Rcvar, Variable, json_type_of};

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "compare",
        "compare(a: number | text, b: number | text) → number",
        "-1, 0 or 1 if `a` is less than, equal to or greater than `b`, compared exactly; null if either is null",
        ("compare('2026-01-15T12:00:00+02:00', '2026-01-15T10:30:00Z') < `0`", "true"),
        &[Any, Any],
        compare,
    ),
    LibraryFunction::new(
        "max_of",
        "max_of(list) → any",
        "the greatest of numbers, timestamps or texts, compared exactly; nulls are skipped; null for an empty list",
        ("max_of(response.body.items[*].id)", "2"),
        &[List],
        |evaluation, args| extreme(evaluation, args, Ordering::Greater),
    ),
    LibraryFunction::new(
        "min_of",
        "min_of(list) → any",
        "the least of numbers, timestamps or texts, compared exactly; nulls are skipped; null for an empty list",
        ("min_of(`[9007199254740993, 9007199254740992]`)", "9007199254740992"),
        &[List],
        |evaluation, args| extreme(evaluation, args, Ordering::Less),
    ),
];

/// Compares two numbers or two texts exactly. Two RFC 3339 timestamps compare by instant.
fn order(evaluation: &Evaluation<'_>, a: &Variable, b: &Variable) -> EvalResult<Ordering> {
    match (a, b) {
        (Variable::Number(a), Variable::Number(b)) => Ok(a.compare_exactly(b)),
        (Variable::String(a), Variable::String(b)) => Ok(match (parse_rfc3339(a), parse_rfc3339(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.cmp(b),
        }),
        _ => Err(evaluation.fail(format!("cannot order {} and {}", json_type_of(a), json_type_of(b)))),
    }
}

fn compare(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (Some(a), Some(b)) = (args.value(0), args.value(1)) else { return Ok(null()) };
    if a.is_null() || b.is_null() {
        return Ok(null());
    }
    Ok(integer(match order(evaluation, a, b)? {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }))
}

fn extreme(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>], wanted: Ordering) -> EvalResult<Rcvar> {
    let mut best: Option<&Rcvar> = None;
    for item in args.list(0) {
        evaluation.charge_steps(1 + item.as_string().map_or(0, String::len) / 64)?;
        if item.is_null() {
            continue;
        }
        // The first element is compared with itself, to refuse a list, object or boolean.
        if order(evaluation, item, best.unwrap_or(item))? == wanted || best.is_none() {
            best = Some(item);
        }
    }
    Ok(best.cloned().unwrap_or_else(null))
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn order_is_exact_beyond_doubles() {
        for (a, b, expected) in [
            ("9007199254740993", "9007199254740992", "1"),
            ("18446744073709551615", "18446744073709551614", "1"),
            ("-9223372036854775808", "18446744073709551615", "-1"),
            ("9007199254740993", "9007199254740992.0", "1"),
            ("5", "5.0", "0"),
            ("5", "5.5", "-1"),
            ("-5", "-5.5", "1"),
            ("1", "1e300", "-1"),
            ("0.1", "0.2", "-1"),
            ("123456789012345678901234567891", "123456789012345678901234567890", "1"),
        ] {
            assert_eq!(eval(&format!("compare(`{a}`, `{b}`)")).unwrap(), expected, "{a} {b}");
        }
    }

    #[test]
    fn numbers_beyond_a_double_are_compared() {
        assert_eq!(eval("compare(json_parse('1e400'), json_parse('1e401'))").unwrap(), "-1");
        assert_eq!(eval("max_of(json_parse('[1, 1E400, -1e500]'))").unwrap(), "1E400");
        assert_eq!(eval("json_parse('1e400') > `5`").unwrap(), "true");
    }

    #[test]
    fn timestamps_order_by_instant_and_other_text_by_code_points() {
        assert_eq!(
            eval("max_of(['2026-01-15T12:00:00+02:00', '2026-01-15T10:30:00Z'])").unwrap(),
            "\"2026-01-15T10:30:00Z\""
        );
        assert_eq!(eval("max_of(['b', 'c', 'a'])").unwrap(), "\"c\"");
        assert_eq!(eval("compare('10', '9')").unwrap(), "-1");
    }

    #[test]
    fn empty_list_and_null_have_no_extreme() {
        assert_eq!(eval("max_of(`[]`)").unwrap(), "null");
        assert_eq!(eval("min_of(`[null, 3, null, 2]`)").unwrap(), "2");
        assert_eq!(eval("compare(`null`, `1`)").unwrap(), "null");
        assert_eq!(eval("compare(`null`, `1`) > `0`").unwrap(), "null");
    }

    #[test]
    fn values_of_different_types_have_no_order() {
        assert!(eval("compare('1', `1`)").unwrap_err().message.contains("cannot order text and number"));
        assert!(eval("max_of(`[{}]`)").unwrap_err().message.contains("cannot order object and object"));
    }
}
