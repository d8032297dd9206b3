//! Walks a parsed expression once, before it ever runs: names in scope, functions and their arguments, traps. Notes
//! what the expression reads on the way.

use jmespath::Variable;
use jmespath::ast::{Ast, Comparator};

use super::compile::Site;
use super::traps;
use crate::functions::{self, Param};
use crate::{Fault, FaultCode, Reads};

/// What a node looks at, as far as it is known before running.
#[derive(Clone, PartialEq)]
enum Place {
    /// The scope itself.
    Root,
    /// A value of the scope, by names.
    Path(Vec<String>),
    /// Something computed, or an element of a list.
    Elsewhere,
}

pub(super) struct Checker<'c> {
    text: &'c str,
    site: &'c Site<'c>,
    pub(super) faults: Vec<Fault>,
    pub(super) reads: Reads,
    pub(super) builds: bool,
}

impl<'c> Checker<'c> {
    pub(super) fn new(text: &'c str, site: &'c Site<'c>) -> Self {
        Self { text, site, faults: Vec::new(), reads: Reads::new(), builds: false }
    }

    pub(super) fn check(&mut self, ast: &Ast) {
        let place = self.walk(ast, &Place::Root);
        self.used(place);
    }

    fn used(&mut self, place: Place) {
        match place {
            Place::Root => self.reads.add(Vec::new()),
            Place::Path(path) => self.reads.add(path),
            Place::Elsewhere => {}
        }
    }

    fn walk_used(&mut self, node: &Ast, at: &Place) {
        let place = self.walk(node, at);
        self.used(place);
    }

    fn walk(&mut self, node: &Ast, at: &Place) -> Place {
        match node {
            Ast::Field { name, offset } => self.field(name, *offset, at),
            Ast::Subexpr { lhs, rhs, offset } => {
                self.faults.extend(traps::negation(self.text, *offset, lhs, self.site));
                let left = self.walk(lhs, at);
                self.step(rhs, &left)
            }
            Ast::Identity { .. } => at.clone(),
            Ast::Index { .. } => {
                self.used(at.clone());
                Place::Elsewhere
            }
            Ast::Projection { lhs, rhs, .. } => {
                self.walk_used(lhs, at);
                self.walk_used(rhs, &Place::Elsewhere);
                Place::Elsewhere
            }
            Ast::ObjectValues { node, .. } | Ast::Flatten { node, .. } | Ast::Not { node, .. } => {
                self.walk_used(node, at);
                Place::Elsewhere
            }
            Ast::Condition { predicate: lhs, then: rhs, .. }
            | Ast::And { lhs, rhs, .. }
            | Ast::Or { lhs, rhs, .. } => {
                self.walk_used(lhs, at);
                self.walk_used(rhs, at);
                Place::Elsewhere
            }
            Ast::Comparison { comparator, lhs, rhs, .. } => {
                self.faults.extend(traps::text_order(self.text, comparator, lhs, rhs, self.site));
                self.operand(lhs, at);
                self.operand(rhs, at);
                Place::Elsewhere
            }
            Ast::Function { name, args, offset } => self.function(name, args, *offset, at),
            Ast::MultiList { elements, .. } => {
                self.builds = true;
                elements.iter().for_each(|element| self.walk_used(element, at));
                self.exists(at)
            }
            Ast::MultiHash { elements, .. } => {
                self.builds = true;
                elements.iter().for_each(|pair| self.walk_used(&pair.value, at));
                self.exists(at)
            }
            Ast::Slice { step, offset, .. } => {
                if *step == 0 {
                    self.faults.push(self.site.fault(
                        FaultCode::InvalidValue,
                        *offset,
                        "a slice's step is 0",
                    ));
                }
                self.used(at.clone());
                Place::Elsewhere
            }
            Ast::Expref { ast, offset } => {
                self.faults.push(self.site.fault(
                    FaultCode::Syntax,
                    *offset,
                    "an expression reference (&name) stands in the arguments of functions that take one, and nowhere else",
                ));
                self.walk_used(ast, &Place::Elsewhere);
                Place::Elsewhere
            }
            Ast::Literal { .. } => Place::Elsewhere,
        }
    }

    /// One side of a comparison.
    fn operand(&mut self, node: &Ast, at: &Place) {
        match traps::quoted_text(self.text, node, self.site) {
            Some(fault) => self.faults.push(fault),
            None => self.walk_used(node, at),
        }
    }

    /// What follows a dot or a pipe.
    fn step(&mut self, rhs: &Ast, left: &Place) -> Place {
        match rhs {
            // After a dot `true` is a member's name; after a pipe it is the trap that it is anywhere else.
            Ast::Field { name, offset } if !self.after_pipe(*offset) => self.member(name, *offset, left),
            other => self.walk(other, left),
        }
    }

    fn after_pipe(&self, offset: usize) -> bool {
        self.text.get(..offset).is_some_and(|before| before.trim_end().ends_with('|'))
    }

    /// `{…}` and `[…]` of a value are null where it is null, so whether it is there is read. Where members of it are
    /// read, that is known from them.
    fn exists(&mut self, at: &Place) -> Place {
        if let Place::Path(path) = at
            && !self.reads.paths().any(|read| read.starts_with(path))
        {
            self.reads.add(path.clone());
        }
        Place::Elsewhere
    }

    fn field(&mut self, name: &str, offset: usize, at: &Place) -> Place {
        if let Some(fault) = traps::bare_word(self.text, name, offset, self.site) {
            self.faults.push(fault);
            return Place::Elsewhere;
        }
        self.member(name, offset, at)
    }

    fn member(&mut self, name: &str, offset: usize, at: &Place) -> Place {
        match at {
            Place::Root => {
                self.faults.extend(self.site.scope.first_name(name, offset, self.site));
                Place::Path(vec![name.to_owned()])
            }
            Place::Path(path) => {
                self.faults.extend(self.site.scope.member(path, name, offset, self.site));
                Place::Path(path.iter().cloned().chain([name.to_owned()]).collect())
            }
            Place::Elsewhere => Place::Elsewhere,
        }
    }

    fn function(&mut self, name: &str, args: &[Ast], offset: usize, at: &Place) -> Place {
        self.builds = true;
        let start = name_start(self.text, name, offset);
        let Some(function) = functions::find(name) else {
            let mut fault =
                self.site.fault(FaultCode::UnknownFunction, start, format!("there is no function {name}"));
            fault.suggestion = crate::fault::nearest(name, functions::names()).map(str::to_owned);
            self.faults.push(fault);
            args.iter().for_each(|arg| self.argument(arg, Param::Any, at, true));
            return Place::Elsewhere;
        };
        if let Err(wanted) = function.check_arity(args.len()) {
            let words = format!("{name} takes {wanted} arguments, not {}", args.len());
            self.faults
                .push(self.site.fault(FaultCode::WrongArity, start, words).suggest(function.signature));
        }
        if name == "raw" {
            let words = "raw(…) stands alone between {{ and }} in a url, and nowhere else";
            self.faults.push(self.site.fault(FaultCode::InvalidValue, start, words));
        }
        if let (true, Some(Ast::Literal { value, offset })) = (name.starts_with("regex_"), args.get(1))
            && let Variable::String(pattern) = &**value
            && let Err(words) = functions::linear_regex(pattern)
        {
            let words = format!("not a regular expression: {words}");
            self.faults.push(self.site.fault(FaultCode::InvalidValue, *offset, words));
        }
        for (place, arg) in args.iter().enumerate() {
            self.argument(arg, function.param(place).unwrap_or(Param::Any), at, false);
        }
        if name == "root" { Place::Root } else { Place::Elsewhere }
    }

    fn argument(&mut self, arg: &Ast, param: Param, at: &Place, lenient: bool) {
        match arg {
            Ast::Expref { ast, .. } if param == Param::Expr || lenient => {
                self.walk_used(ast, &Place::Elsewhere)
            }
            _ => self.walk_used(arg, at),
        }
    }
}

/// Where a function's name begins: the tree knows its opening bracket only.
fn name_start(text: &str, name: &str, bracket: usize) -> usize {
    text.get(..bracket).and_then(|before| before.rfind(name)).unwrap_or(bracket)
}

/// The height of a tree.
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

/// Whether a comparison orders.
pub(super) fn orders(comparator: &Comparator) -> bool {
    !matches!(comparator, Comparator::Equal | Comparator::NotEqual)
}
