//! The literals of an expression as values.
//!
//! The parser's crate reads a number in a literal as a double or a 64-bit integer. The value is
//! read again from the expression's text, so that every digit counts.

use jmespath::ast::Ast;

use crate::Value;
use crate::expr::end_of_quoted;
use crate::value::{Rcvar, Variable};

/// The literals of one expression, by the offset in its text at which they begin.
#[derive(Default)]
pub(crate) struct Literals(Vec<(usize, Rcvar)>);

/// The literals of an expression without any.
pub(crate) static NO_LITERALS: Literals = Literals(Vec::new());

impl Literals {
    /// Collects the literals of a tree that was parsed from `text`.
    pub(crate) fn of(text: &str, ast: &Ast) -> Self {
        let mut literals = Self::default();
        literals.collect(text, ast);
        literals.0.sort_unstable_by_key(|(offset, _)| *offset);
        literals
    }

    /// Returns the literal at an offset. There is one for every literal of the tree.
    pub(crate) fn at(&self, offset: usize) -> Rcvar {
        let found = self.0.binary_search_by_key(&offset, |(offset, _)| *offset);
        found.map_or_else(|_| Rcvar::new(Variable::Null), |index| self.0[index].1.clone())
    }

    fn collect(&mut self, text: &str, node: &Ast) {
        match node {
            Ast::Literal { offset, value } => self.0.push((*offset, read(text, *offset, value))),
            Ast::Field { .. } | Ast::Index { .. } | Ast::Identity { .. } | Ast::Slice { .. } => {}
            Ast::Comparison { lhs, rhs, .. }
            | Ast::Condition { predicate: lhs, then: rhs, .. }
            | Ast::Projection { lhs, rhs, .. }
            | Ast::And { lhs, rhs, .. }
            | Ast::Or { lhs, rhs, .. }
            | Ast::Subexpr { lhs, rhs, .. } => {
                self.collect(text, lhs);
                self.collect(text, rhs);
            }
            Ast::Expref { ast: node, .. }
            | Ast::Flatten { node, .. }
            | Ast::Not { node, .. }
            | Ast::ObjectValues { node, .. } => self.collect(text, node),
            Ast::Function { args: nodes, .. } | Ast::MultiList { elements: nodes, .. } => {
                nodes.iter().for_each(|node| self.collect(text, node));
            }
            Ast::MultiHash { elements, .. } => {
                elements.iter().for_each(|pair| self.collect(text, &pair.value));
            }
        }
    }
}

/// Reads a JSON literal from the text between its backticks; other literals are texts.
fn read(text: &str, offset: usize, value: &jmespath::Variable) -> Rcvar {
    if text.as_bytes().get(offset) == Some(&b'`') {
        let end = end_of_quoted(text.as_bytes(), offset);
        let json = text.get(offset + 1..end).unwrap_or_default().replace("\\`", "`");
        if let Ok(value) = Value::parse(json.as_bytes()) {
            return value.rcvar().clone();
        }
    }
    Rcvar::new(Variable::from(value))
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn literals_keep_every_digit() {
        for (text, expected) in [
            ("`123456789012345678901234567890`", "123456789012345678901234567890"),
            (
                "[`1.10`, 'a`b', `\"c\\`d\"`, `{\"n\": 0.12345678901234567890123}`]",
                "[1.1,\"a`b\",\"c`d\",{\"n\":0.12345678901234567890123}]",
            ),
            ("`123456789012345678901234567890` == `123456789012345678901234567891`", "false"),
            ("`123456789012345678901234567890` < `123456789012345678901234567891`", "true"),
            (
                "sort(`[123456789012345678901234567891, 3, 123456789012345678901234567890]`)",
                "[3,123456789012345678901234567890,123456789012345678901234567891]",
            ),
        ] {
            assert_eq!(eval(text).unwrap(), expected, "{text}");
        }
    }
}
