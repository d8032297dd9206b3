//! The functions that JMESPath itself defines, other than those that take an expression reference. Written here and
//! not taken from the parser's crate, so that they pay for what they make and keep the digits of integers.

use std::cmp::Ordering;

use jmespath::{Rcvar, Variable};
use serde_json::Number;

use super::Function;
use super::Param::{self, Any, List, Object, Sized, Text, TextOrList};
use super::call::{Arg, Args, double, integer, text};
use super::json::stringify;
use super::numbers::{exact, from_exact};
use crate::expr::{Outcome, Run, boolean, equal, list, null};
use crate::value::json_type_of;

const fn standard(
    name: &'static str,
    signature: &'static str,
    doc: &'static str,
    example: (&'static str, &'static str),
    params: &'static [Param],
    body: fn(&mut Run<'_>, &[Arg<'_>]) -> Outcome<Rcvar>,
) -> Function {
    Function::new(name, signature, doc, example, params, body).standard()
}

pub(super) static FUNCTIONS: &[Function] = &[
    standard("abs", "abs(number) → number", "the magnitude", ("abs(`-5`)", "5"), &[Param::Number], abs),
    standard(
        "avg",
        "avg(list of numbers) → number",
        "the mean; null of nothing",
        ("avg(`[1, 2]`)", "1.5"),
        &[List],
        avg,
    ),
    standard(
        "ceil",
        "ceil(number) → number",
        "the next integer up",
        ("ceil(`1.2`)", "2"),
        &[Param::Number],
        |run, args| round(run, args, f64::ceil),
    ),
    standard(
        "contains",
        "contains(text | list, part: any) → boolean",
        "whether the part is in it",
        ("contains('orchid', 'chi')", "true"),
        &[TextOrList, Any],
        contains,
    ),
    standard(
        "ends_with",
        "ends_with(text, end: text) → boolean",
        "whether the text ends so",
        ("ends_with('orchid', 'id')", "true"),
        &[Text, Text],
        |_, args| Ok(boolean(args.text(0).ends_with(args.text(1)))),
    ),
    standard(
        "floor",
        "floor(number) → number",
        "the next integer down",
        ("floor(`1.8`)", "1"),
        &[Param::Number],
        |run, args| round(run, args, f64::floor),
    ),
    standard(
        "join",
        "join(glue: text, list of texts) → text",
        "the texts with the glue between them",
        ("join('-', ['a', 'b'])", "\"a-b\""),
        &[Text, List],
        join,
    ),
    standard(
        "keys",
        "keys(object) → list",
        "the names, in order",
        ("keys({b: `1`, a: `2`})", r#"["a","b"]"#),
        &[Object],
        keys,
    ),
    standard(
        "length",
        "length(text | list | object) → number",
        "the number of characters, elements or members",
        ("length(response.body.items)", "2"),
        &[Sized],
        length,
    ),
    standard(
        "max",
        "max(list of numbers or texts) → any",
        "the greatest, numbers as decimals (exactly: `max_of`); null of nothing",
        ("max(`[1, 3, 2]`)", "3"),
        &[List],
        |run, args| extreme(run, args, Ordering::Greater),
    ),
    standard(
        "merge",
        "merge(object, …) → object",
        "one object of all members; later ones win",
        ("merge({a: `1`}, {b: `2`})", r#"{"a":1,"b":2}"#),
        &[Object],
        merge,
    )
    .variadic(),
    standard(
        "min",
        "min(list of numbers or texts) → any",
        "the least, numbers as decimals (exactly: `min_of`); null of nothing",
        ("min(`[1, 3, 2]`)", "1"),
        &[List],
        |run, args| extreme(run, args, Ordering::Less),
    ),
    standard(
        "not_null",
        "not_null(value: any, …) → any",
        "the first that is not null",
        ("not_null(context.missing, 'x')", "\"x\""),
        &[Any],
        not_null,
    )
    .variadic(),
    standard(
        "reverse",
        "reverse(text | list) → any",
        "the other way round",
        ("reverse('abc')", "\"cba\""),
        &[TextOrList],
        reverse,
    ),
    standard(
        "sort",
        "sort(list of numbers or texts) → list",
        "the list in order, numbers as decimals",
        ("sort(`[3, 1, 2]`)", "[1,2,3]"),
        &[List],
        sort,
    ),
    standard(
        "starts_with",
        "starts_with(text, start: text) → boolean",
        "whether the text starts so",
        ("starts_with('orchid', 'or')", "true"),
        &[Text, Text],
        |_, args| Ok(boolean(args.text(0).starts_with(args.text(1)))),
    ),
    standard(
        "sum",
        "sum(list of numbers) → number",
        "the sum; 0 of nothing",
        ("sum(`[1, 2]`)", "3"),
        &[List],
        sum,
    ),
    standard(
        "to_array",
        "to_array(any) → list",
        "a list as it is, anything else as its only element",
        ("to_array('a')", r#"["a"]"#),
        &[Any],
        to_array,
    ),
    standard(
        "to_number",
        "to_number(any) → number",
        "the number that a text holds; null where there is none",
        ("to_number('12')", "12"),
        &[Any],
        to_number,
    ),
    standard(
        "to_string",
        "to_string(any) → text",
        "text as it is, anything else as JSON",
        ("to_string(`[1]`)", "\"[1]\""),
        &[Any],
        to_string,
    ),
    standard(
        "type",
        "type(any) → text",
        "the name of the JSON type",
        ("type('a')", "\"string\""),
        &[Any],
        |run, args| {
            let name = args.value(0).map(|value| value.get_type().to_string()).unwrap_or_default();
            text(run, name)
        },
    ),
    standard(
        "values",
        "values(object) → list",
        "the values, in the order of their names",
        ("values({b: `1`, a: `2`})", "[2,1]"),
        &[Object],
        values,
    ),
];

fn abs(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let number = args.number(0);
    match exact(number) {
        Some(whole) => from_exact(run, whole.abs()),
        None => double(run, number.as_f64().unwrap_or(f64::NAN).abs()),
    }
}

fn round(run: &mut Run<'_>, args: &[Arg<'_>], towards: fn(f64) -> f64) -> Outcome<Rcvar> {
    let number = args.number(0);
    if let Some(whole) = exact(number) {
        return from_exact(run, whole);
    }
    let rounded = towards(number.as_f64().unwrap_or(f64::NAN));
    if rounded.abs() < 9e18 {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 64 bits")]
        return Ok(integer(rounded as i64));
    }
    double(run, rounded)
}

/// The numbers of a list, or a failure that names what else is in it.
fn numbers<'a>(run: &mut Run<'_>, items: &'a [Rcvar]) -> Outcome<Vec<&'a Number>> {
    run.pay_steps(items.len())?;
    items
        .iter()
        .map(|item| match &**item {
            Variable::Number(number) => Ok(number),
            other => Err(run.fail(format!("the list must hold numbers, and holds {}", json_type_of(other)))),
        })
        .collect()
}

fn sum(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let numbers = numbers(run, args.list(0))?;
    let whole: Option<i128> = numbers.iter().try_fold(0_i128, |sum, number| sum.checked_add(exact(number)?));
    match whole {
        Some(whole) => from_exact(run, whole),
        None => double(run, numbers.iter().filter_map(|number| number.as_f64()).sum()),
    }
}

fn avg(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let numbers = numbers(run, args.list(0))?;
    if numbers.is_empty() {
        return Ok(null());
    }
    #[expect(clippy::cast_precision_loss, reason = "lists are far shorter than 2^53")]
    let count = numbers.len() as f64;
    double(run, numbers.iter().filter_map(|number| number.as_f64()).sum::<f64>() / count)
}

fn contains(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let (Some(subject), Some(part)) = (args.value(0), args.value(1)) else { return Ok(null()) };
    if let Variable::String(subject) = &**subject {
        return Ok(boolean(part.as_string().is_some_and(|part| subject.contains(part.as_str()))));
    }
    for item in args.list(0) {
        if equal::equal(run, item, part)? {
            return Ok(boolean(true));
        }
    }
    Ok(boolean(false))
}

fn join(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let glue = args.text(0);
    let mut joined = String::new();
    for (index, item) in args.list(1).iter().enumerate() {
        let Variable::String(part) = &**item else {
            return Err(run.fail(format!("the list must hold texts, and holds {}", json_type_of(item))));
        };
        // Paid for before it grows: one long text can be in the list many times.
        run.pay_text(part.len() + glue.len())?;
        if index > 0 {
            joined.push_str(glue);
        }
        joined.push_str(part);
    }
    Ok(Rcvar::new(Variable::String(joined)))
}

fn members<'a>(args: &'a [Arg<'_>], place: usize) -> impl Iterator<Item = (&'a String, &'a Rcvar)> {
    args.value(place).and_then(|value| value.as_object()).into_iter().flatten()
}

fn keys(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let mut names = Vec::new();
    for (name, _) in members(args, 0) {
        run.pay_slots(1)?;
        names.push(text(run, name.as_str())?);
    }
    Ok(list(names))
}

fn values(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let values: Vec<_> = members(args, 0).map(|(_, value)| value.clone()).collect();
    run.pay_slots(values.len())?;
    Ok(list(values))
}

fn merge(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let mut merged = std::collections::BTreeMap::new();
    for place in 0..args.len() {
        for (name, value) in members(args, place) {
            run.pay_slots(2)?;
            run.pay_text(name.len())?;
            merged.insert(name.clone(), value.clone());
        }
    }
    Ok(Rcvar::new(Variable::Object(merged)))
}

fn length(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let length = match args.value(0).map(|value| &**value) {
        Some(Variable::Array(items)) => items.len(),
        Some(Variable::Object(members)) => members.len(),
        Some(Variable::String(text)) => text.chars().count(),
        _ => return Err(run.fail("no length")),
    };
    Ok(integer(length))
}

fn not_null(_: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let first = (0..args.len()).filter_map(|place| args.value(place)).find(|value| !value.is_null());
    Ok(first.cloned().unwrap_or_else(null))
}

fn reverse(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    match args.value(0).map(|value| &**value) {
        Some(Variable::Array(items)) => {
            run.pay_slots(items.len())?;
            Ok(list(items.iter().rev().cloned().collect()))
        }
        _ => {
            let reversed: String = args.text(0).chars().rev().collect();
            text(run, reversed)
        }
    }
}

/// Checks that all elements are numbers, or all texts: what JMESPath can put in order.
pub(super) fn sortable<'a>(
    run: &mut Run<'_>,
    items: impl ExactSizeIterator<Item = &'a Rcvar>,
) -> Outcome<()> {
    let length = items.len();
    run.pay_slots(length)?;
    // Each element is compared so often: one long text can be in the list many times.
    let comparisons = length.checked_ilog2().unwrap_or(0) as usize + 1;
    run.pay_steps(length.saturating_mul(comparisons))?;
    let mut first = None;
    for item in items {
        let kind = json_type_of(item);
        run.pay_steps(item.as_string().map_or(0, String::len).saturating_mul(comparisons) / 64)?;
        let orderable = matches!(**item, Variable::Number(_) | Variable::String(_));
        if !orderable || *first.get_or_insert(kind) != kind {
            let beside = first.filter(|first| *first != kind).map(|first| format!(" beside {first}"));
            return Err(run.fail(format!(
                "only numbers or only texts have an order, not {kind}{}",
                beside.unwrap_or_default()
            )));
        }
    }
    Ok(())
}

fn sort(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let items = args.list(0);
    sortable(run, items.iter())?;
    let mut sorted = items.to_vec();
    sorted.sort();
    Ok(list(sorted))
}

fn extreme(run: &mut Run<'_>, args: &[Arg<'_>], wanted: Ordering) -> Outcome<Rcvar> {
    let items = args.list(0);
    sortable(run, items.iter())?;
    let mut best: Option<&Rcvar> = None;
    for item in items {
        if best.is_none_or(|best| item.cmp(best) == wanted) {
            best = Some(item);
        }
    }
    Ok(best.cloned().unwrap_or_else(null))
}

fn to_array(_: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let Some(value) = args.value(0) else { return Ok(null()) };
    Ok(if value.is_array() { value.clone() } else { list(vec![value.clone()]) })
}

fn to_number(_: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let Some(value) = args.value(0) else { return Ok(null()) };
    Ok(match &**value {
        Variable::Number(_) => value.clone(),
        Variable::String(text) => {
            serde_json::from_str::<Number>(text.trim()).map_or_else(|_| null(), integer)
        }
        _ => null(),
    })
}

fn to_string(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    match args.value(0) {
        Some(value) if value.is_string() => Ok(value.clone()),
        _ => stringify(run, args),
    }
}
