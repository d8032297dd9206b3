//! Text. Places and lengths count characters (Unicode code points), not bytes.

use jmespath::{Rcvar, Variable};

use super::Function;
use super::Param::{Number, Text};
use super::call::{Arg, Args, text};
use crate::expr::{Outcome, Run, list};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "split",
        "split(text, separator: text) → list",
        "the parts between the separators",
        ("split('a,b,,c', ',')", r#"["a","b","","c"]"#),
        &[Text, Text],
        split,
    ),
    Function::new(
        "replace",
        "replace(text, from: text, to: text) → text",
        "the text with every `from` replaced",
        ("replace('a-b-c', '-', '/')", "\"a/b/c\""),
        &[Text, Text, Text],
        replace,
    ),
    Function::new(
        "trim",
        "trim(text) → text",
        "the text without white space around it",
        ("trim('  a b ')", "\"a b\""),
        &[Text],
        |run, args| text(run, args.text(0).trim()),
    ),
    Function::new(
        "lower",
        "lower(text) → text",
        "the text in lower case",
        ("lower('Ärger')", "\"ärger\""),
        &[Text],
        |run, args| text(run, args.text(0).to_lowercase()),
    ),
    Function::new(
        "upper",
        "upper(text) → text",
        "the text in upper case",
        ("upper(config.region)", "\"EU\""),
        &[Text],
        |run, args| text(run, args.text(0).to_uppercase()),
    ),
    Function::new(
        "substring",
        "substring(text, start: number, length?: number) → text",
        "the characters from `start` (0 is the first, negative counts from the end), at most `length` of them",
        ("[substring('orchid', `2`, `3`), substring('orchid', `-2`)]", r#"["chi","id"]"#),
        &[Text, Number, Number],
        substring,
    )
    .optional(1),
];

fn split(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    if args.text(1).is_empty() {
        return Err(run.fail("the separator is empty"));
    }
    let mut parts = Vec::new();
    for part in args.text(0).split(args.text(1)) {
        run.pay_slots(1)?;
        parts.push(text(run, part)?);
    }
    Ok(list(parts))
}

fn replace(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let (subject, from, to) = (args.text(0), args.text(1), args.text(2));
    if from.is_empty() {
        return Err(run.fail("the text to replace is empty"));
    }
    // Paid for before it is made: a long `to` multiplies.
    let size = subject.len().saturating_add(subject.matches(from).count().saturating_mul(to.len()));
    run.pay_text(size)?;
    Ok(Rcvar::new(Variable::String(subject.replace(from, to))))
}

fn substring(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let subject = args.text(0);
    let start = place(run, args.number(1))?;
    let start = if start < 0 {
        let length = i64::try_from(subject.chars().count()).unwrap_or(i64::MAX);
        length.saturating_add(start).max(0)
    } else {
        start
    };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let length = match args.value(2) {
        Some(_) => {
            usize::try_from(place(run, args.number(2))?).map_err(|_| run.fail("the length is negative"))?
        }
        None => usize::MAX,
    };
    let part: String = subject.chars().skip(start).take(length).collect();
    text(run, part)
}

/// A number that counts characters or elements.
pub(super) fn place(run: &Run<'_>, number: &serde_json::Number) -> Outcome<i64> {
    number.as_i64().ok_or_else(|| run.fail(format!("{number} is not an integer")))
}
