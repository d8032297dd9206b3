//! Functions on lists and objects, and the functions that evaluation or templates handle
//! themselves.

use std::collections::{BTreeMap, HashSet};

use super::call::LibraryFunction;
use super::call::ParamType::{List, Number, Object, Text};
use super::call::{CallArg, CheckedArgs, integer};
use super::json::bounded_json;
use super::text::expect_integer;
use crate::expr::eval::evaluation::{EvalResult, Evaluation, list, null};
use crate::value::{Rcvar, Variable};

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
        "entries",
        "entries(object) → list",
        "each member as `{\"key\": name, \"value\": value}`, in the order of their names",
        ("entries({b: `1`, a: 'x'})", r#"[{"key": "a", "value": "x"}, {"key": "b", "value": 1}]"#),
        &[Object],
        entries,
    ),
    LibraryFunction::new(
        "from_entries",
        "from_entries(list) → object",
        "the object with a member for each `{\"key\": name, \"value\": value}`; of equal names, the last one stays",
        (r#"from_entries(`[{"key": "a", "value": 1}]`)"#, r#"{"a": 1}"#),
        &[List],
        from_entries,
    ),
    LibraryFunction::new(
        "zip_rows",
        "zip_rows(names: list, rows: list) → list",
        "each row, a list of values, as an object whose members have these names; values that a row lacks are null",
        (
            r#"zip_rows(`["id", "name"]`, `[[1, "a"], [2]]`)"#,
            r#"[{"id": 1, "name": "a"}, {"id": 2, "name": null}]"#,
        ),
        &[List, List],
        zip_rows,
    ),
    LibraryFunction::new(
        "outer",
        "outer() → any",
        "the element around the current one, where one projection or `&expression` is inside another",
        ("response.body.items[*].tags[*].{id: outer().id, tag: @}[]", r#"[{"id":1,"tag":"x"}]"#),
        &[],
        // Never called: the interpreter evaluates `outer()` itself.
        |_, _| Ok(null()),
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

fn entries(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let Some(Variable::Object(members)) = args.value(0).map(|value| &**value) else { return Ok(null()) };
    // Per member: the entry, its two names, its key and its value.
    evaluation.charge_slots(members.len().saturating_mul(5))?;
    let mut pairs = Vec::with_capacity(members.len());
    for (name, value) in members {
        evaluation.charge_text(name.len())?;
        let key = Rcvar::new(Variable::String(name.clone()));
        let entry = BTreeMap::from([("key".to_owned(), key), ("value".to_owned(), value.clone())]);
        pairs.push(Rcvar::new(Variable::Object(entry)));
    }
    Ok(list(pairs))
}

fn from_entries(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let pairs = args.list(0);
    evaluation.charge_slots(pairs.len().saturating_mul(2))?;
    let mut members = BTreeMap::new();
    for (index, pair) in pairs.iter().enumerate() {
        let Variable::String(name) = &*pair.get_field("key") else {
            let words = format!("element {index} has no text as its key: each must be {{key: …, value: …}}");
            return Err(evaluation.fail(words));
        };
        evaluation.charge_text(name.len())?;
        members.insert(name.clone(), pair.get_field("value"));
    }
    Ok(Rcvar::new(Variable::Object(members)))
}

fn zip_rows(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let names = zip_names(evaluation, args.list(0))?;
    let name_bytes: usize = names.iter().map(String::len).sum();
    let mut zipped = Vec::with_capacity(args.list(1).len());
    for (index, row) in args.list(1).iter().enumerate() {
        let Variable::Array(values) = &**row else {
            let kind = crate::value::json_type_of(row);
            return Err(evaluation.fail(format!("row {index} must be a list, and is {kind}")));
        };
        // Values without a name would vanish.
        if values.len() > names.len() {
            let words =
                format!("row {index} has {} values, but there are {} names", values.len(), names.len());
            return Err(evaluation.fail(words));
        }
        evaluation.charge_slots(names.len().saturating_mul(2) + 1)?;
        evaluation.charge_text(name_bytes)?;
        let values = values.iter().cloned().chain(std::iter::repeat_with(null));
        zipped.push(Rcvar::new(Variable::Object(names.iter().cloned().zip(values).collect())));
    }
    Ok(list(zipped))
}

/// Returns the names of `zip_rows`: texts, each once.
fn zip_names(evaluation: &Evaluation<'_>, names: &[Rcvar]) -> EvalResult<Vec<String>> {
    let mut seen = HashSet::new();
    let mut texts = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let Variable::String(name) = &**name else {
            let kind = crate::value::json_type_of(name);
            return Err(evaluation.fail(format!("name {index} must be text, and is {kind}")));
        };
        if !seen.insert(name.as_str()) {
            return Err(evaluation.fail(format!("name {index} repeats an earlier one")));
        }
        texts.push(name.clone());
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn zip_rows_refuses_values_without_a_name() {
        for (names, rows, words) in [
            ("`[\"a\"]`", "`[[1, 2]]`", "row 0 has 2 values, but there are 1 names"),
            ("`[\"a\"]`", "`[[1], 2]`", "row 1 must be a list, and is number"),
            ("`[\"a\", 1]`", "`[]`", "name 1 must be text, and is number"),
            ("`[\"a\", \"a\"]`", "`[]`", "name 1 repeats an earlier one"),
        ] {
            let error = eval(&format!("zip_rows({names}, {rows})")).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn entries_round_trip() {
        assert_eq!(
            eval("from_entries(entries(`{\"b\": [1], \"a\": null}`))").unwrap(),
            r#"{"a":null,"b":[1]}"#
        );
        assert_eq!(
            eval(r#"from_entries(`[{"key": "a", "value": 1}, {"key": "a"}]`)"#).unwrap(),
            r#"{"a":null}"#
        );
        let error = eval("from_entries(`[[\"a\", 1]]`)").unwrap_err();
        assert!(error.message.contains("element 0 has no text as its key"), "{error}");
    }

    #[test]
    fn outer_is_the_element_around() {
        let accounts =
            r#"`[{"id": 1, "users": [{"n": "a"}]}, {"id": 2, "users": [{"n": "b"}, {"n": "c"}]}]`"#;
        let rows = r#"[{"account":1,"n":"a"},{"account":2,"n":"b"},{"account":2,"n":"c"}]"#;
        for text in [
            "ACCOUNTS[*].users[*].{account: outer().id, n: n}[]",
            "ACCOUNTS[*].users[?n].{account: outer().id, n: n}[]",
            "ACCOUNTS[*].map(&{account: outer().id, n: n}, users)[]",
            "map(&users[*].{account: outer().id, n: n}, ACCOUNTS)[]",
            "map(&map(&{account: outer().id, n: n}, users), ACCOUNTS)[]",
        ] {
            assert_eq!(eval(&text.replace("ACCOUNTS", accounts)).unwrap(), rows, "{text}");
        }
        let nested = "`[{\"a\": 1, \"b\": [{\"c\": [2, 3]}]}]`[*].b[*].c[*].[@, outer().c[0]]";
        assert_eq!(eval(nested).unwrap(), "[[[[2,2],[3,2]]]]");
    }

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
