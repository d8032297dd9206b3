//! Walks a syntax tree once, before it is ever evaluated.
//!
//! It checks names, functions, arguments and pitfalls, and collects the paths of the scope that the
//! expression reads.

use jmespath::Variable;
use jmespath::ast::Ast;

use super::comparison::ComparisonNode;
use super::origin::ExprOrigin;
use super::scan::function_name_start;
use super::{names, pitfalls};
use crate::diagnostic::quoted;
use crate::functions::{self, ParamType};
use crate::{Diagnostic, DiagnosticCode, ReadPaths};

/// The facts about an expression that passed every check.
pub(in crate::expr) struct CheckedExpr {
    /// Paths of the scope that it reads.
    pub(in crate::expr) reads: ReadPaths,
    /// True if the result can be larger or deeper than the values that the expression reads.
    pub(in crate::expr) can_grow: bool,
    /// True if it calls `outer()`.
    pub(in crate::expr) reads_outer: bool,
}

/// Checks a tree that was parsed from `text`, or returns every diagnostic that was found.
pub(in crate::expr) fn check(
    text: &str,
    ast: &Ast,
    origin: &ExprOrigin<'_>,
) -> Result<CheckedExpr, Vec<Diagnostic>> {
    let mut checker = TreeChecker {
        text,
        origin,
        diagnostics: Vec::new(),
        reads: ReadPaths::new(),
        can_grow: false,
        element_depth: 0,
        reads_outer: false,
    };
    checker.walk_used(ast, &StaticValue::Scope);
    let TreeChecker { mut diagnostics, reads, can_grow, reads_outer, .. } = checker;
    diagnostics.extend(names::stored_credential(&reads, origin));
    if diagnostics.is_empty() { Ok(CheckedExpr { reads, can_grow, reads_outer }) } else { Err(diagnostics) }
}

/// The part of a node's value that is known before evaluation.
#[derive(Clone, PartialEq)]
enum StaticValue {
    /// The whole scope.
    Scope,
    /// The value at a path of the scope.
    Path(Vec<String>),
    /// A computed text or null; neither has an order in JMESPath.
    Text,
    /// Any other computed value, or an element of a list.
    Unknown,
}

impl StaticValue {
    /// Returns true if the value is never a number.
    fn is_text(&self) -> bool {
        match self {
            Self::Path(path) => names::is_text(path),
            Self::Text => true,
            Self::Scope | Self::Unknown => false,
        }
    }

    fn text_if(text: bool) -> Self {
        if text { Self::Text } else { Self::Unknown }
    }
}

struct TreeChecker<'c> {
    text: &'c str,
    origin: &'c ExprOrigin<'c>,
    diagnostics: Vec<Diagnostic>,
    reads: ReadPaths,
    can_grow: bool,
    /// Number of projections and expression references around the node.
    element_depth: usize,
    reads_outer: bool,
}

impl TreeChecker<'_> {
    /// Walks a node whose value is used, and records the path that it reads. Returns true if the
    /// value is known to be text.
    fn walk_used(&mut self, node: &Ast, input: &StaticValue) -> bool {
        let value = self.walk(node, input);
        let text = value.is_text();
        self.record_read(value);
        text
    }

    /// Walks a node that is applied to each element of a list. Returns true if its value is known
    /// to be text.
    fn walk_element(&mut self, node: &Ast) -> bool {
        self.element_depth += 1;
        let text = self.walk_used(node, &StaticValue::Unknown);
        self.element_depth -= 1;
        text
    }

    fn record_read(&mut self, value: StaticValue) {
        match value {
            StaticValue::Scope => self.reads.add(Vec::new()),
            StaticValue::Path(path) => self.reads.add(path),
            StaticValue::Text | StaticValue::Unknown => {}
        }
    }

    /// Walks a node that is applied to `input`, and returns what is known of its value.
    fn walk(&mut self, node: &Ast, input: &StaticValue) -> StaticValue {
        match node {
            Ast::Field { name, offset } => self.field(name, *offset, input),
            Ast::Subexpr { lhs, rhs, offset } => {
                self.diagnostics.extend(pitfalls::negated_path(self.text, *offset, lhs, self.origin));
                let left = self.walk(lhs, input);
                self.right_side(rhs, &left)
            }
            Ast::Identity { .. } => input.clone(),
            Ast::Index { .. } => {
                self.record_read(input.clone());
                StaticValue::Unknown
            }
            Ast::Projection { lhs, rhs, .. } => {
                self.walk_used(lhs, input);
                self.walk_element(rhs);
                StaticValue::Unknown
            }
            Ast::ObjectValues { node, .. } | Ast::Flatten { node, .. } | Ast::Not { node, .. } => {
                self.walk_used(node, input);
                StaticValue::Unknown
            }
            Ast::Condition { predicate: lhs, then: rhs, .. } => {
                self.walk_used(lhs, input);
                self.walk_used(rhs, input);
                StaticValue::Unknown
            }
            Ast::Or { lhs, rhs, .. } => {
                let texts = [self.walk_used(lhs, input), self.walk_used(rhs, input)];
                StaticValue::text_if(texts == [true; 2])
            }
            // The left side is only the result if it is false, and no number is false.
            Ast::And { lhs, rhs, .. } => {
                self.walk_used(lhs, input);
                StaticValue::text_if(self.walk_used(rhs, input))
            }
            Ast::Comparison { comparator, lhs, rhs, .. } => {
                self.comparison(&ComparisonNode { text: self.text, comparator, sides: [lhs, rhs] }, input);
                StaticValue::Unknown
            }
            Ast::Function { name, args, offset } => self.function(name, args, *offset, input),
            Ast::MultiList { elements, .. } => {
                self.can_grow = true;
                for element in elements {
                    self.walk_used(element, input);
                }
                self.record_existence(input)
            }
            Ast::MultiHash { elements, .. } => {
                self.can_grow = true;
                for pair in elements {
                    self.walk_used(&pair.value, input);
                }
                self.record_existence(input)
            }
            Ast::Slice { step, offset, .. } => {
                if *step == 0 {
                    self.report(DiagnosticCode::InvalidValue, *offset, "the step of a slice is 0");
                }
                self.record_read(input.clone());
                StaticValue::Unknown
            }
            Ast::Expref { ast, offset } => {
                let message = "an expression reference (&name) is only allowed as an argument of a function that takes one";
                self.report(DiagnosticCode::Syntax, *offset, message);
                self.walk_used(ast, &StaticValue::Unknown);
                StaticValue::Unknown
            }
            Ast::Literal { value, .. } => StaticValue::text_if(matches!(**value, Variable::String(_))),
        }
    }

    fn report(&mut self, code: DiagnosticCode, offset: usize, message: impl Into<String>) {
        self.diagnostics.push(self.origin.diagnostic(code, offset, message));
    }

    fn comparison(&mut self, comparison: &ComparisonNode<'_>, input: &StaticValue) {
        let mut quoted = false;
        let texts = comparison.sides.map(|side| match comparison.quoted_text(side, self.origin) {
            Some(diagnostic) => {
                self.diagnostics.push(diagnostic);
                quoted = true;
                false
            }
            None => self.walk_used(side, input),
        });
        // A misquoted side is already reported, and its correction settles the order as well.
        if !quoted {
            self.diagnostics.extend(comparison.text_order(texts, self.origin));
        }
    }

    /// Walks the right side of a dot or a pipe.
    fn right_side(&mut self, rhs: &Ast, left: &StaticValue) -> StaticValue {
        match rhs {
            // After a dot, `true` is a member's name. After a pipe it is a pitfall.
            Ast::Field { name, offset } if !self.follows_pipe(*offset) => self.member(name, *offset, left),
            other => self.walk(other, left),
        }
    }

    fn follows_pipe(&self, offset: usize) -> bool {
        self.text.get(..offset).is_some_and(|before| before.trim_end().ends_with('|'))
    }

    /// Records that the existence of a value is read: `{…}` and `[…]` of null are null. Nothing is
    /// added if members of the value are read, because they imply its existence.
    fn record_existence(&mut self, input: &StaticValue) -> StaticValue {
        if let StaticValue::Path(path) = input
            && !self.reads.paths().any(|read| read.starts_with(path))
        {
            self.reads.add(path.clone());
        }
        StaticValue::Unknown
    }

    fn field(&mut self, name: &str, offset: usize, input: &StaticValue) -> StaticValue {
        if let Some(diagnostic) = pitfalls::bare_keyword(self.text, name, offset, self.origin) {
            self.diagnostics.push(diagnostic);
            return StaticValue::Unknown;
        }
        self.member(name, offset, input)
    }

    fn member(&mut self, name: &str, offset: usize, input: &StaticValue) -> StaticValue {
        match input {
            StaticValue::Scope => {
                self.diagnostics.extend(names::unknown_first_name(name, offset, self.origin));
                StaticValue::Path(vec![name.to_owned()])
            }
            StaticValue::Path(path) => {
                self.diagnostics.extend(names::unknown_member(path, name, offset, self.origin));
                StaticValue::Path(path.iter().cloned().chain([name.to_owned()]).collect())
            }
            StaticValue::Text | StaticValue::Unknown => StaticValue::Unknown,
        }
    }

    fn function(&mut self, name: &str, args: &[Ast], offset: usize, input: &StaticValue) -> StaticValue {
        self.can_grow = true;
        let start = function_name_start(self.text, name, offset);
        let Some(function) = functions::find(name) else {
            let mut diagnostic = self.origin.diagnostic(
                DiagnosticCode::UnknownFunction,
                start,
                format!("there is no function {name}"),
            );
            diagnostic.suggestion = functions::suggest(name).map(str::to_owned);
            self.diagnostics.push(diagnostic);
            for arg in args {
                self.argument(arg, ParamType::Any, input, true);
            }
            return StaticValue::Unknown;
        };
        if let Err(wanted) = function.check_arity(args.len()) {
            let message = format!("{name} takes {wanted} arguments, not {}", args.len());
            let diagnostic = self.origin.diagnostic(DiagnosticCode::WrongArity, start, message);
            self.diagnostics.push(diagnostic.suggest(function.signature));
        }
        self.special_arguments(name, args, start);
        let mut texts = Vec::with_capacity(args.len());
        for (index, arg) in args.iter().enumerate() {
            texts.push(self.argument(arg, function.param(index).unwrap_or(ParamType::Any), input, false));
        }
        match name {
            "root" => StaticValue::Scope,
            "if" => StaticValue::text_if(texts.iter().skip(1).all(|text| *text)),
            "not_null" => StaticValue::text_if(texts.iter().all(|text| *text)),
            _ => StaticValue::text_if(function.returns_text()),
        }
    }

    /// Checks the rules that single functions add: the place of `raw` and literal patterns.
    fn special_arguments(&mut self, name: &str, args: &[Ast], start: usize) {
        if name == "outer" {
            self.reads_outer = true;
            self.diagnostics.extend(pitfalls::outer_at_the_top(self.element_depth, start, self.origin));
        }
        if name == "format_time"
            && let Some(Ast::Literal { value, offset }) = args.get(2)
            && let Variable::String(zone) = &**value
            && crate::time::parse_zone(zone).is_none()
        {
            let message = format!("{} is not an IANA timezone such as Europe/Berlin", quoted(zone));
            self.report(DiagnosticCode::InvalidValue, *offset, message);
        }
        if name == "raw" {
            let message = "raw(…) is only allowed alone between {{ and }} in a url";
            self.report(DiagnosticCode::InvalidValue, start, message);
        }
        if let (true, Some(Ast::Literal { value, offset })) = (name.starts_with("regex_"), args.get(1))
            && let Variable::String(pattern) = &**value
            && let Err(reason) = functions::linear_regex(pattern)
        {
            let message = format!("invalid regular expression: {reason}");
            self.report(DiagnosticCode::InvalidValue, *offset, message);
        }
    }

    /// Walks an argument. Returns true if it is known to be text.
    fn argument(&mut self, arg: &Ast, param: ParamType, input: &StaticValue, any_kind: bool) -> bool {
        match arg {
            Ast::Expref { ast, .. } if param == ParamType::Expr || any_kind => self.walk_element(ast),
            _ => self.walk_used(arg, input),
        }
    }
}
