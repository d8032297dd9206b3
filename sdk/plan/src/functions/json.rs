//! JSON inside text, and pieces of urls and headers.

use std::io;

use jmespath::{Rcvar, Variable};
use url::Url;

use super::Function;
use super::Param::{Any, Object, Text};
use super::call::{Arg, Args, text};
use crate::expr::{Failure, Outcome, Run, null};
use crate::{Value, links};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "json_parse",
        "json_parse(text) → any",
        "the value that the JSON text holds",
        (r#"json_parse('{"a": [1, 2]}').a[1]"#, "2"),
        &[Text],
        json_parse,
    ),
    Function::new(
        "json_stringify",
        "json_stringify(value: any) → text",
        "the value as JSON text, members in the order of their names",
        ("json_stringify({b: `1`, a: 'x'})", r#""{\"a\":\"x\",\"b\":1}""#),
        &[Any],
        stringify,
    ),
    Function::new(
        "link_header",
        "link_header(headers: object, relation: text) → text",
        "the target of the first link with this relation in the `link` header (RFC 8288); null where there is none",
        ("link_header(response.headers, 'next')", "\"/items?page=2\""),
        &[Object, Text],
        link_header,
    ),
    Function::new(
        "query_param",
        "query_param(url: text, name: text) → text",
        "the first value of a query parameter, decoded; null where there is none",
        ("query_param('https://example.com/items?page=2&q=a%20b', 'q')", "\"a b\""),
        &[Text, Text],
        query_param,
    ),
];

/// Bytes that end an expression when they are more than its budget has left.
struct Bounded {
    bytes: Vec<u8>,
    left: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| io::Error::other("too large"))?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value as JSON, paid for while it is written: shared parts can make it far larger than it is in memory.
pub(super) fn bounded_json(run: &mut Run<'_>, value: &Variable) -> Outcome<Vec<u8>> {
    let mut out = Bounded { bytes: Vec::new(), left: run.text_left() };
    let written = serde_json::to_writer(&mut out, &crate::value::Borrowed(value));
    written.map_err(|_| Failure { over_budget: true, ..run.fail("the JSON text is too large") })?;
    run.pay_text(out.bytes.len())?;
    Ok(out.bytes)
}

pub(super) fn stringify(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let Some(value) = args.value(0).cloned() else { return Ok(null()) };
    let json = bounded_json(run, &value)?;
    let json = String::from_utf8(json).map_err(|_| run.fail("the JSON text is not UTF-8"))?;
    Ok(Rcvar::new(Variable::String(json)))
}

fn json_parse(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let json = args.text(0);
    run.pay_text(json.len())?;
    // Each value but the first begins after one of these, and each member has a name beside it.
    let signs = json.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count();
    run.pay_slots(signs + 1)?;
    let value = Value::parse(json.as_bytes()).map_err(|error| run.fail(error.to_string()))?;
    Ok(value.rcvar().clone())
}

fn link_header(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let Some(headers) = args.value(0) else { return Ok(null()) };
    let header = headers.get_field("link");
    let Variable::String(header) = &*header else { return Ok(null()) };
    match links::find_link(header, args.text(1)) {
        Ok(Some(target)) => text(run, target),
        Ok(None) => Ok(null()),
        Err(_) => Err(run.fail("the header is malformed")),
    }
}

fn query_param(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    // A relative url has its query as well: the base only makes it parse.
    let base = Url::parse("http://relative.invalid/").map_err(|error| run.fail(error.to_string()))?;
    let url = base.join(args.text(0)).map_err(|error| run.fail(format!("not a url: {error}")))?;
    match url.query_pairs().find(|(name, _)| name == args.text(1)) {
        Some((_, value)) => text(run, value),
        None => Ok(null()),
    }
}
