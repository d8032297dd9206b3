//! Bounds of an expression's text and tree, and the nesting of the text.
//!
//! The parser recurses for each level of nesting, and a stack overflow would end the process. So
//! nesting is counted on the text, before the parser sees it.

use jmespath::ast::Ast;

use super::scan::end_of_quoted;

/// Maximum length of one expression, in bytes.
pub(crate) const MAX_LENGTH: usize = 4096;
/// Maximum nesting of the text, in levels.
pub(crate) const MAX_NESTING: usize = 100;
/// Maximum height of the syntax tree. It bounds the recursion of everything that walks the tree.
pub(crate) const MAX_HEIGHT: usize = 200;

/// Returns the depth of the text, or the offset at which it exceeds [`MAX_NESTING`].
///
/// The parser recurses for brackets, for projections and `!` until the next operator, and for
/// expression references until the next comma. Each of these counts as one level.
pub(crate) fn nesting(text: &str) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let mut levels = vec![BracketLevel::default()];
    let mut open = 0;
    let mut deepest = 0;
    let mut offset = 0;
    while offset < bytes.len() {
        let byte = bytes[offset];
        let nested = levels.len() > 1;
        let Some(level) = levels.last_mut() else { return Err(offset) };
        match byte {
            b'\'' | b'"' | b'`' => offset = end_of_quoted(bytes, offset),
            b'(' | b'{' | b'[' => {
                level.projections += usize::from(byte == b'[');
                open += 1 + level.depth();
                levels.push(BracketLevel::default());
            }
            // An unbalanced closing bracket is left to the parser, which reports it.
            b')' | b'}' | b']' if nested => {
                levels.pop();
                open -= 1 + levels.last().map_or(0, BracketLevel::depth);
            }
            b',' => *level = BracketLevel::default(),
            b'*' | b'!' => level.projections += 1,
            b'|' => level.projections = 0,
            b'&' if bytes.get(offset + 1) == Some(&b'&') => {
                level.projections = 0;
                offset += 1;
            }
            b'&' => level.references += 1,
            _ => {}
        }
        deepest = deepest.max(open + levels.last().map_or(0, BracketLevel::depth));
        if deepest > MAX_NESTING {
            return Err(offset);
        }
        offset += 1;
    }
    Ok(deepest)
}

/// Levels of recursion inside one pair of brackets.
#[derive(Default)]
struct BracketLevel {
    projections: usize,
    references: usize,
}

impl BracketLevel {
    fn depth(&self) -> usize {
        self.projections + self.references
    }
}

/// Returns the height of a syntax tree; a single node has height 1.
pub(super) fn height(node: &Ast) -> usize {
    let below = match node {
        Ast::Field { .. }
        | Ast::Index { .. }
        | Ast::Identity { .. }
        | Ast::Literal { .. }
        | Ast::Slice { .. } => 0,
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Condition { predicate: lhs, then: rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => height(lhs).max(height(rhs)),
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => height(node),
        Ast::Function { args: nodes, .. } | Ast::MultiList { elements: nodes, .. } => {
            nodes.iter().map(height).max().unwrap_or(0)
        }
        Ast::MultiHash { elements, .. } => elements.iter().map(|pair| height(&pair.value)).max().unwrap_or(0),
    };
    below + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_counts_every_way_to_nest() {
        for (open, close) in [
            ("a|&", ""),
            ("(", ")"),
            ("[", "]"),
            ("!", ""),
            ("[*]", ""),
            (".*", ""),
            ("& ", ""),
            ("[?a", "]"),
            ("{a:", "}"),
        ] {
            let text = |levels: usize| format!("{}a{}", open.repeat(levels), close.repeat(levels));
            assert!(nesting(&text(30)).is_ok_and(|deepest| deepest >= 30), "{open}");
            assert!(nesting(&text(MAX_NESTING + 1)).is_err(), "{open}");
        }
    }

    #[test]
    fn siblings_and_quoted_text_do_not_nest() {
        assert!(nesting(&vec!["a[0].b[*].c"; 150].join(", ")).is_ok());
        assert!(nesting(&format!("'{}'", "(".repeat(500))).is_ok());
        assert!(nesting(&format!("\"{}\\\"{}\"", "[".repeat(300), "[".repeat(300))).is_ok());
        assert!(nesting(&vec!["a[*]"; 500].join(" && ")).is_ok());
        assert!(nesting(&vec!["[@,@][]"; 500].join("|")).is_ok());
    }
}
