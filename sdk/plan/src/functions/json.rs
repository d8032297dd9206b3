//! JSON inside text, and parts of urls and headers.

use url::Url;

use super::call::LibraryFunction;
use super::call::ParamType::{Any, Object, Text};
use super::call::{CallArg, CheckedArgs, text};
use crate::expr::eval::evaluation::{EvalFailure, EvalResult, Evaluation, null};
use crate::value::{Rcvar, Variable, append_bounded};
use crate::{Value, links};

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "json_parse",
        "json_parse(text) → any",
        "the value of the JSON text",
        (r#"json_parse('{"a": [1, 2]}').a[1]"#, "2"),
        &[Text],
        json_parse,
    ),
    LibraryFunction::new(
        "json_stringify",
        "json_stringify(value: any) → text",
        "the value as JSON text, with members sorted by name",
        ("json_stringify({b: `1`, a: 'x'})", r#""{\"a\":\"x\",\"b\":1}""#),
        &[Any],
        stringify,
    ),
    LibraryFunction::new(
        "link_header",
        "link_header(headers: object, relation: text) → text",
        "the target of the first link with this relation in the `link` header (RFC 8288); null where there is none",
        ("link_header(response.headers, 'next')", "\"/items?page=2\""),
        &[Object, Text],
        link_header,
    ),
    LibraryFunction::new(
        "query_param",
        "query_param(url: text, name: text) → text",
        "the first value of a query parameter, decoded; null where there is none",
        ("query_param('https://example.com/items?page=2&q=a%20b', 'q')", "\"a b\""),
        &[Text, Text],
        query_param,
    ),
];

/// Writes a value as JSON within the budget. Shared parts can make the text far larger than the
/// value is in memory.
pub(super) fn bounded_json(evaluation: &mut Evaluation<'_>, value: &Variable) -> EvalResult<Vec<u8>> {
    let mut json = Vec::new();
    append_bounded(value, &mut json, evaluation.text_left())
        .map_err(|_| EvalFailure { over_budget: true, ..evaluation.fail("the JSON text is too large") })?;
    evaluation.charge_text(json.len())?;
    Ok(json)
}

pub(super) fn stringify(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let Some(value) = args.value(0).cloned() else { return Ok(null()) };
    let json = bounded_json(evaluation, &value)?;
    let json = String::from_utf8(json).map_err(|_| evaluation.fail("the JSON text is not UTF-8"))?;
    Ok(Rcvar::new(Variable::String(json)))
}

fn json_parse(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let json = args.text(0);
    evaluation.charge_text(json.len())?;
    // An upper bound for the values in the text: each value but the first follows one of these
    // characters, and each member also has a name.
    let separators = json.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count();
    evaluation.charge_slots(separators + 1)?;
    let value = Value::parse(json.as_bytes()).map_err(|error| evaluation.fail(error.to_string()))?;
    Ok(value.rcvar().clone())
}

fn link_header(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let Some(headers) = args.value(0) else { return Ok(null()) };
    let header = headers.get_field("link");
    let Variable::String(header) = &*header else { return Ok(null()) };
    match links::find_link(header, args.text(1)) {
        Ok(Some(target)) => text(evaluation, target),
        Ok(None) => Ok(null()),
        Err(_) => Err(evaluation.fail("the link header is malformed")),
    }
}

fn query_param(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    // A relative url can have a query, too. The base only makes it parse.
    let base = Url::parse("http://relative.invalid/").map_err(|error| evaluation.fail(error.to_string()))?;
    let url = base.join(args.text(0)).map_err(|error| evaluation.fail(format!("not a url: {error}")))?;
    match url.query_pairs().find(|(name, _)| name == args.text(1)) {
        Some((_, value)) => text(evaluation, value),
        None => Ok(null()),
    }
}
