//! Walks a parsed expression once, before it ever runs: names in scope, functions and their arguments, traps. Notes
//! what the expression reads on the way.

use jmespath::Variable;
use jmespath::ast::Ast;
use orchid_common::suggest::closest;

use super::compare::{Comparison, name_start};
use super::compile::Site;
use super::{names, pitfalls};
use crate::functions::{self, Param};
use crate::{Diagnostic, DiagnosticCode, ReadPaths};

/// What a node looks at, as far as it is known before running.
#[derive(Clone, PartialEq)]
enum Place {
    /// The scope itself.
    Root,
    /// A value of the scope, by names.
    Path(Vec<String>),
    /// Something computed that is text, or nothing that has an order either.
    Text,
    /// Something computed, or an element of a list.
    Elsewhere,
}

impl Place {
    /// Whether what stands here is never a number.
    fn is_text(&self) -> bool {
        match self {
            Self::Path(path) => names::is_text(path),
            Self::Text => true,
            Self::Root | Self::Elsewhere => false,
        }
    }

    fn text_where(text: bool) -> Self {
        if text { Self::Text } else { Self::Elsewhere }
    }
}

pub(super) struct Checker<'c> {
    text: &'c str,
    site: &'c Site<'c>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) reads: ReadPaths,
    pub(super) builds: bool,
}

impl<'c> Checker<'c> {
    pub(super) fn new(text: &'c str, site: &'c Site<'c>) -> Self {
        Self { text, site, diagnostics: Vec::new(), reads: ReadPaths::new(), builds: false }
    }

    pub(super) fn check(&mut self, ast: &Ast) {
        let place = self.walk(ast, &Place::Root);
        self.used(place);
    }

    fn used(&mut self, place: Place) {
        match place {
            Place::Root => self.reads.add(Vec::new()),
            Place::Path(path) => self.reads.add(path),
            Place::Text | Place::Elsewhere => {}
        }
    }

    /// Whether what is used is known to be text.
    fn walk_used(&mut self, node: &Ast, at: &Place) -> bool {
        let place = self.walk(node, at);
        let text = place.is_text();
        self.used(place);
        text
    }

    fn walk(&mut self, node: &Ast, at: &Place) -> Place {
        match node {
            Ast::Field { name, offset } => self.field(name, *offset, at),
            Ast::Subexpr { lhs, rhs, offset } => {
                self.diagnostics.extend(pitfalls::negation(self.text, *offset, lhs, self.site));
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
            Ast::Condition { predicate: lhs, then: rhs, .. } => {
                self.walk_used(lhs, at);
                self.walk_used(rhs, at);
                Place::Elsewhere
            }
            Ast::Or { lhs, rhs, .. } => {
                let texts = [self.walk_used(lhs, at), self.walk_used(rhs, at)];
                Place::text_where(texts == [true; 2])
            }
            // Where the left side is false this is it, and no number is false.
            Ast::And { lhs, rhs, .. } => {
                self.walk_used(lhs, at);
                Place::text_where(self.walk_used(rhs, at))
            }
            Ast::Comparison { comparator, lhs, rhs, .. } => {
                self.comparison(&Comparison { text: self.text, comparator, sides: [lhs, rhs] }, at);
                Place::Elsewhere
            }
            Ast::Function { name, args, offset } => self.function(name, args, *offset, at),
            Ast::MultiList { elements, .. } => {
                self.builds = true;
                for element in elements {
                    self.walk_used(element, at);
                }
                self.exists(at)
            }
            Ast::MultiHash { elements, .. } => {
                self.builds = true;
                for pair in elements {
                    self.walk_used(&pair.value, at);
                }
                self.exists(at)
            }
            Ast::Slice { step, offset, .. } => {
                if *step == 0 {
                    let words = "a slice's step is 0";
                    self.diagnostics.push(self.site.diagnostic(DiagnosticCode::InvalidValue, *offset, words));
                }
                self.used(at.clone());
                Place::Elsewhere
            }
            Ast::Expref { ast, offset } => {
                let words = "an expression reference (&name) stands in the arguments of functions that take one, and nowhere else";
                self.diagnostics.push(self.site.diagnostic(DiagnosticCode::Syntax, *offset, words));
                self.walk_used(ast, &Place::Elsewhere);
                Place::Elsewhere
            }
            Ast::Literal { value, .. } => Place::text_where(matches!(**value, Variable::String(_))),
        }
    }

    fn comparison(&mut self, comparison: &Comparison<'_>, at: &Place) {
        let mut quoted = false;
        let texts = comparison.sides.map(|side| match comparison.quoted_text(side, self.site) {
            Some(diagnostic) => {
                self.diagnostics.push(diagnostic);
                quoted = true;
                false
            }
            None => self.walk_used(side, at),
        });
        if !quoted {
            self.diagnostics.extend(comparison.text_order(texts, self.site));
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
        if let Some(diagnostic) = pitfalls::bare_word(self.text, name, offset, self.site) {
            self.diagnostics.push(diagnostic);
            return Place::Elsewhere;
        }
        self.member(name, offset, at)
    }

    fn member(&mut self, name: &str, offset: usize, at: &Place) -> Place {
        match at {
            Place::Root => {
                self.diagnostics.extend(self.site.scope.first_name(name, offset, self.site));
                Place::Path(vec![name.to_owned()])
            }
            Place::Path(path) => {
                self.diagnostics.extend(self.site.scope.member(path, name, offset, self.site));
                Place::Path(path.iter().cloned().chain([name.to_owned()]).collect())
            }
            Place::Text | Place::Elsewhere => Place::Elsewhere,
        }
    }

    fn function(&mut self, name: &str, args: &[Ast], offset: usize, at: &Place) -> Place {
        self.builds = true;
        let start = name_start(self.text, name, offset);
        let Some(function) = functions::find(name) else {
            let mut diagnostic = self.site.diagnostic(
                DiagnosticCode::UnknownFunction,
                start,
                format!("there is no function {name}"),
            );
            diagnostic.suggestion = closest(name, functions::names()).map(str::to_owned);
            self.diagnostics.push(diagnostic);
            for arg in args {
                self.argument(arg, Param::Any, at, true);
            }
            return Place::Elsewhere;
        };
        if let Err(wanted) = function.check_arity(args.len()) {
            let words = format!("{name} takes {wanted} arguments, not {}", args.len());
            self.diagnostics.push(
                self.site.diagnostic(DiagnosticCode::WrongArity, start, words).suggest(function.signature),
            );
        }
        if name == "raw" {
            let words = "raw(…) stands alone between {{ and }} in a url, and nowhere else";
            self.diagnostics.push(self.site.diagnostic(DiagnosticCode::InvalidValue, start, words));
        }
        if let (true, Some(Ast::Literal { value, offset })) = (name.starts_with("regex_"), args.get(1))
            && let Variable::String(pattern) = &**value
            && let Err(words) = functions::linear_regex(pattern)
        {
            let words = format!("not a regular expression: {words}");
            self.diagnostics.push(self.site.diagnostic(DiagnosticCode::InvalidValue, *offset, words));
        }
        let mut texts = Vec::with_capacity(args.len());
        for (place, arg) in args.iter().enumerate() {
            texts.push(self.argument(arg, function.param(place).unwrap_or(Param::Any), at, false));
        }
        match name {
            "root" => Place::Root,
            "if" => Place::text_where(texts.iter().skip(1).all(|text| *text)),
            "not_null" => Place::text_where(texts.iter().all(|text| *text)),
            _ => Place::text_where(function.gives_text()),
        }
    }

    /// Whether the argument is known to be text.
    fn argument(&mut self, arg: &Ast, param: Param, at: &Place, lenient: bool) -> bool {
        match arg {
            Ast::Expref { ast, .. } if param == Param::Expr || lenient => {
                self.walk_used(ast, &Place::Elsewhere)
            }
            _ => self.walk_used(arg, at),
        }
    }
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
