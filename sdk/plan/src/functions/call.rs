//! The description of a function, and the call that checks its arguments before its body runs.

use crate::expr::eval::evaluation::{EvalFailure, EvalResult, Evaluation, ExprRef};
use crate::value::{Number, Rcvar, Variable};

/// The types that a parameter accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParamType {
    Any,
    Text,
    Number,
    List,
    Object,
    /// A value with a length: text, a list or an object.
    Sized,
    TextOrList,
    /// An expression reference, `&name`.
    Expr,
}

impl ParamType {
    fn accepts(self, arg: &CallArg<'_>) -> bool {
        let CallArg::Value(value) = arg else { return self == Self::Expr };
        match self {
            Self::Any => true,
            Self::Expr => false,
            Self::Text => matches!(**value, Variable::String(_)),
            Self::Number => matches!(**value, Variable::Number(_)),
            Self::List => matches!(**value, Variable::Array(_)),
            Self::Object => matches!(**value, Variable::Object(_)),
            Self::TextOrList => matches!(**value, Variable::String(_) | Variable::Array(_)),
            Self::Sized => matches!(**value, Variable::String(_) | Variable::Array(_) | Variable::Object(_)),
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Text => "text",
            Self::Number => "a number",
            Self::List => "a list",
            Self::Object => "an object",
            Self::Sized => "text, a list or an object",
            Self::TextOrList => "text or a list",
            Self::Expr => "an expression reference (&name)",
        }
    }
}

/// One argument of a call.
pub(crate) enum CallArg<'a> {
    Value(Rcvar),
    Expr(ExprRef<'a>),
}

/// Steps that every call costs.
const CALL_STEPS: usize = 10;
/// Bytes of an argument's text that cost one step.
const BYTES_PER_STEP: usize = 64;

impl CallArg<'_> {
    /// Returns the steps for reading a text argument once.
    fn text_steps(&self) -> usize {
        match self {
            Self::Value(value) => value.as_string().map_or(0, String::len) / BYTES_PER_STEP,
            Self::Expr(_) => 0,
        }
    }

    fn type_name(&self) -> String {
        match self {
            Self::Value(value) => crate::value::json_type_of(value).to_string(),
            Self::Expr(_) => "expression reference".to_owned(),
        }
    }
}

type FunctionBody = fn(&mut Evaluation<'_>, &[CallArg<'_>]) -> EvalResult<Rcvar>;

/// One function of the library.
pub(crate) struct LibraryFunction {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) example: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) standard: bool,
    pub(crate) params: &'static [ParamType],
    /// Number of parameters at the end that may be omitted.
    pub(crate) optional: usize,
    /// True if the last parameter may be repeated.
    pub(crate) variadic: bool,
    pub(crate) body: FunctionBody,
}

impl LibraryFunction {
    /// Describes a function that Orchid adds to JMESPath. The example is a pair of an expression
    /// and its result as JSON.
    pub(super) const fn new(
        name: &'static str,
        signature: &'static str,
        doc: &'static str,
        (example, expected): (&'static str, &'static str),
        params: &'static [ParamType],
        body: FunctionBody,
    ) -> Self {
        Self {
            name,
            signature,
            doc,
            example,
            expected,
            standard: false,
            params,
            optional: 0,
            variadic: false,
            body,
        }
    }

    /// Marks a function of JMESPath's specification.
    pub(super) const fn standard(self) -> Self {
        Self { standard: true, ..self }
    }

    /// Makes the last `count` parameters optional.
    pub(super) const fn optional(self, count: usize) -> Self {
        Self { optional: count, ..self }
    }

    /// Allows the last parameter any number of times.
    pub(super) const fn variadic(self) -> Self {
        Self { variadic: true, ..self }
    }

    /// Returns true if, by its signature, every result is text or null.
    pub(crate) fn returns_text(&self) -> bool {
        self.signature.ends_with("→ text")
    }

    /// Returns the parameter of the argument at an index.
    pub(crate) fn param(&self, index: usize) -> Option<ParamType> {
        self.params.get(index).or_else(|| self.variadic.then(|| self.params.last()).flatten()).copied()
    }

    /// Checks the number of arguments. The error is the accepted number, in words.
    pub(crate) fn check_arity(&self, given: usize) -> Result<(), String> {
        let most = self.params.len();
        let least = most - self.optional;
        if given >= least && (given <= most || self.variadic) {
            return Ok(());
        }
        Err(if self.variadic {
            format!("at least {least}")
        } else if least == most {
            least.to_string()
        } else {
            format!("{least} to {most}")
        })
    }

    /// Checks the arguments, charges the call to the budget, and runs the body.
    pub(crate) fn call(&self, evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
        if let Err(wanted) = self.check_arity(args.len()) {
            return Err(evaluation.fail(format!(
                "{} takes {wanted} arguments, not {}",
                self.name,
                args.len()
            )));
        }
        for (index, arg) in args.iter().enumerate() {
            if let Some(param) = self.param(index)
                && !param.accepts(arg)
            {
                return Err(self.type_error(evaluation, index, param.description(), args));
            }
        }
        // Charged before the body runs, so that a body cannot start work that the budget does not
        // cover.
        evaluation.charge_steps(CALL_STEPS + args.iter().map(CallArg::text_steps).sum::<usize>())?;
        (self.body)(evaluation, args).map_err(|failure| EvalFailure {
            message: format!("{}: {}", self.name, failure.message),
            ..failure
        })
    }

    fn type_error(
        &self,
        evaluation: &Evaluation<'_>,
        index: usize,
        wanted: &str,
        args: &[CallArg<'_>],
    ) -> EvalFailure {
        let types: Vec<_> = args.iter().map(CallArg::type_name).collect();
        evaluation.fail(format!(
            "{}: argument {} must be {wanted}, and is {}; called as {}({})",
            self.name,
            index + 1,
            types[index],
            self.name,
            types.join(", ")
        ))
    }
}

/// Access to arguments whose types were checked. A wrong index or type reads as an empty value, so
/// that a body cannot panic.
pub(crate) trait CheckedArgs<'a> {
    fn value(&self, index: usize) -> Option<&Rcvar>;
    fn text(&self, index: usize) -> &str;
    fn number(&self, index: usize) -> &Number;
    fn list(&self, index: usize) -> &[Rcvar];
    fn expr(&self, index: usize) -> Option<ExprRef<'a>>;
}

static ZERO: std::sync::LazyLock<Number> = std::sync::LazyLock::new(|| Number::from(0));

impl<'a> CheckedArgs<'a> for [CallArg<'a>] {
    fn value(&self, index: usize) -> Option<&Rcvar> {
        match self.get(index) {
            Some(CallArg::Value(value)) => Some(value),
            _ => None,
        }
    }

    fn text(&self, index: usize) -> &str {
        match self.value(index).map(|value| &**value) {
            Some(Variable::String(text)) => text,
            _ => "",
        }
    }

    fn number(&self, index: usize) -> &Number {
        match self.value(index).map(|value| &**value) {
            Some(Variable::Number(number)) => number,
            _ => &ZERO,
        }
    }

    fn list(&self, index: usize) -> &[Rcvar] {
        match self.value(index).map(|value| &**value) {
            Some(Variable::Array(items)) => items,
            _ => &[],
        }
    }

    fn expr(&self, index: usize) -> Option<ExprRef<'a>> {
        match self.get(index) {
            Some(CallArg::Expr(expr)) => Some(*expr),
            _ => None,
        }
    }
}

/// Creates a text and charges it to the budget.
pub(crate) fn text(evaluation: &mut Evaluation<'_>, text: impl Into<String>) -> EvalResult<Rcvar> {
    let text = text.into();
    evaluation.charge_text(text.len())?;
    Ok(Rcvar::new(Variable::String(text)))
}

/// Creates an integer.
pub(crate) fn integer(value: impl Into<Number>) -> Rcvar {
    Rcvar::new(Variable::Number(value.into()))
}

/// Creates a double. Fails if it is not finite.
pub(crate) fn double(evaluation: &Evaluation<'_>, value: f64) -> EvalResult<Rcvar> {
    let number =
        Number::from_f64(value).ok_or_else(|| evaluation.fail("the result is not a finite number"))?;
    Ok(Rcvar::new(Variable::Number(number)))
}
