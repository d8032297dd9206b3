//! Regular expressions that run in linear time, compiled once per thread.

use std::cell::RefCell;
use std::collections::VecDeque;

use jmespath::Rcvar;
use regex::{Regex, RegexBuilder};

use super::Function;
use super::Param::{Number, Text};
use super::call::{Arg, Args, text};
use crate::expr::{Outcome, Run, boolean, null};

/// Bytes that a compiled pattern may take.
const PATTERN_SIZE: usize = 256 * 1024;
/// Bytes that a pattern looks at for one step, beside what any function pays.
const BYTES_PER_STEP: usize = 8;
/// What compiling a pattern costs, in steps.
const PATTERN_STEPS: usize = 10_000;
/// Compiled patterns kept per thread.
const KEPT: usize = 64;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "regex_match",
        "regex_match(text, pattern: text) → boolean",
        "whether the pattern is found anywhere in the text",
        ("regex_match('order-17', '^order-\\d+$')", "true"),
        &[Text, Text],
        |run, args| {
            run.pay_steps(args.text(0).len() / BYTES_PER_STEP)?;
            Ok(boolean(pattern(run, args.text(1))?.is_match(args.text(0))))
        },
    ),
    Function::new(
        "regex_extract",
        "regex_extract(text, pattern: text, group?: number) → text",
        "what a group of the first match holds, by default group 1, or the whole match where there are no groups; null without a match",
        ("[regex_extract('order-17', '(\\w+)-(\\d+)', `2`), regex_extract('none', '\\d+')]", r#"["17", null]"#),
        &[Text, Text, Number],
        extract,
    )
    .optional(1),
];

thread_local! {
    static COMPILED: RefCell<VecDeque<Regex>> = const { RefCell::new(VecDeque::new()) };
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build()
}

/// A regular expression within the bounds of size; otherwise why it is none, in one line.
pub(crate) fn linear_regex(pattern: &str) -> Result<Regex, String> {
    compile(pattern).map_err(|error| {
        let words = error.to_string();
        words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

fn pattern(run: &mut Run<'_>, pattern: &str) -> Outcome<Regex> {
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(known) = compiled.iter().find(|known| known.as_str() == pattern) {
            return Ok(known.clone());
        }
        run.pay_steps(PATTERN_STEPS)?;
        let made =
            compile(pattern).map_err(|_| run.fail("the pattern is no regular expression, or too large"))?;
        if compiled.len() == KEPT {
            compiled.pop_front();
        }
        compiled.push_back(made.clone());
        Ok(made)
    })
}

fn extract(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    run.pay_steps(args.text(0).len() / BYTES_PER_STEP)?;
    let pattern = pattern(run, args.text(1))?;
    let group = match args.value(2) {
        Some(_) => usize::try_from(super::text::place(run, args.number(2))?)
            .map_err(|_| run.fail("the group is negative"))?,
        None => usize::from(pattern.captures_len() > 1),
    };
    if group >= pattern.captures_len() {
        return Err(run.fail(format!("the pattern has no group {group}")));
    }
    match pattern.captures(args.text(0)).and_then(|captures| captures.get(group)) {
        Some(found) => text(run, found.as_str()),
        None => Ok(null()),
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn groups_are_chosen_and_checked() {
        assert_eq!(eval(r"regex_extract('a1', '\d')").unwrap(), "\"1\"");
        assert_eq!(eval(r"regex_extract('a1', '(\w)\d')").unwrap(), "\"a\"");
        assert_eq!(eval(r"regex_extract('a1', '(\w)\d', `0`)").unwrap(), "\"a1\"");
        assert!(eval(r"regex_extract('a1', '(\w)\d', `2`)").unwrap_err().message.contains("no group 2"));
    }

    #[test]
    fn a_pattern_that_would_take_much_memory_is_refused() {
        assert!(eval("regex_match('a', join('', ['(a{1000}){', '1000}']))").is_err());
    }
}
