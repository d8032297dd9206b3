//! Finds the paths in an expression that selects rows.
//!
//! The rows of a plain path are copied as raw bytes. The rows of a filter can be counted before it
//! drops some of them.

use jmespath::ast::Ast;

use crate::value::{PathSegment, PlainPath};

/// Functions whose result is empty exactly if their first argument is.
const EMPTINESS_PRESERVING: [&str; 4] = ["reverse", "sort", "sort_by", "unique"];

/// Returns the path below `names`, if the tree is only a path of names and indexes that begins so.
pub(super) fn plain_path_below(ast: &Ast, names: &[&str]) -> Option<PlainPath> {
    let mut segments = Vec::new();
    collect_segments(ast, &mut segments)?;
    let mut segments = segments.into_iter();
    for wanted in names {
        match segments.next()? {
            PathSegment::Member(name) if name == *wanted => {}
            _ => return None,
        }
    }
    Some(PlainPath(segments.collect()))
}

/// Returns the tree without the default of `… || `[]``, if it has that default.
pub(super) fn without_empty_default(ast: &Ast) -> Option<&Ast> {
    match ast {
        Ast::Or { lhs, rhs, .. } => {
            let is_empty = |value: &jmespath::Variable| value.as_array().is_some_and(Vec::is_empty);
            matches!(&**rhs, Ast::Literal { value, .. } if is_empty(value)).then_some(&**lhs)
        }
        _ => None,
    }
}

/// Returns whether a null that the author wrote can be the result of a tree. A null that something
/// is compared with cannot.
pub(super) fn chooses_null(ast: &Ast) -> bool {
    match ast {
        Ast::Literal { value, .. } => value.is_null(),
        Ast::Or { rhs, .. } | Ast::Subexpr { rhs, .. } => chooses_null(rhs),
        Ast::And { lhs, rhs, .. } => chooses_null(lhs) || chooses_null(rhs),
        Ast::Function { name, args, .. } if name == "if" => args.iter().skip(1).any(chooses_null),
        Ast::Function { name, args, .. } if name == "not_null" => args.last().is_some_and(chooses_null),
        _ => false,
    }
}

fn collect_segments(node: &Ast, segments: &mut Vec<PathSegment>) -> Option<()> {
    match node {
        Ast::Field { name, .. } => segments.push(PathSegment::Member(name.clone())),
        Ast::Index { idx, .. } => segments.push(PathSegment::Index(*idx)),
        Ast::Identity { .. } => {}
        Ast::Subexpr { lhs, rhs, .. } => {
            collect_segments(lhs, segments)?;
            collect_segments(rhs, segments)?;
        }
        _ => return None,
    }
    Some(())
}

/// Returns the part of a tree before its first filter, or `None` if it has no filter.
///
/// A filter is a projection whose right side begins with a condition. Only the beginning of the
/// tree is searched, because only that part is applied to the scope.
pub(super) fn filter_input(node: &Ast) -> Option<Ast> {
    match node {
        Ast::Projection { lhs, rhs, .. } => {
            filter_input(lhs).or_else(|| matches!(**rhs, Ast::Condition { .. }).then(|| (**lhs).clone()))
        }
        Ast::Flatten { node, .. } => filter_input(node),
        Ast::Subexpr { lhs, rhs, offset } => filter_input(lhs).or_else(|| {
            let rhs = Box::new(filter_input(rhs)?);
            Some(Ast::Subexpr { lhs: lhs.clone(), rhs, offset: *offset })
        }),
        Ast::Function { name, args, .. } if EMPTINESS_PRESERVING.contains(&name.as_str()) => {
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
    fn plain_body_path_of_a_path_is_returned() {
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
    fn absent_rows_are_allowed_by_their_default() {
        for (text, allowed) in [
            ("response.body.items", false),
            ("response.body.items || `[]`", true),
            ("response.body.items[?id] || `[]`", true),
            ("if(response.body.ok, response.body.items, `null`)", true),
            ("response.body.items || response.body.rows", false),
            ("response.body.items[?id != `null`]", false),
            ("response.body.items[?deleted_at == `null`] || `null`", true),
            ("if(response.body.ok == `null`, response.body.items, response.body.rows)", false),
            ("response.body | `null`", true),
            ("not_null(response.body.items, `null`)", true),
        ] {
            assert_eq!(compile_anywhere(text).allows_absence(), allowed, "{text}");
        }
        let plain = |text: &str| compile_anywhere(text).plain_row_path();
        let items = PlainPath(vec![PathSegment::Member("items".to_owned())]);
        assert_eq!(plain("response.body.items || `[]`"), Some(items.clone()));
        assert_eq!(plain("response.body.items"), Some(items));
        assert_eq!(plain("response.body.items || `[1]`"), None);
    }

    #[test]
    fn filter_input_is_the_list_before_the_filter() {
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
