//! What the form of an expression says about the rows that it chooses: a plain path whose bytes can be copied, or a filter
//! whose rows can be counted before it.

use std::sync::Arc;

use jmespath::ast::Ast;

use super::{Compiled, Expr};
use crate::value::{PathSegment, PlainPath};

/// Functions that give as many elements as their first argument has, or none of none.
const KEEP_EMPTINESS: [&str; 4] = ["reverse", "sort", "sort_by", "unique"];

impl Expr {
    /// The path below `response.body`, where the expression is nothing but such a path of names and indexes: what it
    /// chooses can be copied as the bytes that came.
    #[must_use]
    pub fn plain_body_path(&self) -> Option<PlainPath> {
        self.plain_path_below(&["response", "body"])
    }

    /// The path below other names, from the scope's own down, where the expression is nothing else.
    #[must_use]
    pub fn plain_path_below(&self, names: &[&str]) -> Option<PlainPath> {
        let mut steps = Vec::new();
        plain_steps(&self.0.ast, &mut steps)?;
        let mut steps = steps.into_iter();
        for wanted in names {
            match steps.next()? {
                PathSegment::Member(name) if name == *wanted => {}
                _ => return None,
            }
        }
        Some(PlainPath(steps.collect()))
    }

    /// What the expression's first filter chooses from: `a.b` of `a.b[?c].d`. None where it has no filter.
    #[must_use]
    pub fn filter_input(&self) -> Option<Self> {
        let ast = filter_input(&self.0.ast)?;
        let Compiled { text, reads, builds, .. } = &*self.0;
        Some(Self(Arc::new(Compiled { text: text.clone(), ast, reads: reads.clone(), builds: *builds })))
    }
}

fn plain_steps(node: &Ast, steps: &mut Vec<PathSegment>) -> Option<()> {
    match node {
        Ast::Field { name, .. } => steps.push(PathSegment::Member(name.clone())),
        Ast::Index { idx, .. } => steps.push(PathSegment::Index(*idx)),
        Ast::Identity { .. } => {}
        Ast::Subexpr { lhs, rhs, .. } => {
            plain_steps(lhs, steps)?;
            plain_steps(rhs, steps)?;
        }
        _ => return None,
    }
    Some(())
}

/// A filter is a projection whose right side begins with a condition. Only the expression's beginning is looked at: what
/// stands there is asked of the scope.
fn filter_input(node: &Ast) -> Option<Ast> {
    match node {
        Ast::Projection { lhs, rhs, .. } => {
            filter_input(lhs).or_else(|| matches!(**rhs, Ast::Condition { .. }).then(|| (**lhs).clone()))
        }
        Ast::Flatten { node, .. } => filter_input(node),
        Ast::Subexpr { lhs, rhs, offset } => filter_input(lhs).or_else(|| {
            let rhs = Box::new(filter_input(rhs)?);
            Some(Ast::Subexpr { lhs: lhs.clone(), rhs, offset: *offset })
        }),
        Ast::Function { name, args, .. } if KEEP_EMPTINESS.contains(&name.as_str()) => {
            filter_input(args.first()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::tests::compile_anywhere;
    use crate::{EvalEnv, PathSegment, PlainPath, Scope, ScopeName, Value};

    #[test]
    fn a_plain_path_below_the_body_is_known() {
        let plain = |text: &str| compile_anywhere(text).plain_body_path();
        let member = |name: &str| PathSegment::Member(name.to_owned());
        assert_eq!(plain("response.body"), Some(PlainPath(vec![])));
        assert_eq!(
            plain("response.body.data[0].\"a b\""),
            Some(PlainPath(vec![member("data"), PathSegment::Index(0), member("a b")]))
        );
        for computed in [
            "response.body.items[*]",
            "response.headers",
            "context.list",
            "response.body.a || `[]`",
            "response",
        ] {
            assert_eq!(plain(computed), None, "{computed}");
        }
    }

    #[test]
    fn a_filter_shows_what_it_chooses_from() {
        let body = br#"{"body":{"rows":[{"ok":false,"tags":["a"]},{"ok":false,"tags":[]}],"none":[]}}"#;
        let scope = Scope::new().with(ScopeName::Response, Value::parse(body).unwrap());
        let env = EvalEnv::new(DateTime::UNIX_EPOCH, 0);
        for (text, rows) in [
            ("response.body.rows[?ok]", Some(2)),
            ("response.body.rows[?ok].tags", Some(2)),
            ("response.body.rows[?ok].tags[]", Some(2)),
            ("response.body.rows[?ok] | [0:5]", Some(2)),
            ("response.body | rows[?ok]", Some(2)),
            ("sort_by(response.body.rows[?ok], &id)", Some(2)),
            ("response.body.rows[*].tags[] | [?@ == 'x']", Some(1)),
            ("response.body.none[?ok]", Some(0)),
            ("response.body.rows", None),
            ("response.body.rows[*].tags", None),
            ("length(response.body.rows[?ok])", None),
        ] {
            let found = compile_anywhere(text).filter_input();
            let found = found.map(|expr| expr.eval(&scope, &env).unwrap().length().unwrap());
            assert_eq!(found, rows, "{text}");
        }
    }
}
