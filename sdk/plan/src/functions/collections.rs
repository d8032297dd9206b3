//! Lists, and the whole scope.

use std::collections::HashSet;

use jmespath::Rcvar;

use super::Function;
use super::Param::{List, Number, Text};
use super::call::{Arg, Args, integer};
use super::json::bounded_json;
use super::text::place;
use crate::expr::{Outcome, Run, list};

/// Elements of one `range` at most.
const RANGE: usize = 1_000_000;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "unique",
        "unique(list) → list",
        "the list without repetitions; the first of equal elements stays",
        ("unique(`[3, 1, 3, \"1\", 1]`)", r#"[3, 1, "1"]"#),
        &[List],
        unique,
    ),
    Function::new(
        "range",
        "range(start: number, stop: number, step?: number) → list",
        "the integers from `start` up to `stop`, which is not among them",
        ("[range(`0`, `3`), range(`5`, `0`, `-2`)]", "[[0, 1, 2], [5, 3, 1]]"),
        &[Number, Number, Number],
        range,
    )
    .optional(1),
    Function::new(
        "chunk",
        "chunk(list, n: number) → list",
        "the list cut into lists of `n` elements; the last may be shorter",
        ("chunk(`[1, 2, 3, 4, 5]`, `2`)", "[[1, 2], [3, 4], [5]]"),
        &[List, Number],
        chunk,
    ),
    Function::new(
        "root",
        "root() → object",
        "the whole scope, also where an expression looks at something inside it, like a filter",
        (
            "response.body.items[?name == 'a'].{id: id, region: root().config.region}",
            r#"[{"id":2,"region":"eu"}]"#,
        ),
        &[],
        // Evaluation answers by itself and never comes here.
        |run, _| Ok(run.scope.whole().clone()),
    ),
    Function::new(
        "raw",
        "raw(text) → text",
        "in a `url` template, the text without percent-encoding; stands there alone and nowhere else",
        ("https://api.example.com/items?{{ raw('a=1&b=2') }}", "\"https://api.example.com/items?a=1&b=2\""),
        &[Text],
        |run, _| Err(run.fail("stands outside a url template")),
    ),
];

fn unique(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for item in args.list(0) {
        run.pay_slots(1)?;
        if seen.insert(bounded_json(run, item)?) {
            kept.push(item.clone());
        }
    }
    Ok(list(kept))
}

fn range(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let (start, stop) = (i128::from(place(run, args.number(0))?), i128::from(place(run, args.number(1))?));
    let step = if args.value(2).is_some() { i128::from(place(run, args.number(2))?) } else { 1 };
    if step == 0 {
        return Err(run.fail("the step is 0"));
    }
    let span = if step > 0 { stop - start } else { start - stop };
    let length = usize::try_from(span.max(0).div_euclid(step.abs())).unwrap_or(usize::MAX);
    let length = length.saturating_add(usize::from(span.max(0).rem_euclid(step.abs()) > 0));
    if length > RANGE {
        return Err(run.fail(format!("{length} elements are more than {RANGE}")));
    }
    run.pay_slots(length)?;
    let mut items = Vec::with_capacity(length);
    let mut next = start;
    for _ in 0..length {
        // Between start and stop, which are both 64-bit integers.
        items.push(integer(i64::try_from(next).unwrap_or(i64::MAX)));
        next += step;
    }
    Ok(list(items))
}

fn chunk(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let size = usize::try_from(place(run, args.number(1))?).unwrap_or(0);
    if size == 0 {
        return Err(run.fail("chunks have at least one element"));
    }
    let items = args.list(0);
    run.pay_slots(items.len().saturating_mul(2))?;
    Ok(list(items.chunks(size).map(|part| list(part.to_vec())).collect()))
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn a_range_is_as_long_as_its_bounds_say() {
        assert_eq!(eval("range(`0`, `5`, `2`)").unwrap(), "[0,2,4]");
        assert_eq!(eval("range(`3`, `3`)").unwrap(), "[]");
        assert_eq!(eval("range(`3`, `0`)").unwrap(), "[]");
        assert_eq!(eval("length(range(`0`, `1000000`))").unwrap(), "1000000");
        assert!(eval("range(`0`, `1000001`)").unwrap_err().message.contains("more than 1000000"));
        assert!(eval("range(`-9223372036854775808`, `9223372036854775807`)").is_err());
        assert!(eval("range(`0`, `1.5`)").unwrap_err().message.contains("1.5 is not an integer"));
    }
}
