//! The names that expressions begin with, and the values behind them. Setting one copies nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use jmespath::{Rcvar, Variable};

use crate::Value;

/// A first name of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeName {
    /// Values of the auth flow.
    Auth,
    /// The config's values.
    Config,
    /// Persistent values of plan × config.
    Context,
    /// What the run began reading from.
    Cursor,
    /// The innermost row or `for_each` element.
    Item,
    /// Its number.
    ItemIndex,
    /// All enclosing items, outermost first.
    Items,
    /// What is known about the run itself.
    Meta,
    /// The pass being sent: `{number, offset, cursor, url}`.
    Page,
    /// The enclosing step's response.
    Parent,
    /// The pass before `response`.
    Prev,
    /// The loop's latest pass while rendering, this one afterwards.
    Response,
    /// Finished steps.
    Steps,
    /// The slice of a time range.
    Window,
}

impl ScopeName {
    /// All names, in alphabetical order.
    pub const ALL: [Self; 14] = [
        Self::Auth,
        Self::Config,
        Self::Context,
        Self::Cursor,
        Self::Item,
        Self::ItemIndex,
        Self::Items,
        Self::Meta,
        Self::Page,
        Self::Parent,
        Self::Prev,
        Self::Response,
        Self::Steps,
        Self::Window,
    ];

    /// The name as it stands in expressions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Config => "config",
            Self::Context => "context",
            Self::Cursor => "cursor",
            Self::Item => "item",
            Self::ItemIndex => "item_index",
            Self::Items => "items",
            Self::Meta => "meta",
            Self::Page => "page",
            Self::Parent => "parent",
            Self::Prev => "prev",
            Self::Response => "response",
            Self::Steps => "steps",
            Self::Window => "window",
        }
    }

    /// The name that this text spells.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

/// The values behind the names. A name that was never set reads as null.
#[derive(Clone, Default)]
pub struct Scope {
    values: [Option<Value>; ScopeName::ALL.len()],
    whole: OnceLock<Rcvar>,
}

/// Prints the names that are set: values can hold secrets.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(ScopeName::ALL.into_iter().filter(|name| self.get(*name).is_some())).finish()
    }
}

impl Scope {
    /// A scope without any name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value behind a name.
    pub fn set(&mut self, name: ScopeName, value: Value) -> &mut Self {
        self.values[name as usize] = Some(value);
        self.whole = OnceLock::new();
        self
    }

    /// The same, for building in one expression.
    #[must_use]
    pub fn with(mut self, name: ScopeName, value: Value) -> Self {
        self.set(name, value);
        self
    }

    /// The value behind a name, if one was set.
    #[must_use]
    pub fn get(&self, name: ScopeName) -> Option<&Value> {
        self.values[name as usize].as_ref()
    }

    /// The field that an expression's first name reads.
    pub(crate) fn field(&self, name: &str) -> Option<&Rcvar> {
        self.get(ScopeName::parse(name)?).map(Value::rcvar)
    }

    /// The whole scope as one object, made when first asked for (`root()`, `@`).
    pub(crate) fn whole(&self) -> &Rcvar {
        self.whole.get_or_init(|| {
            let mut object = BTreeMap::new();
            for name in ScopeName::ALL {
                if let Some(value) = self.get(name) {
                    object.insert(name.as_str().to_owned(), value.rcvar().clone());
                }
            }
            Rcvar::new(Variable::Object(object))
        })
    }
}
