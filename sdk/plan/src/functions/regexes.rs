//! Regular expressions that match in linear time. Compiled patterns are cached per thread.

use std::cell::RefCell;
use std::collections::VecDeque;

use regex::{Regex, RegexBuilder};

use super::call::LibraryFunction;
use super::call::ParamType::{Number, Text};
use super::call::{CallArg, CheckedArgs, text};
use crate::expr::eval::evaluation::{EvalResult, Evaluation, boolean, null};
use crate::value::Rcvar;

/// Maximum size of a compiled pattern, in bytes.
const PATTERN_SIZE: usize = 256 * 1024;
/// Bytes of the subject that cost one step, in addition to the cost of any call.
const BYTES_PER_STEP: usize = 8;
/// Steps that compiling a pattern costs.
const PATTERN_STEPS: usize = 10_000;
/// Number of compiled patterns cached per thread.
const CACHED_PATTERNS: usize = 64;

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "regex_match",
        "regex_match(text, pattern: text) → boolean",
        "true if the pattern matches anywhere in the text",
        ("regex_match('order-17', '^order-\\d+$')", "true"),
        &[Text, Text],
        |evaluation, args| {
            evaluation.charge_steps(args.text(0).len() / BYTES_PER_STEP)?;
            Ok(boolean(pattern(evaluation, args.text(1))?.is_match(args.text(0))))
        },
    ),
    LibraryFunction::new(
        "regex_extract",
        "regex_extract(text, pattern: text, group?: number) → text",
        "the text of a group of the first match, by default group 1, or the whole match if the pattern has no groups; null without a match",
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

/// Compiles a pattern within the size bounds. The error is one line.
pub(crate) fn linear_regex(pattern: &str) -> Result<Regex, String> {
    compile(pattern).map_err(|error| {
        let message = error.to_string();
        message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

fn pattern(evaluation: &mut Evaluation<'_>, pattern: &str) -> EvalResult<Regex> {
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(known) = compiled.iter().find(|known| known.as_str() == pattern) {
            return Ok(known.clone());
        }
        evaluation.charge_steps(PATTERN_STEPS)?;
        let regex = compile(pattern)
            .map_err(|_| evaluation.fail("the pattern is not a regular expression or is too large"))?;
        // First in, first out is enough: a plan rarely uses more than a few patterns.
        if compiled.len() == CACHED_PATTERNS {
            compiled.pop_front();
        }
        compiled.push_back(regex.clone());
        Ok(regex)
    })
}

fn extract(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    evaluation.charge_steps(args.text(0).len() / BYTES_PER_STEP)?;
    let pattern = pattern(evaluation, args.text(1))?;
    let group = match args.value(2) {
        Some(_) => usize::try_from(super::text::expect_integer(evaluation, args.number(2))?)
            .map_err(|_| evaluation.fail("the group is negative"))?,
        None => usize::from(pattern.captures_len() > 1),
    };
    if group >= pattern.captures_len() {
        return Err(evaluation.fail(format!("the pattern has no group {group}")));
    }
    match pattern.captures(args.text(0)).and_then(|captures| captures.get(group)) {
        Some(found) => text(evaluation, found.as_str()),
        None => Ok(null()),
    }
}

#[cfg(test)]
mod tests {
    use super::linear_regex;
    use crate::Scope;
    use crate::expr::tests::{eval, eval_in_part};

    #[test]
    fn group_is_selected_and_checked() {
        assert_eq!(eval(r"regex_extract('a1', '\d')").unwrap(), "\"1\"");
        assert_eq!(eval(r"regex_extract('a1', '(\w)\d')").unwrap(), "\"a\"");
        assert_eq!(eval(r"regex_extract('a1', '(\w)\d', `0`)").unwrap(), "\"a1\"");
        assert!(eval(r"regex_extract('a1', '(\w)\d', `2`)").unwrap_err().message.contains("no group 2"));
    }

    #[test]
    fn pattern_that_needs_much_memory_is_refused() {
        for pattern in [
            "(a{1000}){1000}",
            "((a{100}){100}){100}",
            "\\w{5000}",
            "(\\p{L}\\p{N}){2000}",
            &"(".repeat(3000),
        ] {
            assert!(linear_regex(pattern).is_err(), "{pattern:.40}");
            // A pattern that is joined at run time can only be refused then.
            let (half, rest) = pattern.split_at(pattern.len() / 2);
            let error = eval(&format!("regex_match('a', join('', ['{half}', '{rest}']))")).unwrap_err();
            assert!(error.message.contains("not a regular expression or is too large"), "{error}");
        }
    }

    #[test]
    fn pattern_matches_in_linear_time() {
        let subject = "a".repeat(3000);
        for pattern in ["(a+)+$", "(a|aa)+b", "(a*)*b", "^(a?){500}a{500}$", "(.*)(.*)(.*)b"] {
            let found = eval(&format!("regex_match('{subject}!', '{pattern}')"));
            assert!(found.is_ok_and(|found| found == "false"), "{pattern}");
        }
    }

    #[test]
    fn many_patterns_and_long_texts_exhaust_the_budget() {
        // All patterns differ, so none is cached.
        let many = "map(&regex_match('a', join('', ['a{', to_string(@), '}'])), range(`1`, `1000000`))";
        assert!(eval_in_part(many, &Scope::new()).is_err_and(|error| error.over_budget));
        let long = format!("map(&regex_match('{}', '(a|b)*c'), range(`0`, `1000000`))", "a".repeat(3500));
        assert!(eval_in_part(&long, &Scope::new()).is_err_and(|error| error.over_budget));
    }
}
