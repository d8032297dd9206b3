//! How a function is described and called: its parameters' types are checked before its body runs.

use jmespath::ast::Ast;
use jmespath::{Rcvar, Variable};
use serde_json::Number;

use crate::expr::{Failure, Outcome, Run};

/// The types that a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Any,
    Text,
    Number,
    List,
    Object,
    /// Text, a list or an object.
    Sized,
    TextOrList,
    /// An expression reference, `&name`.
    Expr,
}

impl Param {
    fn takes(self, arg: &Arg<'_>) -> bool {
        let Arg::Value(value) = arg else { return self == Self::Expr };
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

    fn words(self) -> &'static str {
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
pub(crate) enum Arg<'a> {
    Value(Rcvar),
    Expr(&'a Ast),
}

/// Steps of any call.
const CALL_STEPS: usize = 10;
/// Bytes of text that a function looks at for one step.
const BYTES_PER_STEP: usize = 64;

impl Arg<'_> {
    /// What looking through a text costs.
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

type Body = fn(&mut Run<'_>, &[Arg<'_>]) -> Outcome<Rcvar>;

/// One function of the library.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) example: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) standard: bool,
    pub(crate) params: &'static [Param],
    /// How many of the last parameters may be left out.
    pub(crate) optional: usize,
    /// Whether the last parameter may be given any number of times.
    pub(crate) variadic: bool,
    pub(crate) body: Body,
}

impl Function {
    /// A function of Orchid's own: its name, its signature, what it does, an example, and its result.
    pub(super) const fn new(
        name: &'static str,
        signature: &'static str,
        doc: &'static str,
        (example, expected): (&'static str, &'static str),
        params: &'static [Param],
        body: Body,
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

    /// One that JMESPath brings.
    pub(super) const fn standard(self) -> Self {
        Self { standard: true, ..self }
    }

    /// The last `count` parameters may be left out.
    pub(super) const fn optional(self, count: usize) -> Self {
        Self { optional: count, ..self }
    }

    /// The last parameter may be given any number of times.
    pub(super) const fn variadic(self) -> Self {
        Self { variadic: true, ..self }
    }

    /// Whether what it gives is text wherever it is not null, as its signature says.
    pub(crate) fn gives_text(&self) -> bool {
        self.signature.ends_with("→ text")
    }

    /// The parameter that an argument at this place is for.
    pub(crate) fn param(&self, place: usize) -> Option<Param> {
        self.params.get(place).or_else(|| self.variadic.then(|| self.params.last()).flatten()).copied()
    }

    /// Whether this many arguments can be given; otherwise how many can, in words.
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

    pub(crate) fn call(&self, run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
        if let Err(wanted) = self.check_arity(args.len()) {
            return Err(run.fail(format!("{} takes {wanted} arguments, not {}", self.name, args.len())));
        }
        for (place, arg) in args.iter().enumerate() {
            if let Some(param) = self.param(place)
                && !param.takes(arg)
            {
                return Err(self.type_error(run, place, param.words(), args));
            }
        }
        run.pay_steps(CALL_STEPS + args.iter().map(Arg::text_steps).sum::<usize>())?;
        (self.body)(run, args)
            .map_err(|failure| Failure { message: format!("{}: {}", self.name, failure.message), ..failure })
    }

    fn type_error(&self, run: &Run<'_>, place: usize, wanted: &str, args: &[Arg<'_>]) -> Failure {
        let types: Vec<_> = args.iter().map(Arg::type_name).collect();
        run.fail(format!(
            "{}: argument {} must be {wanted}, and is {}; called as {}({})",
            self.name,
            place + 1,
            types[place],
            self.name,
            types.join(", ")
        ))
    }
}

/// Access to arguments whose types were checked. What a body asks for beyond its parameters reads as nothing.
pub(crate) trait Args<'a> {
    fn value(&self, place: usize) -> Option<&Rcvar>;
    fn text(&self, place: usize) -> &str;
    fn number(&self, place: usize) -> &Number;
    fn list(&self, place: usize) -> &[Rcvar];
    fn expr(&self, place: usize) -> Option<&'a Ast>;
}

static ZERO: std::sync::LazyLock<Number> = std::sync::LazyLock::new(|| Number::from(0));

impl<'a> Args<'a> for [Arg<'a>] {
    fn value(&self, place: usize) -> Option<&Rcvar> {
        match self.get(place) {
            Some(Arg::Value(value)) => Some(value),
            _ => None,
        }
    }

    fn text(&self, place: usize) -> &str {
        match self.value(place).map(|value| &**value) {
            Some(Variable::String(text)) => text,
            _ => "",
        }
    }

    fn number(&self, place: usize) -> &Number {
        match self.value(place).map(|value| &**value) {
            Some(Variable::Number(number)) => number,
            _ => &ZERO,
        }
    }

    fn list(&self, place: usize) -> &[Rcvar] {
        match self.value(place).map(|value| &**value) {
            Some(Variable::Array(items)) => items,
            _ => &[],
        }
    }

    fn expr(&self, place: usize) -> Option<&'a Ast> {
        match self.get(place) {
            Some(Arg::Expr(ast)) => Some(ast),
            _ => None,
        }
    }
}

/// Text as a value.
pub(crate) fn text(run: &mut Run<'_>, text: impl Into<String>) -> Outcome<Rcvar> {
    let text = text.into();
    run.pay_text(text.len())?;
    Ok(Rcvar::new(Variable::String(text)))
}

/// An integer as a value.
pub(crate) fn integer(value: impl Into<Number>) -> Rcvar {
    Rcvar::new(Variable::Number(value.into()))
}

/// A double as a value; an error where it is no finite number.
pub(crate) fn double(run: &Run<'_>, value: f64) -> Outcome<Rcvar> {
    let number = Number::from_f64(value).ok_or_else(|| run.fail("the result is no finite number"))?;
    Ok(Rcvar::new(Variable::Number(number)))
}
