//! Functions on lists, and the functions that evaluation or templates handle themselves.

use std::collections::HashSet;

use jmespath::Rcvar;

use super::call::LibraryFunction;
use super::call::ParamType::{List, Number, Text};
use super::call::{CallArg, CheckedArgs, integer};
use super::json::bounded_json;
use super::text::expect_integer;
use crate::expr::eval::evaluation::{EvalResult, Evaluation, list};

/// Maximum number of elements of one `range`.
const MAX_RANGE: usize = 1_000_000;

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "unique",
        "unique(list) → list",
        "the list without duplicates; the first of equal elements stays",
        ("unique(`[3, 1, 3, \"1\", 1]`)", r#"[3, 1, "1"]"#),
        &[List],
        unique,
    ),
    LibraryFunction::new(
        "range",
        "range(start: number, stop: number, step?: number) → list",
        "the integers from `start` up to, but not including, `stop`",
        ("[range(`0`, `3`), range(`5`, `0`, `-2`)]", "[[0, 1, 2], [5, 3, 1]]"),
        &[Number, Number, Number],
        range,
    )
    .optional(1),
    LibraryFunction::new(
        "chunk",
        "chunk(list, n: number) → list",
        "the list split into lists of `n` elements; the last may be shorter",
        ("chunk(`[1, 2, 3, 4, 5]`, `2`)", "[[1, 2], [3, 4], [5]]"),
        &[List, Number],
        chunk,
    ),
    LibraryFunction::new(
        "root",
        "root() → object",
        "the whole scope, also inside a filter or projection, where names refer to the element",
        (
            "response.body.items[?name == 'a'].{id: id, region: root().config.region}",
            r#"[{"id":2,"region":"eu"}]"#,
        ),
        &[],
        // Never called: the interpreter evaluates `root()` itself.
        |evaluation, _| Ok(evaluation.scope.as_object().clone()),
    ),
    LibraryFunction::new(
        "raw",
        "raw(text) → text",
        "the text without percent-encoding; only allowed in a `url` template, alone between `{{` and `}}`",
        ("https://api.example.com/items?{{ raw('a=1&b=2') }}", "\"https://api.example.com/items?a=1&b=2\""),
        &[Text],
        |evaluation, _| Err(evaluation.fail("only allowed in a url template")),
    ),
];

fn unique(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for item in args.list(0) {
        evaluation.charge_slots(1)?;
        if seen.insert(bounded_json(evaluation, item)?) {
            distinct.push(item.clone());
        }
    }
    Ok(list(distinct))
}

fn range(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (start, stop) = (
        i128::from(expect_integer(evaluation, args.number(0))?),
        i128::from(expect_integer(evaluation, args.number(1))?),
    );
    let step =
        if args.value(2).is_some() { i128::from(expect_integer(evaluation, args.number(2))?) } else { 1 };
    if step == 0 {
        return Err(evaluation.fail("the step is 0"));
    }
    let span = if step > 0 { stop - start } else { start - stop };
    let length = usize::try_from(span.max(0).div_euclid(step.abs())).unwrap_or(usize::MAX);
    let length = length.saturating_add(usize::from(span.max(0).rem_euclid(step.abs()) > 0));
    if length > MAX_RANGE {
        return Err(evaluation.fail(format!("{length} elements are more than {MAX_RANGE}")));
    }
    evaluation.charge_slots(length)?;
    let mut items = Vec::with_capacity(length);
    let mut next = start;
    for _ in 0..length {
        // Cannot saturate: `next` lies between two 64-bit integers.
        items.push(integer(i64::try_from(next).unwrap_or(i64::MAX)));
        next += step;
    }
    Ok(list(items))
}

fn chunk(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let size = usize::try_from(expect_integer(evaluation, args.number(1))?).unwrap_or(0);
    if size == 0 {
        return Err(evaluation.fail("a chunk must have at least one element"));
    }
    let items = args.list(0);
    evaluation.charge_slots(items.len().saturating_mul(2))?;
    Ok(list(items.chunks(size).map(|part| list(part.to_vec())).collect()))
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn range_length_follows_its_bounds() {
        assert_eq!(eval("range(`0`, `5`, `2`)").unwrap(), "[0,2,4]");
        assert_eq!(eval("range(`3`, `3`)").unwrap(), "[]");
        assert_eq!(eval("range(`3`, `0`)").unwrap(), "[]");
        assert_eq!(eval("length(range(`0`, `1000000`))").unwrap(), "1000000");
        assert!(eval("range(`0`, `1000001`)").unwrap_err().message.contains("more than 1000000"));
        assert!(eval("range(`-9223372036854775808`, `9223372036854775807`)").is_err());
        assert!(eval("range(`0`, `1.5`)").unwrap_err().message.contains("1.5 is not an integer"));
    }
}
