//! Collects the paths that an expression reads, down to the elements of lists.
//!
//! Where the tree does more than follow names, indexes and projections, the whole value is read.

use std::collections::BTreeSet;

use jmespath::ast::Ast;

use crate::ReadSegment;

/// Most paths that a value may have at once: flattening lists inside lists doubles them.
const ALTERNATIVES_MAX: usize = 16;

/// Functions whose result depends only on the type and the size of their argument.
const SIZE_FUNCTIONS: [&str; 3] = ["keys", "length", "type"];

/// Returns the exact paths that a tree reads from the scope.
pub(super) fn exact_reads(ast: &Ast) -> BTreeSet<Vec<ReadSegment>> {
    let mut walk = ReadsWalk { reads: BTreeSet::new() };
    walk.used(ast, &ValuePaths(vec![Vec::new()]));
    walk.reads
}

/// Returns whether the value at a path was received as it is. The objects around it are put
/// together from the members that are read, so that reading their size means reading them all.
fn is_received(path: &[ReadSegment]) -> bool {
    let is_body = |segment: &ReadSegment| matches!(segment, ReadSegment::Member(name) if name == "body");
    match path {
        [ReadSegment::Member(root), rest @ ..] => match root.as_str() {
            "item" => true,
            "response" | "prev" | "parent" => rest.first().is_some_and(is_body),
            "steps" => rest.get(1).is_some_and(is_body),
            _ => false,
        },
        _ => false,
    }
}

fn is_scalar(node: &Ast) -> bool {
    matches!(node, Ast::Literal { value, .. } if !value.is_array() && !value.is_object())
}

/// The paths of the scope at which a value may be found; none for a computed value.
#[derive(Clone, Default)]
struct ValuePaths(Vec<Vec<ReadSegment>>);

impl ValuePaths {
    fn join(&self, segment: &ReadSegment) -> Self {
        let longer = |path: &Vec<ReadSegment>| path.iter().chain([segment]).cloned().collect();
        Self(self.0.iter().map(longer).collect())
    }
}

struct ReadsWalk {
    reads: BTreeSet<Vec<ReadSegment>>,
}

impl ReadsWalk {
    /// Walks a node whose value is used as a whole.
    fn used(&mut self, node: &Ast, input: &ValuePaths) -> ValuePaths {
        let ValuePaths(paths) = self.walk(node, input);
        self.reads.extend(paths);
        ValuePaths::default()
    }

    /// Walks a node of whose value only the type and the size are used.
    fn sized(&mut self, node: &Ast, input: &ValuePaths) -> ValuePaths {
        let ValuePaths(paths) = self.walk(node, input);
        self.reads.extend(paths.into_iter().map(|mut path| {
            if is_received(&path) {
                path.push(ReadSegment::Size);
            }
            path
        }));
        ValuePaths::default()
    }

    /// Walks a node that is applied to `input`, and returns where its value stands.
    fn walk(&mut self, node: &Ast, input: &ValuePaths) -> ValuePaths {
        match node {
            Ast::Field { name, .. } => input.join(&ReadSegment::Member(name.clone())),
            Ast::Index { idx, .. } => input.join(&ReadSegment::Index(*idx)),
            Ast::Identity { .. } => input.clone(),
            Ast::Subexpr { lhs, rhs, .. } => {
                let left = self.walk(lhs, input);
                self.walk(rhs, &left)
            }
            Ast::Projection { lhs, rhs, .. } => {
                let elements = self.walk(lhs, input).join(&ReadSegment::Every);
                self.used(rhs, &elements);
                // The number of elements counts even if nothing of them is read.
                self.existence(&elements)
            }
            Ast::Flatten { node, .. } => {
                let ValuePaths(mut lists) = self.walk(node, input);
                if lists.len() * 2 > ALTERNATIVES_MAX {
                    self.reads.extend(lists);
                    return ValuePaths::default();
                }
                // An element that is a list itself gives its own elements.
                lists.extend(ValuePaths(lists.clone()).join(&ReadSegment::Every).0);
                ValuePaths(lists)
            }
            Ast::Slice { .. } => {
                self.reads.extend(input.0.iter().cloned());
                ValuePaths::default()
            }
            Ast::ObjectValues { node, .. } => self.used(node, input),
            Ast::Not { node, .. } => self.sized(node, input),
            Ast::Expref { ast, .. } => self.used(ast, &ValuePaths::default()),
            Ast::Condition { predicate, then, .. } => {
                self.sized(predicate, input);
                self.used(then, input)
            }
            Ast::Comparison { lhs: value, rhs: literal, .. }
            | Ast::Comparison { lhs: literal, rhs: value, .. }
                if is_scalar(literal) =>
            {
                // No list and no object equals a scalar, whatever its elements are.
                self.sized(value, input)
            }
            Ast::Or { lhs, rhs, .. } | Ast::And { lhs, rhs, .. } | Ast::Comparison { lhs, rhs, .. } => {
                self.used(lhs, input);
                self.used(rhs, input)
            }
            Ast::MultiList { elements, .. } => {
                for element in elements {
                    self.used(element, input);
                }
                self.existence(input)
            }
            Ast::MultiHash { elements, .. } => {
                for pair in elements {
                    self.used(&pair.value, input);
                }
                self.existence(input)
            }
            Ast::Function { name, args, .. } => {
                let is_sized = SIZE_FUNCTIONS.contains(&name.as_str());
                for arg in args {
                    if is_sized {
                        self.sized(arg, input)
                    } else {
                        self.used(arg, input)
                    };
                }
                if name == "root" { ValuePaths(vec![Vec::new()]) } else { ValuePaths::default() }
            }
            Ast::Literal { .. } => ValuePaths::default(),
        }
    }

    /// Records that the existence of a value is read, unless reads of its parts imply that. The
    /// scope itself always exists.
    fn existence(&mut self, input: &ValuePaths) -> ValuePaths {
        for path in input.0.iter().filter(|path| !path.is_empty()) {
            if !self.reads.iter().any(|read| read.starts_with(path)) {
                self.reads.insert(path.clone());
            }
        }
        ValuePaths::default()
    }
}
