//! The state of one evaluation: its scope, its environment, and the budget that is left.
//!
//! Every node, every list slot and every byte of new text is charged to the budget, so that a
//! hostile expression ends early.

use jmespath::ast::Ast;

use crate::expr::literals::{Literals, NO_LITERALS};
use crate::value::{NESTING_MAX, Rcvar, Variable};
use crate::{EvalEnv, Scope, pacing};

/// Maximum number of steps: nodes, elements looked at, and blocks of text.
const MAX_STEPS: u64 = 20_000_000;
/// Maximum number of list slots and object members, counted down to the leaves of the result.
const MAX_SLOTS: u64 = 4_000_000;
/// Maximum size of new text, in bytes.
const MAX_TEXT_BYTES: u64 = 64 * 1024 * 1024;
/// Work between two reports to the pacer.
const PACED_STEPS: u64 = 10_000;

/// The reason why an evaluation stopped.
#[derive(Debug)]
pub(crate) struct EvalFailure {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) over_budget: bool,
}

pub(crate) type EvalResult<T> = Result<T, EvalFailure>;

/// The value that a node is applied to: the scope, or a value somewhere below it. The scope is only
/// built as a value if the expression asks for it.
#[derive(Clone, Copy)]
pub(crate) enum EvalData<'d> {
    Scope,
    Value(&'d Rcvar),
}

/// An expression reference (`&name`) with the interpreter that evaluates it. The interpreter is a
/// function pointer, so that functions do not depend on the module that calls them.
#[derive(Clone, Copy)]
pub(crate) struct ExprRef<'a> {
    ast: &'a Ast,
    interpret: InterpretFn,
}

/// Evaluates a node that is applied to some data.
type InterpretFn = fn(&mut Evaluation<'_>, &Ast, EvalData<'_>) -> EvalResult<Rcvar>;

impl<'a> ExprRef<'a> {
    pub(super) fn new(ast: &'a Ast, interpret: InterpretFn) -> Self {
        Self { ast, interpret }
    }

    /// Evaluates the reference for one element.
    pub(crate) fn eval(&self, evaluation: &mut Evaluation<'_>, element: &Rcvar) -> EvalResult<Rcvar> {
        evaluation.in_element(element, |evaluation| {
            (self.interpret)(evaluation, self.ast, EvalData::Value(element))
        })
    }
}

/// One running evaluation.
pub(crate) struct Evaluation<'e> {
    pub(crate) scope: &'e Scope,
    pub(crate) env: &'e EvalEnv,
    literals: &'e Literals,
    /// Byte offset of the running function in the expression's text.
    offset: usize,
    /// The elements that enclosing projections and references are at, outermost first; `None` if
    /// the expression never asks for one.
    elements: Option<Vec<Rcvar>>,
    steps: u64,
    slots: u64,
    text_bytes: u64,
    /// Steps and slots that the pacer does not know of yet.
    unpaced: u64,
}

impl<'e> Evaluation<'e> {
    pub(crate) fn new(scope: &'e Scope, env: &'e EvalEnv) -> Self {
        let (steps, slots, text_bytes) = (MAX_STEPS, MAX_SLOTS, MAX_TEXT_BYTES);
        let literals = &NO_LITERALS;
        Self { scope, env, literals, offset: 0, elements: None, steps, slots, text_bytes, unpaced: 0 }
    }

    /// Sets the literals of the expression that is evaluated.
    pub(in crate::expr) fn with_literals(self, literals: &'e Literals) -> Self {
        Self { literals, ..self }
    }

    /// Returns the value of the literal at an offset of the expression's text.
    pub(super) fn literal(&self, offset: usize) -> Rcvar {
        self.literals.at(offset)
    }

    /// Records elements from now on, for [`Evaluation::outer`].
    pub(in crate::expr) fn record_elements(&mut self) {
        self.elements = Some(Vec::new());
    }

    /// Evaluates what a projection or an expression reference does with one element.
    pub(super) fn in_element<T>(
        &mut self,
        element: &Rcvar,
        work: impl FnOnce(&mut Self) -> EvalResult<T>,
    ) -> EvalResult<T> {
        let Some(elements) = &mut self.elements else { return work(self) };
        elements.push(element.clone());
        let result = work(self);
        if let Some(elements) = &mut self.elements {
            elements.pop();
        }
        result
    }

    /// Returns the element around the current one, or null if there is none.
    pub(super) fn outer(&self) -> Rcvar {
        let around = self.elements.as_deref().and_then(|elements| elements.iter().nth_back(1));
        around.cloned().unwrap_or_else(null)
    }

    /// Divides the budget, for tests that exhaust it.
    #[cfg(test)]
    pub(crate) fn with_budget_fraction(self, divisor: u64) -> Self {
        Self {
            steps: MAX_STEPS / divisor,
            slots: MAX_SLOTS / divisor,
            text_bytes: MAX_TEXT_BYTES / divisor,
            ..self
        }
    }

    /// Sets the offset that failures report from now on.
    pub(super) fn set_offset(&mut self, offset: usize) {
        self.offset = offset;
    }

    /// Creates a failure at the running function.
    pub(crate) fn fail(&self, message: impl Into<String>) -> EvalFailure {
        EvalFailure { offset: self.offset, message: message.into(), over_budget: false }
    }

    fn over_budget(&self, bound: &str) -> EvalFailure {
        EvalFailure {
            offset: self.offset,
            message: format!("more than the {bound} of one evaluation"),
            over_budget: true,
        }
    }

    pub(crate) fn charge_steps(&mut self, steps: usize) -> EvalResult<()> {
        self.steps =
            self.steps.checked_sub(steps as u64).ok_or_else(|| self.over_budget("20000000 steps"))?;
        self.pace(steps as u64);
        Ok(())
    }

    pub(crate) fn charge_slots(&mut self, slots: usize) -> EvalResult<()> {
        self.slots =
            self.slots.checked_sub(slots as u64).ok_or_else(|| self.over_budget("4000000 values"))?;
        self.pace(slots as u64);
        Ok(())
    }

    /// Counts work towards the next pause. Most evaluations are over before they report anything.
    #[inline]
    fn pace(&mut self, work: u64) {
        self.unpaced += work;
        if self.unpaced >= PACED_STEPS {
            self.report_work();
        }
    }

    /// Reports the work since the last report, which may pause the evaluation.
    pub(in crate::expr) fn report_work(&mut self) {
        pacing::spend(std::mem::take(&mut self.unpaced));
    }

    pub(crate) fn charge_text(&mut self, bytes: usize) -> EvalResult<()> {
        self.text_bytes = self
            .text_bytes
            .checked_sub(bytes as u64)
            .ok_or_else(|| self.over_budget("64 MiB of new text"))?;
        Ok(())
    }

    /// Returns the bytes of text that are left in the budget.
    pub(crate) fn text_left(&self) -> usize {
        usize::try_from(self.text_bytes).unwrap_or(usize::MAX)
    }

    /// Checks that a result is small and shallow enough to be stored, printed and dropped. Shared
    /// parts are charged for each occurrence, because printing writes them each time.
    pub(crate) fn check_result(&mut self, value: &Variable, depth: usize) -> EvalResult<()> {
        self.charge_slots(1)?;
        match value {
            Variable::Array(_) | Variable::Object(_) if depth > NESTING_MAX => {
                // A deeper result could not be read again.
                Err(self.over_budget("1000 levels of nesting"))
            }
            Variable::Array(items) => items.iter().try_for_each(|item| self.check_result(item, depth + 1)),
            Variable::Object(members) => {
                members.values().try_for_each(|member| self.check_result(member, depth + 1))
            }
            Variable::String(text) => self.charge_text(text.len()),
            _ => Ok(()),
        }
    }
}

pub(crate) fn null() -> Rcvar {
    Rcvar::new(Variable::Null)
}

pub(crate) fn boolean(value: bool) -> Rcvar {
    Rcvar::new(Variable::Bool(value))
}

pub(crate) fn list(items: Vec<Rcvar>) -> Rcvar {
    Rcvar::new(Variable::Array(items))
}
