//! Functions on text. Positions and lengths count characters (Unicode code points), not bytes.

use super::call::LibraryFunction;
use super::call::ParamType::{Number, Text};
use super::call::{CallArg, CheckedArgs, text};
use crate::expr::eval::evaluation::{EvalResult, Evaluation, list};
use crate::value::{Rcvar, Variable};

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "split",
        "split(text, separator: text) → list",
        "the parts between the separators",
        ("split('a,b,,c', ',')", r#"["a","b","","c"]"#),
        &[Text, Text],
        split,
    ),
    LibraryFunction::new(
        "replace",
        "replace(text, from: text, to: text) → text",
        "the text with every `from` replaced by `to`",
        ("replace('a-b-c', '-', '/')", "\"a/b/c\""),
        &[Text, Text, Text],
        replace,
    ),
    LibraryFunction::new(
        "trim",
        "trim(text) → text",
        "the text without leading and trailing white space",
        ("trim('  a b ')", "\"a b\""),
        &[Text],
        |evaluation, args| text(evaluation, args.text(0).trim()),
    ),
    LibraryFunction::new(
        "lower",
        "lower(text) → text",
        "the text in lower case",
        ("lower('Ärger')", "\"ärger\""),
        &[Text],
        |evaluation, args| text(evaluation, args.text(0).to_lowercase()),
    ),
    LibraryFunction::new(
        "upper",
        "upper(text) → text",
        "the text in upper case",
        ("upper(config.region)", "\"EU\""),
        &[Text],
        |evaluation, args| text(evaluation, args.text(0).to_uppercase()),
    ),
    LibraryFunction::new(
        "substring",
        "substring(text, start: number, length?: number) → text",
        "at most `length` characters from `start` on; 0 is the first, a negative `start` counts from the end",
        ("[substring('orchid', `2`, `3`), substring('orchid', `-2`)]", r#"["chi","id"]"#),
        &[Text, Number, Number],
        substring,
    )
    .optional(1),
];

fn split(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    if args.text(1).is_empty() {
        return Err(evaluation.fail("the separator is empty"));
    }
    let mut parts = Vec::new();
    for part in args.text(0).split(args.text(1)) {
        evaluation.charge_slots(1)?;
        parts.push(text(evaluation, part)?);
    }
    Ok(list(parts))
}

fn replace(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (subject, from, to) = (args.text(0), args.text(1), args.text(2));
    if from.is_empty() {
        return Err(evaluation.fail("the text to replace is empty"));
    }
    // Charged before the text is built: every match can insert a long `to`.
    let size = subject.len().saturating_add(subject.matches(from).count().saturating_mul(to.len()));
    evaluation.charge_text(size)?;
    Ok(Rcvar::new(Variable::String(subject.replace(from, to))))
}

fn substring(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let subject = args.text(0);
    let start = expect_integer(evaluation, args.number(1))?;
    let start = if start < 0 {
        let length = i64::try_from(subject.chars().count()).unwrap_or(i64::MAX);
        length.saturating_add(start).max(0)
    } else {
        start
    };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let length = match args.value(2) {
        Some(_) => usize::try_from(expect_integer(evaluation, args.number(2))?)
            .map_err(|_| evaluation.fail("the length is negative"))?,
        None => usize::MAX,
    };
    let part: String = subject.chars().skip(start).take(length).collect();
    text(evaluation, part)
}

/// Returns a number that counts characters or elements. Fails if it is not an integer.
pub(super) fn expect_integer(evaluation: &Evaluation<'_>, number: &crate::value::Number) -> EvalResult<i64> {
    number.as_i64().ok_or_else(|| evaluation.fail(format!("{number} is not an integer")))
}
