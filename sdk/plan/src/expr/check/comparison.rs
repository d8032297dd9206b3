//! Checks comparisons: ordering with text, which JMESPath evaluates to null, and text in the double
//! quotes of a name. Both are refused with a suggestion of what to write instead.

use jmespath::Variable;
use jmespath::ast::{Ast, Comparator};

use super::origin::ExprOrigin;
use super::scan::{function_name_start, path_at};
use crate::timestamp::Timestamp;
use crate::{Diagnostic, DiagnosticCode};

/// One comparison, with the text of the whole expression.
pub(super) struct ComparisonNode<'c> {
    pub(super) text: &'c str,
    pub(super) comparator: &'c Comparator,
    pub(super) sides: [&'c Ast; 2],
}

impl ComparisonNode<'_> {
    /// Reports `a < 'text'`, which is always null. `sides_are_text` marks the sides that are known
    /// to be text.
    pub(super) fn text_order(
        &self,
        sides_are_text: [bool; 2],
        origin: &ExprOrigin<'_>,
    ) -> Option<Diagnostic> {
        let [left_is_text, right_is_text] = sides_are_text;
        let operator = self.ordering_operator().filter(|_| left_is_text || right_is_text)?;
        let [lhs, rhs] = self.sides;
        let start = start_of(self.text, if right_is_text { rhs } else { lhs });
        let offset = start.or_else(|| start_of(self.text, lhs)).unwrap_or(0);
        let diagnostic = origin.diagnostic(DiagnosticCode::Trap, offset, "ordering with text is always null");
        let [a, b] = self.source_texts();
        Some(diagnostic.suggest(match (a, b) {
            (Some(a), Some(b)) if is_number(rhs) => format!("{} {operator} {b}", converted(a, lhs)),
            (Some(a), Some(b)) if is_number(lhs) => format!("{a} {operator} {}", converted(b, rhs)),
            (Some(a), Some(b)) => compare_call(a, b, operator),
            _ => compare_call("a", "b", operator),
        }))
    }

    /// Reports `status == "open"` and `at > "2026-01-01"`, which compare with a field of that name.
    pub(super) fn quoted_text(&self, operand: &Ast, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
        let Ast::Field { name, offset } = operand else { return None };
        if self.text.as_bytes().get(*offset) != Some(&b'"') || !(needs_no_quotes(name) || is_literal(name)) {
            return None;
        }
        let message = format!("\"{name}\" in double quotes reads a member of that name");
        Some(origin.diagnostic(DiagnosticCode::Trap, *offset, message).suggest(self.unquoted(name, operand)))
    }

    /// Returns the expression that the author of a quoted name most likely means.
    fn unquoted(&self, name: &str, operand: &Ast) -> String {
        let text = format!("'{name}'");
        let Some(operator) = self.ordering_operator() else { return text };
        if is_decimal(name) {
            return format!("`{name}`");
        }
        let [lhs, rhs] = self.sides;
        let left = std::ptr::eq(operand, lhs);
        if is_number(if left { rhs } else { lhs }) && needs_no_quotes(name) {
            return name.to_owned();
        }
        match (left, self.source_texts()) {
            (true, [_, Some(b)]) => compare_call(&text, b, operator),
            (false, [Some(a), _]) => compare_call(a, &text, operator),
            _ => compare_call("a", &text, operator),
        }
    }

    /// Returns the operator if the comparison orders its sides.
    fn ordering_operator(&self) -> Option<&'static str> {
        Some(match self.comparator {
            Comparator::LessThan => "<",
            Comparator::LessThanEqual => "<=",
            Comparator::GreaterThan => ">",
            Comparator::GreaterThanEqual => ">=",
            Comparator::Equal | Comparator::NotEqual => return None,
        })
    }

    /// Returns the source text of each side that is only a path, a call or a literal.
    fn source_texts(&self) -> [Option<&str>; 2] {
        self.sides.map(|side| path_at(self.text, start_of(self.text, side)?))
    }
}

fn compare_call(a: &str, b: &str, operator: &str) -> String {
    format!("compare({a}, {b}) {operator} `0`")
}

fn is_number(node: &Ast) -> bool {
    matches!(node, Ast::Literal { value, .. } if matches!(**value, Variable::Number(_)))
}

/// Wraps a text in the function that converts it to a number: `compare` does not order a text and a
/// number.
fn converted(source: &str, node: &Ast) -> String {
    let is_time = match node {
        Ast::Function { name, .. } => {
            matches!(name.as_str(), "now" | "parse_time" | "time_add" | "from_epoch")
        }
        _ => source.ends_with("started_at") || source.ends_with("scheduled_at"),
    };
    format!("{}({source})", if is_time { "to_epoch" } else { "to_number" })
}

/// Returns true for names that authors do not quote. `true`, `false` and `null` need quotes,
/// because they are pitfalls without them.
fn needs_no_quotes(name: &str) -> bool {
    !matches!(name, "true" | "false" | "null")
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns true for a time, a part of one, or a number. `24h` and `2xx` are names.
fn is_literal(name: &str) -> bool {
    let part_of_literal = |char: char| char.is_ascii_digit() || matches!(char, '-' | ':' | '.' | '/');
    let starts_with_digit =
        name.strip_prefix('-').unwrap_or(name).starts_with(|first: char| first.is_ascii_digit());
    starts_with_digit && (name.chars().all(part_of_literal) || Timestamp::parse(name).is_some())
}

fn is_decimal(name: &str) -> bool {
    is_literal(name) && serde_json::from_str::<serde_json::Number>(name).is_ok()
}

/// Returns the offset at which a path, a call or a literal begins.
fn start_of(text: &str, node: &Ast) -> Option<usize> {
    match node {
        Ast::Field { offset, .. } | Ast::Identity { offset } | Ast::Literal { offset, .. } => Some(*offset),
        Ast::Function { name, offset, .. } => Some(function_name_start(text, name, *offset)),
        Ast::Subexpr { lhs, .. } | Ast::Projection { lhs, .. } => start_of(text, lhs),
        _ => None,
    }
}
