//! The scope of expressions: the names that they begin with, and their values. Values are shared,
//! so setting one copies nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use crate::Value;
use crate::value::{Rcvar, Variable};

/// A name that an expression can begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeName {
    /// Credentials of the auth flow.
    Auth,
    /// Values of the config.
    Config,
    /// Values that persist between executions of the same plan and config.
    Context,
    /// Cursor value from which the execution reads.
    Cursor,
    /// Innermost row or `for_each` element.
    Item,
    /// Index of `item`.
    ItemIndex,
    /// All enclosing items, outermost first.
    Items,
    /// Facts about the execution.
    Meta,
    /// Page being requested: `{number, offset, cursor, url}`.
    Page,
    /// Response of the enclosing step.
    Parent,
    /// Response of the page before `response`.
    Prev,
    /// Response of the current page; while a request is rendered, of the page before.
    Response,
    /// Responses of finished steps, by step id.
    Steps,
    /// Current slice of a time range.
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

    /// Returns the name as expressions spell it.
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

    /// Parses a name as expressions spell it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

/// The values of the names. A name that was never set reads as null.
#[derive(Clone, Default)]
pub struct Scope {
    values: [Option<Value>; ScopeName::ALL.len()],
    object: OnceLock<Rcvar>,
}

/// Prints only the names that are set, because values can be secret.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(ScopeName::ALL.into_iter().filter(|name| self.get(*name).is_some())).finish()
    }
}

impl Scope {
    /// Creates an empty scope.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a name.
    pub fn set(&mut self, name: ScopeName, value: Value) -> &mut Self {
        self.values[name as usize] = Some(value);
        // The object was built from the old values.
        self.object = OnceLock::new();
        self
    }

    /// Returns the scope with one more value.
    #[must_use]
    pub fn with(mut self, name: ScopeName, value: Value) -> Self {
        self.set(name, value);
        self
    }

    /// Returns the value of a name, if one was set.
    #[must_use]
    pub fn get(&self, name: ScopeName) -> Option<&Value> {
        self.values[name as usize].as_ref()
    }

    /// Returns the value that an expression's first name reads.
    pub(crate) fn field(&self, name: &str) -> Option<&Rcvar> {
        self.get(ScopeName::parse(name)?).map(Value::rcvar)
    }

    /// Returns the whole scope as one object, for `root()` and `@`. It is built at the first call.
    pub(crate) fn as_object(&self) -> &Rcvar {
        self.object.get_or_init(|| {
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
