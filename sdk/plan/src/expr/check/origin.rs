//! The place of an expression in a plan document, and the names that it can begin with.

use crate::{Diagnostic, DiagnosticCode, ScopeName};

/// The place of an expression in a plan document.
pub(crate) struct ExprOrigin<'s> {
    /// JSON pointer of the field.
    pub(crate) pointer: &'s str,
    /// Byte offset of the expression in the field's text.
    pub(crate) start: usize,
    /// Names that the expression can begin with.
    pub(crate) scope: &'s InScope,
}

impl ExprOrigin<'_> {
    /// Creates a diagnostic at a byte offset of the expression.
    pub(crate) fn diagnostic(
        &self,
        code: DiagnosticCode,
        offset: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(code, self.pointer, message).at(self.start + offset)
    }
}

/// The names that the expressions of a field can begin with.
#[derive(Clone, Debug, Default)]
pub(crate) struct InScope {
    names: Vec<ScopeName>,
    /// Names of the language that the server does not fill yet.
    unsupported: Vec<ScopeName>,
    /// Ids of the steps that `steps.<id>` can name.
    steps: Vec<String>,
    /// True if the expression's value is stored in messages, context or checkpoints. Such an
    /// expression may not read credentials.
    stores_value: bool,
    /// True if any name is allowed, as in compliance cases and in the examples of functions.
    allows_any: bool,
}

impl InScope {
    pub(crate) fn new(
        names: impl IntoIterator<Item = ScopeName>,
        unsupported: impl IntoIterator<Item = ScopeName>,
        steps: &[String],
    ) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        let (unsupported, steps) = (unsupported.into_iter().collect(), steps.to_vec());
        Self { names, unsupported, steps, stores_value: false, allows_any: false }
    }

    /// Returns the same names for an expression whose value is stored.
    pub(crate) fn storing(&self) -> Self {
        Self { stores_value: true, ..self.clone() }
    }

    /// Allows every name.
    #[cfg(test)]
    pub(crate) fn anything() -> Self {
        Self { allows_any: true, ..Self::default() }
    }

    /// Returns true if an expression may begin with this name.
    pub(crate) fn has(&self, name: ScopeName) -> bool {
        self.names.contains(&name)
    }

    /// Returns the names in alphabetical order.
    pub(crate) fn names(&self) -> &[ScopeName] {
        &self.names
    }

    pub(super) fn is_unsupported(&self, name: ScopeName) -> bool {
        self.unsupported.contains(&name)
    }

    pub(super) fn steps(&self) -> &[String] {
        &self.steps
    }

    pub(super) fn stores_value(&self) -> bool {
        self.stores_value
    }

    pub(super) fn allows_any(&self) -> bool {
        self.allows_any
    }
}
