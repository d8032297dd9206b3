//! Runs a parsed expression on a scope. In come the tree, the scope and the environment; out goes a value, or why there
//! is none. Every node, every list slot and every byte of new text is paid for out of a budget, so a hostile expression
//! ends early: the interpreter that comes with the parser has no such bound, which is why the tree is walked here.

use std::collections::BTreeMap;

use jmespath::ast::{Ast, Comparator};
use jmespath::{Rcvar, Variable};

use super::equal;
use crate::functions::{self, Arg};
use crate::{EvalEnv, Scope};

/// Nodes evaluated at most.
const STEPS: u64 = 20_000_000;
/// List slots and object members made at most, counted through to the leaves of the result.
const SLOTS: u64 = 4_000_000;
/// Bytes of text made at most.
const TEXT_BYTES: u64 = 64 * 1024 * 1024;
/// Nesting of a result at most: what JSON parsing accepts.
const DEPTH: usize = 127;

/// Why an evaluation stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) over_budget: bool,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

/// What a node looks at: the scope, or a value somewhere below it.
#[derive(Clone, Copy)]
pub(crate) enum Data<'d> {
    Scope,
    Value(&'d Rcvar),
}

/// One evaluation under way.
pub(crate) struct Run<'e> {
    pub(crate) scope: &'e Scope,
    pub(crate) env: &'e EvalEnv,
    /// Where the function that is running stands in the text.
    offset: usize,
    steps: u64,
    slots: u64,
    text_bytes: u64,
}

pub(crate) fn null() -> Rcvar {
    Rcvar::new(Variable::Null)
}

pub(crate) fn boolean(value: bool) -> Rcvar {
    Rcvar::new(Variable::Bool(value))
}

impl<'e> Run<'e> {
    pub(crate) fn new(scope: &'e Scope, env: &'e EvalEnv) -> Self {
        Self { scope, env, offset: 0, steps: STEPS, slots: SLOTS, text_bytes: TEXT_BYTES }
    }

    /// A part of the budget alone.
    #[cfg(test)]
    pub(crate) fn with_part(self, part: u64) -> Self {
        Self { steps: STEPS / part, slots: SLOTS / part, text_bytes: TEXT_BYTES / part, ..self }
    }

    /// A failure at the function that is running.
    pub(crate) fn fail(&self, message: impl Into<String>) -> Failure {
        Failure { offset: self.offset, message: message.into(), over_budget: false }
    }

    fn over(&self, what: &str) -> Failure {
        Failure {
            offset: self.offset,
            message: format!("more than the {what} of one evaluation"),
            over_budget: true,
        }
    }

    pub(crate) fn pay_steps(&mut self, steps: usize) -> Outcome<()> {
        self.steps = self.steps.checked_sub(steps as u64).ok_or_else(|| self.over("20000000 steps"))?;
        Ok(())
    }

    pub(crate) fn pay_slots(&mut self, slots: usize) -> Outcome<()> {
        self.slots = self.slots.checked_sub(slots as u64).ok_or_else(|| self.over("4000000 values"))?;
        Ok(())
    }

    pub(crate) fn pay_text(&mut self, bytes: usize) -> Outcome<()> {
        self.text_bytes =
            self.text_bytes.checked_sub(bytes as u64).ok_or_else(|| self.over("64 MiB of new text"))?;
        Ok(())
    }

    pub(crate) fn text_left(&self) -> usize {
        usize::try_from(self.text_bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn eval(&mut self, node: &Ast, data: Data<'_>) -> Outcome<Rcvar> {
        self.pay_steps(1)?;
        match node {
            Ast::Field { name, .. } => Ok(match data {
                Data::Scope => self.scope.field(name).cloned().unwrap_or_else(null),
                Data::Value(value) => value.get_field(name),
            }),
            Ast::Subexpr { lhs, rhs, .. } => match data {
                // `@.name` and `root().name` look at the scope without making it a value.
                _ if matches!(**lhs, Ast::Identity { .. }) => self.eval(rhs, data),
                _ if is_root(lhs) => self.eval(rhs, Data::Scope),
                _ => {
                    let left = self.eval(lhs, data)?;
                    self.eval(rhs, Data::Value(&left))
                }
            },
            Ast::Identity { .. } => Ok(self.whole(data).clone()),
            Ast::Literal { value, .. } => Ok(value.clone()),
            Ast::Index { idx, .. } => Ok(match data {
                Data::Scope => null(),
                Data::Value(value) => index(value, *idx),
            }),
            Ast::Or { lhs, rhs, .. } => {
                let left = self.eval(lhs, data)?;
                if left.is_truthy() { Ok(left) } else { self.eval(rhs, data) }
            }
            Ast::And { lhs, rhs, .. } => {
                let left = self.eval(lhs, data)?;
                if left.is_truthy() { self.eval(rhs, data) } else { Ok(left) }
            }
            Ast::Not { node, .. } => Ok(boolean(!self.eval(node, data)?.is_truthy())),
            Ast::Condition { predicate, then, .. } => {
                if self.eval(predicate, data)?.is_truthy() {
                    self.eval(then, data)
                } else {
                    Ok(null())
                }
            }
            Ast::Comparison { comparator, lhs, rhs, .. } => {
                let left = self.eval(lhs, data)?;
                let right = self.eval(rhs, data)?;
                self.compare(comparator, &left, &right)
            }
            Ast::Function { name, args, offset } => self.call(name, args, *offset, data),
            // Compiling lets expression references stand only where functions take them.
            Ast::Expref { offset, .. } => {
                self.offset = *offset;
                Err(self.fail("an expression reference outside a function's arguments"))
            }
            other => self.eval_list(other, data),
        }
    }

    /// The nodes that make lists and objects.
    fn eval_list(&mut self, node: &Ast, data: Data<'_>) -> Outcome<Rcvar> {
        match node {
            Ast::ObjectValues { node, .. } => match &*self.eval(node, data)? {
                Variable::Object(members) => {
                    self.pay_slots(members.len())?;
                    Ok(list(members.values().cloned().collect()))
                }
                _ => Ok(null()),
            },
            Ast::Projection { lhs, rhs, .. } => {
                let left = self.eval(lhs, data)?;
                let Variable::Array(items) = &*left else { return Ok(null()) };
                self.pay_slots(items.len())?;
                if matches!(**rhs, Ast::Identity { .. }) && !items.iter().any(|item| item.is_null()) {
                    return Ok(left);
                }
                let mut kept = Vec::new();
                for item in items {
                    let value = self.eval(rhs, Data::Value(item))?;
                    if !value.is_null() {
                        kept.push(value);
                    }
                }
                Ok(list(kept))
            }
            Ast::Flatten { node, .. } => {
                let inner = self.eval(node, data)?;
                let Variable::Array(items) = &*inner else { return Ok(null()) };
                let mut flat = Vec::new();
                for item in items {
                    match &**item {
                        Variable::Array(nested) => {
                            self.pay_slots(nested.len())?;
                            flat.extend(nested.iter().cloned());
                        }
                        _ => {
                            self.pay_slots(1)?;
                            flat.push(item.clone());
                        }
                    }
                }
                Ok(list(flat))
            }
            Ast::MultiList { elements, .. } => {
                if matches!(data, Data::Value(value) if value.is_null()) {
                    return Ok(null());
                }
                self.pay_slots(elements.len() + 1)?;
                let items: Outcome<Vec<_>> =
                    elements.iter().map(|element| self.eval(element, data)).collect();
                Ok(list(items?))
            }
            Ast::MultiHash { elements, .. } => {
                if matches!(data, Data::Value(value) if value.is_null()) {
                    return Ok(null());
                }
                self.pay_slots(elements.len() * 2 + 1)?;
                let mut members = BTreeMap::new();
                for pair in elements {
                    self.pay_text(pair.key.len())?;
                    members.insert(pair.key.clone(), self.eval(&pair.value, data)?);
                }
                Ok(Rcvar::new(Variable::Object(members)))
            }
            Ast::Slice { start, stop, step, offset } => {
                self.offset = *offset;
                self.slice(data, *start, *stop, *step)
            }
            _ => Ok(null()),
        }
    }

    fn whole<'d>(&self, data: Data<'d>) -> &'d Rcvar
    where
        'e: 'd,
    {
        match data {
            Data::Scope => self.scope.whole(),
            Data::Value(value) => value,
        }
    }

    fn call(&mut self, name: &str, args: &[Ast], offset: usize, data: Data<'_>) -> Outcome<Rcvar> {
        match name {
            "root" => return Ok(self.scope.whole().clone()),
            "if" if args.len() == 3 => {
                let branch = if self.eval(&args[0], data)?.is_truthy() { &args[1] } else { &args[2] };
                return self.eval(branch, data);
            }
            _ => {}
        }
        let Some(function) = functions::find(name) else {
            self.offset = offset;
            return Err(self.fail(format!("unknown function {name}")));
        };
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(match arg {
                Ast::Expref { ast, .. } => Arg::Expr(ast),
                _ => Arg::Value(self.eval(arg, data)?),
            });
        }
        self.offset = offset;
        function.call(self, &values)
    }

    /// JMESPath's comparison. Numbers compare as doubles; ordering anything else is null.
    fn compare(&mut self, comparator: &Comparator, left: &Rcvar, right: &Rcvar) -> Outcome<Rcvar> {
        match comparator {
            Comparator::Equal => Ok(boolean(equal::equal(self, left, right)?)),
            Comparator::NotEqual => Ok(boolean(!equal::equal(self, left, right)?)),
            _ => Ok(left.compare(comparator, right).map_or_else(null, boolean)),
        }
    }

    fn slice(&mut self, data: Data<'_>, start: Option<i32>, stop: Option<i32>, step: i32) -> Outcome<Rcvar> {
        if step == 0 {
            return Err(self.fail("a slice's step is 0"));
        }
        let Data::Value(value) = data else { return Ok(null()) };
        let Variable::Array(items) = &**value else { return Ok(null()) };
        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let step = i64::from(step);
        let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let clamp = |bound: Option<i32>, default: i64| {
            bound.map(i64::from).map_or(default, |bound| {
                let bound = if bound < 0 { bound + length } else { bound };
                bound.clamp(lowest, highest)
            })
        };
        let (first, last) = if step > 0 {
            (clamp(start, 0), clamp(stop, length))
        } else {
            (clamp(start, length - 1), clamp(stop, -1))
        };
        let mut kept = Vec::new();
        let mut place = first;
        while if step > 0 { place < last } else { place > last } {
            kept.extend(usize::try_from(place).ok().and_then(|place| items.get(place)).cloned());
            place += step;
        }
        self.pay_slots(kept.len())?;
        Ok(list(kept))
    }

    /// Checks that a result is small and shallow enough to be kept, printed and dropped. Shared parts count each time
    /// that they occur, since printing writes them each time.
    pub(crate) fn check_result(&mut self, value: &Variable, depth: usize) -> Outcome<()> {
        self.pay_slots(1)?;
        match value {
            Variable::Array(_) | Variable::Object(_) if depth > DEPTH => {
                Err(self.over("127 levels of nesting"))
            }
            Variable::Array(items) => items.iter().try_for_each(|item| self.check_result(item, depth + 1)),
            Variable::Object(members) => {
                members.values().try_for_each(|member| self.check_result(member, depth + 1))
            }
            Variable::String(text) => self.pay_text(text.len()),
            _ => Ok(()),
        }
    }
}

fn is_root(node: &Ast) -> bool {
    matches!(node, Ast::Function { name, args, .. } if name == "root" && args.is_empty())
}

pub(crate) fn list(items: Vec<Rcvar>) -> Rcvar {
    Rcvar::new(Variable::Array(items))
}

fn index(value: &Variable, index: i32) -> Rcvar {
    let place = index.unsigned_abs() as usize;
    if index >= 0 { value.get_index(place) } else { value.get_negative_index(place) }
}
