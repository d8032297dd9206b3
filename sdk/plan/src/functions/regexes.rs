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
    use super::linear_regex;
    use crate::Scope;
    use crate::expr::tests::{eval, eval_in_part};

    #[test]
    fn groups_are_chosen_and_checked() {
        assert_eq!(eval(r"regex_extract('a1', '\d')").unwrap(), "\"1\"");
        assert_eq!(eval(r"regex_extract('a1', '(\w)\d')").unwrap(), "\"a\"");
        assert_eq!(eval(r"regex_extract('a1', '(\w)\d', `0`)").unwrap(), "\"a1\"");
        assert!(eval(r"regex_extract('a1', '(\w)\d', `2`)").unwrap_err().message.contains("no group 2"));
    }

    #[test]
    fn a_pattern_that_would_take_much_memory_is_refused() {
        for pattern in [
            "(a{1000}){1000}",
            "((a{100}){100}){100}",
            "\\w{5000}",
            "(\\p{L}\\p{N}){2000}",
            &"(".repeat(3000),
        ] {
            assert!(linear_regex(pattern).is_err(), "{pattern:.40}");
            // Put together while it runs, it is only known then.
            let (half, rest) = pattern.split_at(pattern.len() / 2);
            let error = eval(&format!("regex_match('a', join('', ['{half}', '{rest}']))")).unwrap_err();
            assert!(error.message.contains("no regular expression, or too large"), "{error}");
        }
    }

    #[test]
    fn a_pattern_takes_no_more_than_linear_time() {
        let subject = "a".repeat(3000);
        for pattern in ["(a+)+$", "(a|aa)+b", "(a*)*b", "^(a?){500}a{500}$", "(.*)(.*)(.*)b"] {
            let found = eval(&format!("regex_match('{subject}!', '{pattern}')"));
            assert!(found.is_ok_and(|found| found == "false"), "{pattern}");
        }
    }

    #[test]
    fn many_patterns_and_long_texts_are_paid_for() {
        // Each pattern is another one, so none is found among those that were compiled before.
        let many = "map(&regex_match('a', join('', ['a{', to_string(@), '}'])), range(`1`, `1000000`))";
        assert!(eval_in_part(many, &Scope::new()).is_err_and(|error| error.over_budget));
        let long = format!("map(&regex_match('{}', '(a|b)*c'), range(`0`, `1000000`))", "a".repeat(3500));
        assert!(eval_in_part(&long, &Scope::new()).is_err_and(|error| error.over_budget));
    }
}
