//! Comparisons that are not what they seem to be: an ordering with text, which JMESPath makes null, and text in the quotes of
//! a name. Each is refused with what to write instead.

use jmespath::Variable;
use jmespath::ast::{Ast, Comparator};

use super::compile::Site;
use super::pitfalls::path_at;
use crate::timestamp::Timestamp;
use crate::{Diagnostic, DiagnosticCode};

/// One comparison, and the expression that it stands in.
pub(super) struct Comparison<'c> {
    pub(super) text: &'c str,
    pub(super) comparator: &'c Comparator,
    pub(super) sides: [&'c Ast; 2],
}

impl Comparison<'_> {
    /// `a < 'text'`, which is always null, where these sides are known to be text.
    pub(super) fn text_order(&self, [left, right]: [bool; 2], site: &Site<'_>) -> Option<Diagnostic> {
        let sign = self.order().filter(|_| left || right)?;
        let [lhs, rhs] = self.sides;
        let place = start_of(self.text, if right { rhs } else { lhs });
        let offset = place.or_else(|| start_of(self.text, lhs)).unwrap_or(0);
        let diagnostic = site.diagnostic(DiagnosticCode::Trap, offset, "ordering with text is always null");
        let [a, b] = self.written();
        Some(diagnostic.suggest(match (a, b) {
            (Some(a), Some(b)) if is_number(rhs) => format!("{} {sign} {b}", number_of(a, lhs)),
            (Some(a), Some(b)) if is_number(lhs) => format!("{a} {sign} {}", number_of(b, rhs)),
            (Some(a), Some(b)) => by_compare(a, b, sign),
            _ => by_compare("a", "b", sign),
        }))
    }

    /// `status == "open"` and `at > "2026-01-01"`, which compare with a field of that name.
    pub(super) fn quoted_text(&self, operand: &Ast, site: &Site<'_>) -> Option<Diagnostic> {
        let Ast::Field { name, offset } = operand else { return None };
        if self.text.as_bytes().get(*offset) != Some(&b'"') || !(needs_no_quotes(name) || is_literal(name)) {
            return None;
        }
        let words = format!("\"{name}\" in double quotes is a field of that name");
        Some(site.diagnostic(DiagnosticCode::Trap, *offset, words).suggest(self.unquoted(name, operand)))
    }

    /// What is meant by a name in quotes.
    fn unquoted(&self, name: &str, operand: &Ast) -> String {
        let text = format!("'{name}'");
        let Some(sign) = self.order() else { return text };
        if is_decimal(name) {
            return format!("`{name}`");
        }
        let [lhs, rhs] = self.sides;
        let left = std::ptr::eq(operand, lhs);
        if is_number(if left { rhs } else { lhs }) && needs_no_quotes(name) {
            return name.to_owned();
        }
        match (left, self.written()) {
            (true, [_, Some(b)]) => by_compare(&text, b, sign),
            (false, [Some(a), _]) => by_compare(a, &text, sign),
            _ => by_compare("a", &text, sign),
        }
    }

    /// The sign of a comparison that orders.
    fn order(&self) -> Option<&'static str> {
        Some(match self.comparator {
            Comparator::LessThan => "<",
            Comparator::LessThanEqual => "<=",
            Comparator::GreaterThan => ">",
            Comparator::GreaterThanEqual => ">=",
            Comparator::Equal | Comparator::NotEqual => return None,
        })
    }

    /// Both sides as they stand in the text, as far as they are no more than a path, a call or a literal.
    fn written(&self) -> [Option<&str>; 2] {
        self.sides.map(|side| path_at(self.text, start_of(self.text, side)?))
    }
}

fn by_compare(a: &str, b: &str, sign: &str) -> String {
    format!("compare({a}, {b}) {sign} `0`")
}

fn is_number(node: &Ast) -> bool {
    matches!(node, Ast::Literal { value, .. } if matches!(**value, Variable::Number(_)))
}

/// What makes a number of a text: `compare` has no order between the two.
fn number_of(written: &str, node: &Ast) -> String {
    let time = match node {
        Ast::Function { name, .. } => {
            matches!(name.as_str(), "now" | "parse_time" | "time_add" | "from_epoch")
        }
        _ => written.ends_with("started_at") || written.ends_with("scheduled_at"),
    };
    format!("{}({written})", if time { "to_epoch" } else { "to_number" })
}

/// Nobody quotes a name that needs no quotes. The words that do need them are those that are traps without.
fn needs_no_quotes(name: &str) -> bool {
    !matches!(name, "true" | "false" | "null")
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A time, a part of one, or a number. `24h` and `2xx` are names.
fn is_literal(name: &str) -> bool {
    let digits = |char: char| char.is_ascii_digit() || matches!(char, '-' | ':' | '.' | '/');
    let begins = name.strip_prefix('-').unwrap_or(name).starts_with(|first: char| first.is_ascii_digit());
    begins && (name.chars().all(digits) || Timestamp::parse(name).is_some())
}

fn is_decimal(name: &str) -> bool {
    is_literal(name) && serde_json::from_str::<serde_json::Number>(name).is_ok()
}

/// Where the text of a path, a call or a literal begins.
fn start_of(text: &str, node: &Ast) -> Option<usize> {
    match node {
        Ast::Field { offset, .. } | Ast::Identity { offset } | Ast::Literal { offset, .. } => Some(*offset),
        Ast::Function { name, offset, .. } => Some(name_start(text, name, *offset)),
        Ast::Subexpr { lhs, .. } | Ast::Projection { lhs, .. } => start_of(text, lhs),
        _ => None,
    }
}

/// Where a function's name begins: the tree knows its opening bracket only.
pub(super) fn name_start(text: &str, name: &str, bracket: usize) -> usize {
    text.get(..bracket).and_then(|before| before.rfind(name)).unwrap_or(bracket)
}
