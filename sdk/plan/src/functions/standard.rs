//! The functions of JMESPath's specification, except those that take an expression reference.
//!
//! The parser's crate has them too, but these charge the budget and keep every digit of integers.

use std::cmp::Ordering;

use super::call::LibraryFunction;
use super::call::ParamType::{self, Any, List, Object, Sized, Text, TextOrList};
use super::call::{CallArg, CheckedArgs, double, integer, text};
use super::json::stringify;
use super::numbers::{float, from_whole};
use crate::expr::eval::equality::equal;
use crate::expr::eval::evaluation::{EvalResult, Evaluation, boolean, list, null};
use crate::value::{Number, Rcvar, Variable, json_type_of};

const fn standard(
    name: &'static str,
    signature: &'static str,
    doc: &'static str,
    example: (&'static str, &'static str),
    params: &'static [ParamType],
    body: fn(&mut Evaluation<'_>, &[CallArg<'_>]) -> EvalResult<Rcvar>,
) -> LibraryFunction {
    LibraryFunction::new(name, signature, doc, example, params, body).standard()
}

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    standard(
        "abs",
        "abs(number) → number",
        "the absolute value",
        ("abs(`-5`)", "5"),
        &[ParamType::Number],
        abs,
    ),
    standard(
        "avg",
        "avg(list of numbers) → number",
        "the mean; null for an empty list",
        ("avg(`[1, 2]`)", "1.5"),
        &[List],
        avg,
    ),
    standard(
        "ceil",
        "ceil(number) → number",
        "the number rounded up to an integer",
        ("ceil(`1.2`)", "2"),
        &[ParamType::Number],
        |evaluation, args| round(evaluation, args, f64::ceil),
    ),
    standard(
        "contains",
        "contains(text | list, part: any) → boolean",
        "true if the text or list contains the part",
        ("contains('orchid', 'chi')", "true"),
        &[TextOrList, Any],
        contains,
    ),
    standard(
        "ends_with",
        "ends_with(text, end: text) → boolean",
        "true if the text ends with `end`",
        ("ends_with('orchid', 'id')", "true"),
        &[Text, Text],
        |_, args| Ok(boolean(args.text(0).ends_with(args.text(1)))),
    ),
    standard(
        "floor",
        "floor(number) → number",
        "the number rounded down to an integer",
        ("floor(`1.8`)", "1"),
        &[ParamType::Number],
        |evaluation, args| round(evaluation, args, f64::floor),
    ),
    standard(
        "join",
        "join(glue: text, list of texts) → text",
        "the texts joined with the glue between them",
        ("join('-', ['a', 'b'])", "\"a-b\""),
        &[Text, List],
        join,
    ),
    standard(
        "keys",
        "keys(object) → list",
        "the names of the members, in order",
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
        "the greatest; numbers compare as doubles (`max_of` is exact); null for an empty list",
        ("max(`[1, 3, 2]`)", "3"),
        &[List],
        |evaluation, args| extreme(evaluation, args, Ordering::Greater),
    ),
    standard(
        "merge",
        "merge(object, …) → object",
        "one object with all members; later members win",
        ("merge({a: `1`}, {b: `2`})", r#"{"a":1,"b":2}"#),
        &[Object],
        merge,
    )
    .variadic(),
    standard(
        "min",
        "min(list of numbers or texts) → any",
        "the least; numbers compare as doubles (`min_of` is exact); null for an empty list",
        ("min(`[1, 3, 2]`)", "1"),
        &[List],
        |evaluation, args| extreme(evaluation, args, Ordering::Less),
    ),
    standard(
        "not_null",
        "not_null(value: any, …) → any",
        "the first value that is not null",
        ("not_null(context.missing, 'x')", "\"x\""),
        &[Any],
        not_null,
    )
    .variadic(),
    standard(
        "reverse",
        "reverse(text | list) → any",
        "the text or list in reverse order",
        ("reverse('abc')", "\"cba\""),
        &[TextOrList],
        reverse,
    ),
    standard(
        "sort",
        "sort(list of numbers or texts) → list",
        "the sorted list; numbers compare as doubles",
        ("sort(`[3, 1, 2]`)", "[1,2,3]"),
        &[List],
        sort,
    ),
    standard(
        "starts_with",
        "starts_with(text, start: text) → boolean",
        "true if the text starts with `start`",
        ("starts_with('orchid', 'or')", "true"),
        &[Text, Text],
        |_, args| Ok(boolean(args.text(0).starts_with(args.text(1)))),
    ),
    standard(
        "sum",
        "sum(list of numbers) → number",
        "the sum; 0 for an empty list",
        ("sum(`[1, 2]`)", "3"),
        &[List],
        sum,
    ),
    standard(
        "to_array",
        "to_array(any) → list",
        "a list unchanged; any other value as a list of one element",
        ("to_array('a')", r#"["a"]"#),
        &[Any],
        to_array,
    ),
    standard(
        "to_number",
        "to_number(any) → number",
        "the number in a text; a number unchanged; null for anything else",
        ("to_number('12')", "12"),
        &[Any],
        to_number,
    ),
    standard(
        "to_string",
        "to_string(any) → text",
        "text unchanged; any other value as JSON",
        ("to_string(`[1]`)", "\"[1]\""),
        &[Any],
        to_string,
    ),
    standard(
        "type",
        "type(any) → text",
        "the name of the JSON type: `string`, `number`, `boolean`, `array`, `object` or `null`",
        ("type('a')", "\"string\""),
        &[Any],
        |evaluation, args| text(evaluation, args.value(0).map_or("null", |value| value.type_name())),
    ),
    standard(
        "values",
        "values(object) → list",
        "the values of the members, in the order of their names",
        ("values({b: `1`, a: `2`})", "[2,1]"),
        &[Object],
        values,
    ),
];

fn abs(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let number = args.number(0);
    match number.whole() {
        Some(whole) => from_whole(evaluation, whole.checked_abs()),
        None => double(evaluation, float(evaluation, number)?.abs()),
    }
}

fn round(
    evaluation: &mut Evaluation<'_>,
    args: &[CallArg<'_>],
    towards: fn(f64) -> f64,
) -> EvalResult<Rcvar> {
    let number = args.number(0);
    if number.is_integer() {
        return Ok(integer(number.clone()));
    }
    let rounded = towards(number.as_f64());
    // Below 2^63, the rounded double converts to an i64 without saturation.
    if rounded.abs() < 9e18 {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 64 bits")]
        return Ok(integer(rounded as i64));
    }
    double(evaluation, rounded)
}

/// Returns the numbers of a list. Fails with the type of the first element that is not a number.
fn numbers<'a>(evaluation: &mut Evaluation<'_>, items: &'a [Rcvar]) -> EvalResult<Vec<&'a Number>> {
    evaluation.charge_steps(items.len())?;
    items
        .iter()
        .map(|item| match &**item {
            Variable::Number(number) => Ok(number),
            other => {
                Err(evaluation.fail(format!("the list must hold numbers, and holds {}", json_type_of(other))))
            }
        })
        .collect()
}

fn sum(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let numbers = numbers(evaluation, args.list(0))?;
    let whole: Option<i128> = numbers.iter().try_fold(0_i128, |sum, number| sum.checked_add(number.whole()?));
    match whole {
        // Integers are summed exactly. A single decimal makes the whole sum a double.
        Some(whole) => from_whole(evaluation, Some(whole)),
        None => {
            let sum = double_sum(evaluation, &numbers)?;
            double(evaluation, sum)
        }
    }
}

fn avg(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let numbers = numbers(evaluation, args.list(0))?;
    if numbers.is_empty() {
        return Ok(null());
    }
    #[expect(clippy::cast_precision_loss, reason = "lists are far shorter than 2^53")]
    let count = numbers.len() as f64;
    let sum = double_sum(evaluation, &numbers)?;
    double(evaluation, sum / count)
}

fn double_sum(evaluation: &Evaluation<'_>, numbers: &[&Number]) -> EvalResult<f64> {
    numbers.iter().try_fold(0.0, |sum, number| Ok(sum + float(evaluation, number)?))
}

fn contains(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let (Some(subject), Some(part)) = (args.value(0), args.value(1)) else { return Ok(null()) };
    if let Variable::String(subject) = &**subject {
        return Ok(boolean(part.as_string().is_some_and(|part| subject.contains(part.as_str()))));
    }
    for item in args.list(0) {
        if equal(evaluation, item, part)? {
            return Ok(boolean(true));
        }
    }
    Ok(boolean(false))
}

fn join(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let glue = args.text(0);
    let mut joined = String::new();
    for (index, item) in args.list(1).iter().enumerate() {
        let Variable::String(part) = &**item else {
            return Err(
                evaluation.fail(format!("the list must hold texts, and holds {}", json_type_of(item)))
            );
        };
        // Charged before the text grows: the list can share one long text many times.
        evaluation.charge_text(part.len() + glue.len())?;
        if index > 0 {
            joined.push_str(glue);
        }
        joined.push_str(part);
    }
    Ok(Rcvar::new(Variable::String(joined)))
}

fn members<'a>(args: &'a [CallArg<'_>], index: usize) -> impl Iterator<Item = (&'a String, &'a Rcvar)> {
    args.value(index).and_then(|value| value.as_object()).into_iter().flatten()
}

fn keys(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let mut names = Vec::new();
    for (name, _) in members(args, 0) {
        evaluation.charge_slots(1)?;
        names.push(text(evaluation, name.as_str())?);
    }
    Ok(list(names))
}

fn values(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let values: Vec<_> = members(args, 0).map(|(_, value)| value.clone()).collect();
    evaluation.charge_slots(values.len())?;
    Ok(list(values))
}

fn merge(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let mut merged = std::collections::BTreeMap::new();
    for index in 0..args.len() {
        for (name, value) in members(args, index) {
            evaluation.charge_slots(2)?;
            evaluation.charge_text(name.len())?;
            merged.insert(name.clone(), value.clone());
        }
    }
    Ok(Rcvar::new(Variable::Object(merged)))
}

fn length(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let length = match args.value(0).map(|value| &**value) {
        Some(Variable::Array(items)) => items.len(),
        Some(Variable::Object(members)) => members.len(),
        Some(Variable::String(text)) => text.chars().count(),
        _ => return Err(evaluation.fail("the value has no length")),
    };
    Ok(integer(length))
}

fn not_null(_: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let first = (0..args.len()).filter_map(|index| args.value(index)).find(|value| !value.is_null());
    Ok(first.cloned().unwrap_or_else(null))
}

fn reverse(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    match args.value(0).map(|value| &**value) {
        Some(Variable::Array(items)) => {
            evaluation.charge_slots(items.len())?;
            Ok(list(items.iter().rev().cloned().collect()))
        }
        _ => {
            let reversed: String = args.text(0).chars().rev().collect();
            text(evaluation, reversed)
        }
    }
}

/// An order of values that were checked to have one.
pub(super) type SortOrder = fn(&Variable, &Variable) -> Ordering;

/// Checks that all elements are numbers or all are texts, which JMESPath can order, and charges for
/// the comparisons. Returns their order: numbers compare as doubles, unless one is beyond a double.
pub(super) fn check_sortable<'a>(
    evaluation: &mut Evaluation<'_>,
    items: impl ExactSizeIterator<Item = &'a Rcvar>,
) -> EvalResult<SortOrder> {
    let length = items.len();
    evaluation.charge_slots(length)?;
    // Sorting compares each element about log2(length) times, and the list can share one long text
    // many times.
    let comparisons = length.checked_ilog2().unwrap_or(0) as usize + 1;
    evaluation.charge_steps(length.saturating_mul(comparisons))?;
    let (mut first, mut exact) = (None, false);
    for item in items {
        exact |= matches!(&**item, Variable::Number(number) if number.is_exact());
        let kind = json_type_of(item);
        evaluation.charge_steps(item.as_string().map_or(0, String::len).saturating_mul(comparisons) / 64)?;
        let orderable = matches!(**item, Variable::Number(_) | Variable::String(_));
        if !orderable || *first.get_or_insert(kind) != kind {
            let other = first.filter(|first| *first != kind).map(|first| format!(" beside {first}"));
            return Err(evaluation.fail(format!(
                "only numbers or only texts have an order, not {kind}{}",
                other.unwrap_or_default()
            )));
        }
    }
    // One order for all elements: a mix of both would not be transitive.
    Ok(if exact { exact_order } else { |a, b| a.order(b).unwrap_or(Ordering::Equal) })
}

fn exact_order(a: &Variable, b: &Variable) -> Ordering {
    match (a, b) {
        (Variable::Number(a), Variable::Number(b)) => a.compare_exactly(b),
        _ => a.order(b).unwrap_or(Ordering::Equal),
    }
}

fn sort(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let items = args.list(0);
    let order = check_sortable(evaluation, items.iter())?;
    let mut sorted = items.to_vec();
    sorted.sort_by(|a, b| order(a, b));
    Ok(list(sorted))
}

fn extreme(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>], wanted: Ordering) -> EvalResult<Rcvar> {
    let items = args.list(0);
    let order = check_sortable(evaluation, items.iter())?;
    let mut best: Option<&Rcvar> = None;
    for item in items {
        if best.is_none_or(|best| order(item, best) == wanted) {
            best = Some(item);
        }
    }
    Ok(best.cloned().unwrap_or_else(null))
}

fn to_array(_: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let Some(value) = args.value(0) else { return Ok(null()) };
    Ok(if value.is_array() { value.clone() } else { list(vec![value.clone()]) })
}

fn to_number(_: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let Some(value) = args.value(0) else { return Ok(null()) };
    Ok(match &**value {
        Variable::Number(_) => value.clone(),
        Variable::String(text) => Number::parse(text.trim()).map_or_else(null, integer),
        _ => null(),
    })
}

fn to_string(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    match args.value(0) {
        Some(value) if value.is_string() => Ok(value.clone()),
        _ => stringify(evaluation, args),
    }
}
